use std::io;

use super::*;
use crate::environment::Environment;
use crate::pip_config::{ConfigurationRequest, PathConventions, PipConfiguration};
use crate::request::build_request;
use crate::settings::{RawOptions, SettingsContext, resolve_settings};

/// Files by path.
struct TableFiles<'a>(&'a [(&'a str, &'a str)]);

impl ReadSource for TableFiles<'_> {
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>> {
        let name = source.to_string();
        let found = self.0.iter().find(|(path, _)| *path == name);
        let found = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(found.1.as_bytes().to_vec())
    }

    fn exists(&self, path: &Path) -> bool {
        let mut files = self.0.iter();
        files.any(|(file, _)| Path::new(file).starts_with(path))
    }
}

fn project(table: &str) -> Result<ProjectConfiguration> {
    let text = format!("[tool.wheelhouse]\n{table}");
    let path = Path::new("/app/pyproject.toml");
    ProjectConfiguration::read(path, &TableFiles(&[("/app/pyproject.toml", &text)]))
}

fn values(table: &str) -> Vec<String> {
    let configuration = project(table).unwrap();
    configuration.settings[0].values.clone().unwrap()
}

fn error_of(table: &str) -> Error {
    project(table).unwrap_err()
}

#[test]
fn keys_are_sorted() {
    assert!(KEYS.is_sorted_by_key(|key| key.name));
}

#[test]
fn accepts_every_type_of_value() {
    assert_eq!(values("no-index = true"), ["true"]);
    assert_eq!(values("exclude-newer = 2026-01-02"), ["2026-01-02"]);
    assert_eq!(values("exclude-newer = '7 days'"), ["7 days"]);
    assert_eq!(values("jobs = 3"), ["3"]);
    assert_eq!(values("build-timeout = 0.5"), ["0.5"]);
    assert_eq!(values("output = './wheels/'"), ["/app/wheels"]);
    assert_eq!(
        values("python = '.venv/bin/python'"),
        ["/app/.venv/bin/python"]
    );
    assert_eq!(values("python = '3.12'"), ["3.12"]);
    assert_eq!(values("constraints = 'a b.txt'"), ["/app/a b.txt"]);
    let links = "find-links = ['libs', 'https://host/x', 'oci:images', '/there']";
    let expected = ["/app/libs", "https://host/x", "oci:/app/images", "/there"];
    assert_eq!(values(links), expected);
    assert_eq!(values("ignore-error-codes = [403]"), ["403"]);
    assert_eq!(values("config-settings = ['a:B=c=d']"), ["a:B=c=d"]);
    let table = "config-settings = { x = ['1', '2'], y = '3' }";
    assert_eq!(values(table), ["x=1", "x=2", "y=3"]);
}

#[test]
fn suggests_nearest_key_for_unknown_key() {
    let error = error_of("index-urls = 'https://host'");
    assert!(
        error.to_string().contains("`tool.wheelhouse.index-urls`"),
        "{error}"
    );
    assert_eq!(error.hint(), Some("Did you mean `index-url`?"));
    let error = error_of("constrants = 'c.txt'");
    assert_eq!(error.hint(), Some("Did you mean `constraints`?"));
    assert!(error_of("zzz = 1").hint().unwrap().contains("find-links"));
}

#[test]
fn rejects_values_of_wrong_type() {
    for table in [
        "no-index = 'yes'",
        "index-url = 1",
        "jobs = 0",
        "jobs = '2'",
        "timeout = 0",
        "only-binary = [1]",
        "index-strategy = 'best'",
        "ignore-error-codes = [404]",
        "config-settings = ['x']",
        "config-settings = { x = true }",
        "exclude-newer = 7",
    ] {
        let error = error_of(table).to_string();
        let key = table.split(' ').next().unwrap();
        assert!(
            error.contains(&format!("`tool.wheelhouse.{key}`")),
            "{error}"
        );
        assert!(error.contains(" is not "), "{error}");
    }
    let other = TableFiles(&[("/app/pyproject.toml", "tool.wheelhouse = 1")]);
    assert!(ProjectConfiguration::read(Path::new("/app/pyproject.toml"), &other).is_err());
}

#[test]
fn ignores_files_without_table() {
    for text in ["", "[tool.uv]\nx = 1", "[project"] {
        let files = [("/app/pyproject.toml", text)];
        let path = Path::new("/app/pyproject.toml");
        let configuration = ProjectConfiguration::read(path, &TableFiles(&files)).unwrap();
        assert!(configuration.settings.is_empty());
    }
}

/// Resolves the settings of `raw` in `/app/sub`, with a project in `/app`, a user configuration and variables.
fn resolve_with_files<Output>(
    project: &str,
    user: &str,
    variables: &[(&str, &str)],
    raw: &RawOptions,
    look: impl FnOnce(&SettingsContext<'_>, crate::settings::Settings) -> Output,
) -> Output {
    let text = format!("[tool.wheelhouse]\n{project}");
    let files = [
        ("/app/pyproject.toml", &*text),
        ("/home/.config/pip/pip.conf", user),
        ("/app/c.txt", "alpha<2"),
        ("/app/o.txt", "beta==1"),
    ];
    let reader = TableFiles(&files);
    let variables = variables.iter().copied().chain([("HOME", "/home")]);
    let environment: Environment = variables.collect();
    let request = ConfigurationRequest {
        environment: &environment,
        working_directory: Path::new("/app/sub"),
        sections: &["wheel"],
        prefix: None,
        isolated: false,
        platform: PathConventions::Unix,
    };
    let project = ProjectConfiguration::read(Path::new("/app/pyproject.toml"), &reader).unwrap();
    let pip = PipConfiguration::load_with(&request, project, &reader).unwrap();
    let context = SettingsContext {
        environment: &environment,
        working_directory: Path::new("/app/sub"),
        pip: &pip,
        reader: &reader,
        processors: 4,
        default_cache: None,
    };
    let settings = resolve_settings(raw, &context).unwrap();
    look(&context, settings)
}

#[test]
fn project_overrides_user_and_yields_to_variables() {
    let user =
        "[global]\nindex-url = https://user/\ntimeout = 7\n[wheel]\nretries = 2\nno-binary = a\n";
    let project = "index-url = 'https://project/'\nretries = 9\nproxy = 'http://p'\nno-binary = ['b', 'c']\njobs = 2\n\
                   index-strategy = 'first-index'\nno-build-isolation = true\noutput = 'out'";
    let variables = [("PIP_PROXY", "http://variable")];
    let raw = RawOptions {
        jobs: Some(1),
        ..RawOptions::default()
    };
    resolve_with_files(project, user, &variables, &raw, |_, settings| {
        let options = &settings.file_options;
        assert_eq!(options.index_url.as_deref(), Some("https://project/"));
        let names: Vec<&str> = options
            .format_control
            .no_binary()
            .iter()
            .map(String::as_str)
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!((settings.retries, settings.jobs), (9, 1));
        assert_eq!(settings.timeout.as_secs(), 7);
        assert_eq!(settings.proxy.as_deref(), Some("http://variable"));
        assert!(!settings.isolated);
        assert_eq!(settings.output, Path::new("/app/out"));
        let row = settings
            .rows
            .iter()
            .find(|row| row.option == "index-strategy")
            .unwrap();
        assert_eq!(row.values, ["first-index"]);
        let origin = row.origins[0].to_string();
        assert_eq!(
            origin,
            "`/app/pyproject.toml`, `tool.wheelhouse.index-strategy`"
        );
    });
}

#[test]
fn resolves_paths_relative_to_project() {
    let project = "constraint = 'c.txt'\noverride = ['o.txt']\nplatform = ['linux', 'windows']\npython-version = '3.12'";
    let raw = RawOptions {
        requirements: vec!["alpha".into()],
        ..RawOptions::default()
    };
    resolve_with_files(project, "", &[], &raw, |context, settings| {
        assert_eq!(settings.project_targets.platforms, ["linux", "windows"]);
        assert_eq!(settings.project_targets.pythons, ["3.12"]);
        let request = build_request(&raw, &settings, context).unwrap().request;
        assert_eq!(request.constraints[0].text, "alpha<2");
        assert_eq!(request.overrides[0].text, "beta==1");
    });
}

#[test]
fn warns_about_credentials_in_project() {
    let raw = RawOptions {
        requirements: vec!["alpha".into()],
        ..RawOptions::default()
    };
    let project = "extra-index-url = ['https://me:secret@host/simple']";
    resolve_with_files(project, "", &[], &raw, |context, settings| {
        let notes = build_request(&raw, &settings, context).unwrap().notes;
        assert!(
            notes[0].contains("`tool.wheelhouse.extra-index-url`"),
            "{notes:?}"
        );
        assert!(!notes[0].contains("secret"), "{notes:?}");
    });
}
