//! The `verify` command, and the verification of `build --verify`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use wheelhouse_attest::{AttestationPolicy, TrustRoot};
use wheelhouse_serve::{Verification, Verifier};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::{Building, SandboxMode, SandboxOptions};
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Error, Kind, Request, Result, names_image};

use crate::cli::args::{CheckArgs, GlobalOptions, VerifyArgs};
use crate::cli::commands::image_opener::ImageOpener;
use crate::cli::commands::keys;
use crate::cli::commands::requirements_reader::SourceReader;
use crate::cli::commands::session::CommandContext;
use crate::cli::process_env::ProcessEnv;
use crate::cli::render::Verbosity;
use crate::cli::render::upload_bar::Activity;
use crate::cli::{error_report, exit_code, format, output, signals, style};
use crate::verify::{
    self, AttestationInputs, Check, CheckName, CheckOutcome, CheckProgress, Finding,
    ProgressCallback, Report, VerifyJob, VerifyRequirements,
};
use wheelhouse_config::{RawOptions, build_request, resolve_settings};
use wheelhouse_fs::input;
use wheelhouse_fs::scratch::Scratch;

const SCHEMA: &str = "wheelhouse-verify/1";

/// Runs the command, and returns the exit code.
pub(crate) fn run(verify: &VerifyArgs, globals: &GlobalOptions) -> Result<u8> {
    let process = ProcessEnv::read()?;
    let requirements = requirements(&verify.checks, &process)?;
    let verbosity = Verbosity::new(globals.quiet.into(), globals.verbose.into());
    let activity = Arc::new(Activity::new(globals.shows_progress(), verbosity));
    let (json, enough) = (globals.json, globals.quiet > 0);
    let job = VerifyJob {
        requirements,
        key: keys::verifying_key(verify.checks.key.as_deref(), &process)?,
        attestations: attestations(&verify.checks, &process)?,
        install: verify.installation.is_enabled(),
        import: verify.installation.import,
        progress: watch(&activity, move |check| {
            if !json {
                output::data(&as_text(check, enough));
            }
        }),
        ..job(
            &process,
            &process.directory.join(verify.place()),
            verify.checks.python.clone(),
            verify.installation.sandbox(),
        )
    };
    let report = if names_image(verify.place()) {
        let image = verify.place().parse()?;
        let opening = ImageOpener::new(&image, &verify.read_args, globals, &process)?;
        let name = verify.place().into();
        activity.begin(&format!("Extracting {image}"));
        signals::run(move || verify_image(opening, job, name))
    } else {
        signals::run(move || verify::verify(job))
    };
    activity.close();
    let report = report?;
    if json {
        output::data(&mask(&format!("{:#}\n", as_json(&report))));
    }
    match outcome(&report) {
        Ok(()) => Ok(exit_code::SUCCESS),
        Err(error) => {
            // The JSON document reports the failure already.
            if !globals.json {
                error_report::report(&error, false);
            }
            Ok(exit_code::VERIFICATION)
        }
    }
}

/// Extracts the wheelhouse of an image to a temporary directory, and verifies it.
async fn verify_image(opening: ImageOpener, job: VerifyJob, name: PathBuf) -> Result<Report> {
    let scratch = Scratch::new()?;
    let directory = scratch.path().join("wheelhouse");
    opening.extract(directory.clone()).await?;
    let report = verify::verify(VerifyJob { directory, ..job }).await?;
    Ok(Report {
        directory: name,
        ..report
    })
}

/// Verifies the `wheelhouses` that a run has published, without importing modules.
///
/// # Errors
/// [`Kind::Verification`] if some of them fail, with the name of the first.
pub(crate) async fn after_build(context: &CommandContext, wheelhouses: &[PathBuf]) -> Result<()> {
    let mut result = Ok(());
    for wheelhouse in wheelhouses {
        if wheelhouses.len() > 1 && !context.json && context.settings.quiet == 0 {
            output::status(&format!("{}:", wheelhouse.display()));
        }
        let report = verify_directory(context, wheelhouse).await?;
        if context.json {
            output::data(&mask(&format!("{}\n", as_json(&report))));
        }
        result = result.and(outcome(&report));
    }
    result
}

/// Verifies one of the directories of a run, and shows each check when it ends.
async fn verify_directory(context: &CommandContext, directory: &Path) -> Result<Report> {
    let (process, settings, json) = (&context.process, &context.settings, context.json);
    let verbosity = Verbosity::new(settings.quiet, settings.verbose);
    let activity = Arc::new(Activity::new(settings.progress, verbosity));
    let enough = verbosity < Verbosity::Normal;
    let on_check = move |check: &Check| {
        let text = as_text(check, enough);
        if !json && !text.is_empty() {
            output::status(text.trim_end());
        }
    };
    let job = VerifyJob {
        progress: watch(&activity, on_check),
        ..job(
            process,
            directory,
            settings.python.clone(),
            settings.sandbox,
        )
    };
    let report = verify::verify(job).await;
    activity.close();
    report
}

/// Returns a verifier for a server: it checks the files and the requirements, and installs nothing.
pub(super) fn verifier(process: ProcessEnv) -> Verifier {
    Arc::new(move |directory| {
        let job = VerifyJob {
            install: false,
            ..job(&process, directory, None, SandboxMode::Off)
        };
        let report = Handle::current().block_on(verify::verify(job));
        let report = report.inspect_err(|error| {
            tracing::warn!(error = %error.display_chain(), "failed to verify a wheelhouse");
        });
        Verification::parse(mask(&as_json(&report.ok()?).to_string()).as_bytes()).ok()
    })
}

/// Shows the current check, and passes each completed one to `on_check`.
fn watch(
    activity: &Arc<Activity>,
    on_check: impl Fn(&Check) + Send + Sync + 'static,
) -> ProgressCallback {
    let activity = Arc::clone(activity);
    Arc::new(move |progress| match progress {
        CheckProgress::Started { name, about } => {
            let about = about.map(|about| format!(": {}", mask(about)));
            let about = about.unwrap_or_default();
            activity.begin(&format!("Verifying {}{about}", shown(name)));
        }
        CheckProgress::Finished(check) => activity.above(|| on_check(check)),
    })
}

fn job(
    process: &ProcessEnv,
    directory: &Path,
    python: Option<String>,
    sandbox: SandboxMode,
) -> VerifyJob {
    VerifyJob {
        // Components normalize the path, which is shown to the user.
        directory: directory.components().collect(),
        requirements: VerifyRequirements::Own,
        key: None,
        attestations: None,
        python,
        discovery: process.surroundings(),
        building: Building {
            jobs: process.processors,
            environment: process.environment.of_builds(),
            sandbox: SandboxOptions {
                mode: sandbox,
                ..process.environment.sandbox()
            },
            ..Building::default()
        },
        install: true,
        import: false,
        progress: Arc::new(|_| {}),
    }
}

/// Reads the policy and the trust root of `--attestations`.
fn attestations(checks: &CheckArgs, process: &ProcessEnv) -> Result<Option<AttestationInputs>> {
    let (Some(policy), Some(root)) = (&checks.attestations, &checks.trust_root) else {
        return Ok(None);
    };
    let read = |path: &Path| {
        let failed = || format!("failed to read {}", path.display());
        input::read(&process.directory.join(path)).context(Kind::Input, failed)
    };
    let unusable = |path: &Path| format!("{} cannot be used", path.display());
    Ok(Some(AttestationInputs {
        policy: AttestationPolicy::parse(&read(policy)?)
            .context(Kind::Input, || unusable(policy))?,
        root: TrustRoot::parse(&read(root)?).context(Kind::Input, || unusable(root))?,
    }))
}

fn requirements(checks: &CheckArgs, process: &ProcessEnv) -> Result<VerifyRequirements> {
    if let Some(lock) = &checks.lock {
        return Ok(VerifyRequirements::Lock(process.directory.join(lock)));
    }
    if checks.requirement_files.is_empty() {
        return Ok(VerifyRequirements::Own);
    }
    let Request {
        requirements,
        constraints,
        ..
    } = read(&checks.requirement_files, process)?;
    Ok(VerifyRequirements::Lines {
        requirements,
        constraints,
    })
}

/// Reads requirements files like `build`.
fn read(files: &[String], process: &ProcessEnv) -> Result<Request> {
    let raw = RawOptions {
        requirement_files: files.to_vec(),
        ..RawOptions::default()
    };
    let pip = process.pip_configuration(&RawOptions::default())?;
    let mut reader = SourceReader::default();
    if files.iter().any(|file| file == "-") {
        reader.read_standard_input(&process.directory)?;
    }
    let context = process.settings_context(&pip, &reader);
    let settings = resolve_settings(&raw, &context)?;
    Ok(build_request(&raw, &settings, &context)?.request)
}

fn outcome(report: &Report) -> Result<()> {
    if report.passed() {
        return Ok(());
    }
    let directory = report.directory.display();
    let failures = format::count(report.failures(), "error");
    let message = format!("verification of {directory} failed with {failures}");
    Err(Error::new(Kind::Verification, message))
}

fn as_json(report: &Report) -> Value {
    json!({
        "schema": SCHEMA,
        "directory": report.directory.display().to_string(),
        "manifest": report.manifest,
        "passed": report.passed(),
        "checks": report.checks,
    })
}

/// Formats a check and its findings. With `enough`, a check that passed is omitted.
fn as_text(check: &Check, enough: bool) -> String {
    let mut text = String::new();
    if enough && check.outcome != CheckOutcome::Failed {
        return text;
    }
    let _ = writeln!(text, "{}", line(check));
    for failure in &check.failures {
        write_finding(&mut text, failure, "");
    }
    for hint in hints(check) {
        let _ = writeln!(text, "  {}", style::labeled(style::HINT, "hint", hint));
    }
    for warning in &check.warnings {
        write_finding(&mut text, warning, "warning: ");
    }
    text
}

fn line(check: &Check) -> String {
    let (word, style) = match check.outcome {
        CheckOutcome::Passed => ("ok", style::DONE),
        CheckOutcome::Failed => ("failed", style::ERROR),
        CheckOutcome::NotChecked => ("not checked", style::WARNING),
    };
    let word = style::painted(style, &format!("{word:<11}"));
    let counts = check.counts.iter();
    let counts: Vec<String> = counts
        .map(|count| format::count(count.number, count.noun))
        .collect();
    let target = check.target.as_deref().map(|label| format!("for {label}"));
    let what: Vec<String> = [counts.join(", ")].into_iter().chain(target).collect();
    let what = what.join(" ");
    let reason = check.reason.as_deref().map(mask);
    let tail = [Some(what.trim().to_owned()), reason];
    let tail: Vec<String> = tail
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    format!("{word}  {:<12}  {}", shown(check.name), tail.join(": "))
}

fn shown(name: CheckName) -> String {
    let name = serde_json::to_value(name).unwrap_or_default();
    name.as_str().unwrap_or_default().to_owned()
}

fn write_finding(text: &mut String, finding: &Finding, label: &str) {
    let sentence = mask(&format!("{} {}", finding.about, finding.message));
    let _ = writeln!(text, "  {label}{sentence}");
    for line in finding.detail.iter().flat_map(|detail| detail.lines()) {
        let _ = writeln!(text, "    {}", mask(line));
    }
}

/// Returns the distinct hints of a check.
fn hints(check: &Check) -> Vec<&'static str> {
    let mut hints = Vec::new();
    for hint in check.failures.iter().filter_map(|failure| failure.hint) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::CheckCount;

    fn finding(about: &str, message: &str, hint: Option<&'static str>) -> Finding {
        Finding {
            about: about.to_owned(),
            message: message.to_owned(),
            detail: None,
            hint,
        }
    }

    fn report() -> Report {
        let check = |name, outcome, number, noun| Check {
            name,
            target: None,
            outcome,
            counts: vec![CheckCount { number, noun }],
            reason: None,
            failures: Vec::new(),
            warnings: Vec::new(),
        };
        let mut files = check(CheckName::Files, CheckOutcome::Failed, 2, "wheel");
        files.failures = vec![
            finding(
                "alpha-1.0-py3-none-any.whl",
                "is missing",
                Some("Build again."),
            ),
            finding(
                "beta-1.0-py3-none-any.whl",
                "is missing",
                Some("Build again."),
            ),
        ];
        files.warnings = vec![finding("notes.txt", "is not in wheelhouse.json", None)];
        let mut installation = check(
            CheckName::Installation,
            CheckOutcome::NotChecked,
            0,
            "package",
        );
        installation.counts.clear();
        installation.target = Some("CPython 3.9.1 on linux_x86_64".to_owned());
        installation.reason = Some("there is no pip".to_owned());
        Report {
            directory: "/wheels".into(),
            manifest: true,
            checks: vec![
                files,
                check(CheckName::Wheels, CheckOutcome::Passed, 1, "wheel"),
                installation,
            ],
        }
    }

    #[test]
    fn each_check_is_a_line_and_each_failure_too() {
        let text: String = report()
            .checks
            .iter()
            .map(|check| as_text(check, false))
            .collect();
        let text = anstream::adapter::strip_str(&text).to_string();
        insta::assert_snapshot!(text, @"
        failed       files         2 wheels
          alpha-1.0-py3-none-any.whl is missing
          beta-1.0-py3-none-any.whl is missing
          hint: Build again.
          warning: notes.txt is not in wheelhouse.json
        ok           wheels        1 wheel
        not checked  installation  for CPython 3.9.1 on linux_x86_64: there is no pip
        ");
        assert_eq!(as_text(&report().checks[1], true), "");
    }

    #[test]
    fn programs_get_the_same() {
        let json = as_json(&report());
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["passed"], false);
        assert_eq!(
            json["checks"][0]["failures"][1]["about"],
            "beta-1.0-py3-none-any.whl"
        );
        assert_eq!(json["checks"][2]["outcome"], "not-checked");
    }
}
