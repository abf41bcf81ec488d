//! The `config` command: every effective value and its origin.

use std::fmt::Write as _;

use clap::ArgMatches;
use serde_json::{Value, json};
use wheelhouse_types::Result;
use wheelhouse_types::request::IndexStrategy;
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::secrets::mask;

use crate::cli::args::{ConfigArgs, GlobalOptions};
use crate::cli::commands::requirements_reader::SourceReader;
use crate::cli::output;
use crate::cli::process_env::ProcessEnv;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_sandbox::SandboxSupport;

use wheelhouse_config::{
    ConfigurationFile, ConfigurationLevel, FileStatus, PipConfiguration, ResolvedSetting, Setting,
    SettingStatus, Settings, effective_indexes, resolve_settings,
};

const SCHEMA: &str = "wheelhouse-config/1";

pub(crate) fn run(
    config: &ConfigArgs,
    globals: &GlobalOptions,
    matches: &ArgMatches,
) -> Result<()> {
    let process = ProcessEnv::read()?;
    let raw = config.raw(globals, matches);
    let project = process.project_configuration(&raw, None)?;
    let pip = process.configuration(&raw, project)?;
    let reader = SourceReader::default();
    let context = process.settings_context(&pip, &reader);
    let mut settings = resolve_settings(&raw, &context)?;
    let indexes = effective_indexes(&settings, &context)?;
    if settings.python.is_none() {
        let python = process
            .locate_python(None)
            .map(|path| path.display().to_string());
        if let Some(row) = settings.rows.iter_mut().find(|row| row.option == "python") {
            row.values.extend(python);
        }
    }
    settings.rows.sort_by_key(|row| row.option);
    let scratch = Scratch::new()?;
    let launcher = process.environment.sandbox().launcher;
    let sandbox = SandboxSupport::probe(&launcher, scratch.path());
    if globals.json {
        let document = as_json(&settings, &indexes, &pip, &sandbox);
        output::data(&format!("{document:#}\n"));
    } else {
        output::data(&as_lines(&settings, &indexes, &pip, &sandbox));
    }
    Ok(())
}

fn as_json(
    settings: &Settings,
    indexes: &[String],
    pip: &PipConfiguration,
    sandbox: &SandboxSupport,
) -> Value {
    let rows = settings.rows.iter().map(|row| {
        let origins: Vec<_> = row.origins.iter().map(ToString::to_string).collect();
        json!({ "option": row.option, "values": row.values, "origins": origins })
    });
    let files = pip
        .files()
        .iter()
        .map(|file| json!({ "path": file.path, "level": level(file), "status": status(file) }));
    let unused = unused(pip, &settings.rows).map(|(setting, reason)| {
        json!({
            "option": setting.option,
            "value": mask(&setting.value),
            "origin": setting.origin.to_string(),
            "reason": reason,
        })
    });
    let missing = sandbox.missing.iter();
    let missing = missing.map(|one| json!({ "mechanism": one.mechanism, "reason": one.reason }));
    json!({
        "schema": SCHEMA,
        "settings": rows.collect::<Vec<_>>(),
        "indexes": indexes,
        "files": files.collect::<Vec<_>>(),
        "unused": unused.collect::<Vec<_>>(),
        "sandbox": {
            "mechanism": sandbox.mechanism,
            "protections": sandbox.protections,
            "missing": missing.collect::<Vec<_>>(),
        },
    })
}

fn as_lines(
    settings: &Settings,
    indexes: &[String],
    pip: &PipConfiguration,
    sandbox: &SandboxSupport,
) -> String {
    let mut rows = vec![["OPTION".to_owned(), "VALUE".to_owned(), "FROM".to_owned()]];
    rows.extend(settings.rows.iter().map(row));
    let mut text = aligned(&rows);
    text.push_str(match settings.index_strategy {
        _ if indexes.is_empty() => "\nIndexes are disabled.\n",
        IndexStrategy::BestMatch => "\nIndexes (the best version of all counts):\n",
        IndexStrategy::FirstIndex => "\nIndexes (the first with the package counts):\n",
        IndexStrategy::FirstMatch => "\nIndexes (the first with a suitable version counts):\n",
    });
    for index in indexes {
        let _ = writeln!(text, "  {index}");
    }
    text.push_str(&sandbox_lines(sandbox));
    text.push_str("\nConfiguration files of pip and the project, in increasing precedence:\n");
    for file in pip.files() {
        let _ = writeln!(text, "  {} ({})", file.path.display(), status(file));
    }
    let unused: Vec<_> = unused(pip, &settings.rows).collect();
    if !unused.is_empty() {
        text.push_str("\nNot used:\n");
    }
    for (
        Setting {
            option,
            value,
            origin,
            ..
        },
        reason,
    ) in unused
    {
        let _ = writeln!(text, "  {option} = {}  {origin}: {reason}", mask(value));
    }
    text
}

/// Describes what the sandbox of builds can enforce on this machine, and why it cannot enforce the rest.
fn sandbox_lines(sandbox: &SandboxSupport) -> String {
    let list = |protections: &[Protection]| {
        let names: Vec<String> = protections.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let mut text = match &sandbox.protections[..] {
        [] => "\nSandbox of builds: none\n".to_owned(),
        enforced => format!(
            "\nSandbox of builds: {} ({})\n",
            list(enforced),
            sandbox.mechanism
        ),
    };
    let unprotected = sandbox.unprotected();
    if !unprotected.is_empty() {
        let _ = writeln!(text, "  not protected: {}", list(&unprotected));
    }
    for missing in &sandbox.missing {
        let _ = writeln!(text, "  without {}: {}", missing.mechanism, missing.reason);
    }
    text
}

fn row(row: &ResolvedSetting) -> [String; 3] {
    let values = if row.values.is_empty() {
        "-".to_owned()
    } else {
        row.values.join(" ")
    };
    let origins: Vec<_> = row.origins.iter().map(ToString::to_string).collect();
    [row.option.to_owned(), values, origins.join(" and ")]
}

/// Formats rows as columns. A very long value does not widen its column.
fn aligned(rows: &[[String; 3]]) -> String {
    const WIDEST: usize = 48;
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths
            .filter(|length| *length <= WIDEST)
            .max()
            .unwrap_or(0)
    };
    let (first, second) = (width(0), width(1));
    let mut text = String::new();
    for [option, value, origin] in rows {
        let _ = writeln!(text, "{option:<first$}  {value:<second$}  {origin}");
    }
    text
}

/// Returns the settings without effect and the reason, except empty variables.
fn unused<'a>(
    pip: &'a PipConfiguration,
    rows: &[ResolvedSetting],
) -> impl Iterator<Item = (&'a Setting, &'static str)> {
    let is_shown = |setting: &Setting| {
        let shown = rows.iter().any(|row| row.option == setting.option);
        // This option is shown as part of `cache-dir`.
        shown || setting.option == "no-cache-dir"
    };
    pip.settings().iter().filter_map(move |setting| {
        let reason = match setting.status {
            SettingStatus::Used if is_shown(setting) => return None,
            SettingStatus::Used => "the setting has no effect here",
            SettingStatus::Overridden => "a setting with higher precedence replaces it",
            SettingStatus::Empty => "the value is empty",
            SettingStatus::OtherSection => "the section applies to other commands",
            SettingStatus::UnknownOption => "the option is not supported",
        };
        Some((setting, reason))
    })
}

fn status(file: &ConfigurationFile) -> &'static str {
    match file.status {
        FileStatus::Read => "read",
        FileStatus::Missing => "missing",
        FileStatus::Unreadable => "unreadable",
    }
}

fn level(file: &ConfigurationFile) -> &'static str {
    match file.level {
        ConfigurationLevel::Global => "global",
        ConfigurationLevel::User => "user",
        ConfigurationLevel::Site => "site",
        ConfigurationLevel::Environment => "environment",
        ConfigurationLevel::Project => "project",
    }
}
