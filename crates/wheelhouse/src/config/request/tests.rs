//! The joining of command line, variables, pip's files, requirements files and defaults.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use wheelhouse_model::request::{IndexStrategy, Packages};
use wheelhouse_model::{Request, Result};

use super::super::Environment;
use super::super::pip_configuration::{ConfigurationRequest, PipConfiguration, Platform};
use super::super::source::{ReadSource, Source};
use super::*;

/// Files by their absolute paths.
struct Files(BTreeMap<String, String>);

impl ReadSource for Files {
    fn read(&self, source: &Source) -> io::Result<Vec<u8>> {
        let text = self.0.get(&source.to_string());
        text.map(|text| text.clone().into_bytes())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        let directory = format!("{}/", path.display());
        let holds = |known: &String| {
            known == &directory[..directory.len() - 1] || known.starts_with(&directory)
        };
        self.0.keys().any(holds)
    }
}

/// All that a run depends on.
#[derive(Default)]
struct World<'a> {
    variables: &'a [(&'a str, &'a str)],
    /// Relative to `/app`, or absolute. `/etc/pip.conf` is pip's.
    files: &'a [(&'a str, &'a str)],
}

impl World<'_> {
    fn with<Output>(&self, act: impl FnOnce(&SettingsContext<'_>) -> Output) -> Output {
        let directory = Path::new("/app");
        let files = self.files.iter().map(|(path, text)| {
            (
                directory.join(path).display().to_string(),
                (*text).to_owned(),
            )
        });
        let reader = Files(files.collect());
        let environment: Environment = self.variables.iter().copied().collect();
        let request = ConfigurationRequest {
            environment: &environment,
            working_directory: directory,
            sections: &["wheel"],
            prefix: None,
            isolated: false,
            platform: Platform::Unix,
        };
        let pip = PipConfiguration::load(&request, &reader).unwrap();
        act(&SettingsContext {
            environment: &environment,
            working_directory: directory,
            pip: &pip,
            reader: &reader,
            processors: 8,
            default_cache: Some(Path::new("/home/me/.cache/wheelhouse")),
        })
    }

    fn settings(&self, raw: &RawBuild) -> Result<Settings> {
        self.with(|context| settle(raw, context))
    }

    fn joined(&self, raw: &RawBuild) -> Result<Joined> {
        self.with(|context| join(raw, &settle(raw, context)?, context))
    }

    fn request(&self, raw: &RawBuild) -> Request {
        self.joined(raw).unwrap().request
    }

    fn error(&self, raw: &RawBuild) -> String {
        self.joined(raw).unwrap_err().sentence()
    }
}

fn raw() -> RawBuild {
    RawBuild {
        requirements: vec!["django".to_owned()],
        ..RawBuild::default()
    }
}

fn urls(request: &Request) -> Vec<&str> {
    request.indexes.urls.iter().map(Url::as_str).collect()
}

fn texts(requirements: &[Requirement]) -> Vec<(&str, &str)> {
    requirements
        .iter()
        .map(|it| (it.text.as_str(), it.origin.as_str()))
        .collect()
}

const CONF: (&str, &str) = (
    "/etc/pip.conf",
    "[global]\nindex-url = https://file/simple\nretries = 1\ntimeout = 10\n\
     extra-index-url = https://file-extra/simple\nno-binary = a\npython = python3.10\n\
     [wheel]\nretries = 2\nwheel-dir = from-file\n",
);

type PrecedenceCase<'a> = (
    &'a [(&'a str, &'a str)],
    &'a [(&'a str, &'a str)],
    RawBuild,
    u32,
    Option<&'a str>,
    &'a str,
);

#[test]
fn the_command_line_is_stronger_than_variables_and_these_than_files() {
    let variables = [
        ("PIP_RETRIES", "3"),
        ("PIP_INDEX_URL", "https://variable/simple"),
    ];
    let given = RawBuild {
        retries: Some(4),
        index_url: Some("https://flag/simple".to_owned()),
        output: Some("from-flag".into()),
        ..raw()
    };
    let cases: [PrecedenceCase<'_>; 4] = [
        (&[], &[], raw(), 5, None, "/app/wheelhouse"),
        (
            &[],
            &[CONF],
            raw(),
            2,
            Some("https://file/simple"),
            "/app/from-file",
        ),
        (
            &variables,
            &[CONF],
            raw(),
            3,
            Some("https://variable/simple"),
            "/app/from-file",
        ),
        (
            &variables,
            &[CONF],
            given,
            4,
            Some("https://flag/simple"),
            "/app/from-flag",
        ),
    ];
    for (variables, files, raw, retries, index, output) in cases {
        let settings = World { variables, files }.settings(&raw).unwrap();
        assert_eq!(settings.retries, retries);
        assert_eq!(settings.file_options.index_url.as_deref(), index);
        assert_eq!(settings.output, Path::new(output));
    }
}

#[test]
fn lists_of_the_command_line_are_added_to_one_of_the_configuration() {
    let raw = RawBuild {
        extra_index_urls: vec!["https://flag/simple".to_owned()],
        ..raw()
    };
    let files = [CONF];
    let world = World {
        files: &files,
        ..World::default()
    };
    let expected = [
        "https://file/simple",
        "https://file-extra/simple",
        "https://flag/simple",
    ];
    assert_eq!(urls(&world.request(&raw)), expected);
    let variables = [("PIP_EXTRA_INDEX_URL", "https://v1/simple https://v2/simple")];
    let world = World {
        files: &files,
        variables: &variables,
    };
    let expected = [
        "https://file/simple",
        "https://v1/simple",
        "https://v2/simple",
        "https://flag/simple",
    ];
    assert_eq!(urls(&world.request(&raw)), expected);
}

#[test]
fn requirements_files_have_the_last_word() {
    let files = [
        CONF,
        (
            "r.txt",
            "-i https://lines/simple\n--extra-index-url https://more/simple\n--no-binary b\n--pre\nflask\n",
        ),
        ("c.txt", "--only-binary a\nflask<3\n"),
    ];
    let raw = RawBuild {
        requirement_files: vec!["r.txt".to_owned()],
        constraint_files: vec!["c.txt".to_owned()],
        index_url: Some("https://flag/simple".to_owned()),
        ..raw()
    };
    let joined = World {
        files: &files,
        ..World::default()
    }
    .joined(&raw)
    .unwrap();
    let request = joined.request;
    assert_eq!(
        urls(&request),
        ["https://lines/simple", "https://more/simple"]
    );
    assert_eq!(
        request.formats.no_binary,
        Packages::Only(vec!["b".parse().unwrap()])
    );
    assert_eq!(
        request.formats.only_binary,
        Packages::Only(vec!["a".parse().unwrap()])
    );
    assert!(request.resolution.prereleases);
    let expected = [("django", "the command line"), ("flask", "r.txt:5")];
    assert_eq!(texts(&request.requirements), expected);
    assert_eq!(texts(&request.constraints), [("flask<3", "c.txt:2")]);
    assert_eq!(
        joined.notes.len(),
        1,
        "the extra index of the file is dropped, and said"
    );
}

#[test]
fn no_index_leaves_none() {
    let files = [CONF, ("links/a.whl", "")];
    let raw = RawBuild {
        no_index: true,
        find_links: vec![
            "links".into(),
            "./links/".into(),
            "https://h/page".into(),
            "absent".into(),
        ],
        ..raw()
    };
    let joined = World {
        files: &files,
        ..World::default()
    }
    .joined(&raw)
    .unwrap();
    assert!(joined.request.indexes.no_index);
    assert_eq!(urls(&joined.request), [] as [&str; 0]);
    assert_eq!(joined.request.indexes.find_links[0], "/app/links");
    assert!(
        joined
            .request
            .indexes
            .find_links
            .contains(&"https://h/page".to_owned())
    );
    assert_eq!(joined.notes, ["--find-links `absent` is not there"]);
}

#[test]
fn extra_indexes_stand_beside_the_default() {
    let raw = RawBuild {
        extra_index_urls: vec![
            "https://me:secret@h/simple".into(),
            "https://pypi.org/simple".into(),
        ],
        ..raw()
    };
    let world = World::default();
    assert_eq!(
        urls(&world.request(&raw)),
        [PYPI, "https://me:secret@h/simple"]
    );
    let settings = world.settings(&raw).unwrap();
    let row = settings
        .rows
        .iter()
        .find(|row| row.option == "extra-index-url")
        .unwrap();
    assert_eq!(row.values[0], "https://****@h/simple");
    assert_eq!(row.origins, [ValueOrigin::CommandLine]);
}

#[test]
fn a_directory_can_be_an_index_and_nonsense_cannot() {
    let files = [("simple/a/index.html", "")];
    let world = World {
        files: &files,
        ..World::default()
    };
    let with = |index: &str| RawBuild {
        index_url: Some(index.to_owned()),
        ..raw()
    };
    assert_eq!(
        urls(&world.request(&with("simple"))),
        ["file:///app/simple/"]
    );
    let message =
        "the index `nonsense` is neither a URL nor a directory: relative URL without a base";
    assert_eq!(world.error(&with("nonsense")), message);
}

type SettlingCase<'a> = (&'a [(&'a str, &'a str)], &'a RawBuild, Option<&'a str>);

#[test]
fn caches_have_an_order() {
    let home = "/home/me/.cache/wheelhouse";
    let pip = ("PIP_CACHE_DIR", "/pip");
    let own = ("WHEELHOUSE_CACHE_DIR", "own");
    let none = ("PIP_NO_CACHE_DIR", "0");
    let dir = RawBuild {
        cache_dir: Some("flag".into()),
        ..raw()
    };
    let no = RawBuild {
        no_cache: true,
        ..raw()
    };
    let cases: [SettlingCase<'_>; 7] = [
        (&[], &raw(), Some(home)),
        (&[pip], &raw(), Some("/pip/wheelhouse")),
        (&[pip, none], &raw(), None),
        (&[pip, own, none], &raw(), Some("/app/own")),
        (&[pip, own, none], &dir, Some("/app/flag")),
        (&[own], &no, None),
        (&[none], &dir, Some("/app/flag")),
    ];
    for (variables, raw, expected) in cases {
        let settings = World {
            variables,
            files: &[],
        }
        .settings(raw)
        .unwrap();
        assert_eq!(
            settings.cache.as_deref(),
            expected.map(Path::new),
            "{variables:?}"
        );
    }
}

#[test]
fn other_settings_have_their_values() {
    let variables = [
        ("PATH", "/bin"),
        ("PIP_NO_BUILD_ISOLATION", "0"),
        ("PIP_TIMEOUT", "2.5"),
        ("PIP_KEYRING_PROVIDER", "subprocess"),
        ("PIP_CONFIG_SETTINGS", "a=1"),
        ("PIP_CONSTRAINT", "c.txt"),
        ("PIP_CERT", "cert.pem"),
        ("PIP_PYTHON", "/usr/bin/python3"),
    ];
    let files = [("c.txt", "django<6\n"), CONF];
    let raw = RawBuild {
        config_settings: vec!["acme:b=2".into(), "c=d:e=3".into()],
        index_strategy: Some(IndexStrategy::FirstIndex),
        jobs: Some(3),
        exclude_newer: Some("2026-01-01".into()),
        no_deps: true,
        ..raw()
    };
    let request = World {
        variables: &variables,
        files: &files,
    }
    .request(&raw);
    let building = &request.building;
    assert!(!building.isolated, "pip, too, takes a false value for this");
    assert_eq!(building.jobs, 3);
    assert_eq!(
        building.environment,
        BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())])
    );
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        building.config_settings,
        [pair("a", "1"), pair("c", "d:e=3")]
    );
    assert_eq!(
        building.package_settings[&"acme".parse().unwrap()],
        [pair("b", "2")]
    );
    assert_eq!(request.network.timeout, Duration::from_millis(2500));
    assert!(request.network.keyring);
    assert_eq!(
        request.network.certificate.as_deref(),
        Some(Path::new("/app/cert.pem"))
    );
    assert_eq!(request.indexes.strategy, IndexStrategy::FirstIndex);
    assert_eq!(
        request.resolution.exclude_newer.as_deref(),
        Some("2026-01-01")
    );
    assert!(request.resolution.no_dependencies);
    assert_eq!(request.python.as_deref(), Some("/usr/bin/python3"));
    assert_eq!(texts(&request.constraints), [("django<6", "c.txt:1")]);
}

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    let variables = [("PIP_RETRIES", "many")];
    let message = World {
        variables: &variables,
        files: &[],
    }
    .error(&raw());
    assert_eq!(
        message,
        "`PIP_RETRIES` sets `retries` to `many`, which is not a whole number"
    );
    let cases = [
        (
            RawBuild {
                config_settings: vec!["a".into()],
                ..raw()
            },
            "`a`, given with --config-settings, is not `KEY=VALUE`",
        ),
        (
            RawBuild {
                controls: vec![Control::AllReleases("a".into())],
                ..raw()
            },
            "`--all-releases a` is not supported",
        ),
        (
            RawBuild {
                controls: vec![Control::OnlyFinal("a".into()), Control::Pre],
                ..raw()
            },
            "--pre cannot be used with --all-releases or --only-final",
        ),
        (
            RawBuild {
                extras: vec!["x".into()],
                ..raw()
            },
            "--extra needs a project",
        ),
    ];
    for (raw, message) in cases {
        assert_eq!(World::default().error(&raw), message);
    }
}

#[test]
fn overrides_and_build_constraints_are_read_by_themselves() {
    let files = [
        ("o.txt", "--pre\nidna==3\n"),
        ("b.txt", "setuptools<80\n"),
        ("e.txt", "-e ./lib\n"),
    ];
    let raw = RawBuild {
        override_files: vec!["o.txt".into()],
        build_constraint_files: vec!["b.txt".into()],
        requirement_files: vec!["e.txt".into()],
        ..raw()
    };
    let joined = World {
        files: &files,
        ..World::default()
    }
    .joined(&raw)
    .unwrap();
    assert_eq!(texts(&joined.request.overrides), [("idna==3", "o.txt:2")]);
    assert_eq!(
        texts(&joined.request.build_constraints),
        [("setuptools<80", "b.txt:1")]
    );
    assert!(!joined.request.resolution.prereleases);
    assert_eq!(joined.notes.len(), 2, "{:?}", joined.notes);
}

/// A tree on the disk, with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs_err::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// What the tree asks for: texts and origins, the latter without the directory.
fn asked(
    tree: &TempDir,
    variables: &[(&str, &str)],
    raw: RawBuild,
) -> Result<(Vec<String>, usize)> {
    let raw = RawBuild {
        source: Some(tree.path().to_owned()),
        ..raw
    };
    let environment: Environment = variables.iter().copied().collect();
    let context = SettingsContext {
        environment: &environment,
        working_directory: tree.path(),
        pip: &PipConfiguration::default(),
        reader: &super::super::LocalReader,
        processors: 1,
        default_cache: None,
    };
    let joined = join(&raw, &settle(&raw, &context)?, &context)?;
    let root = tree.path().display().to_string();
    let lines = joined
        .request
        .requirements
        .iter()
        .map(|it| format!("{} ({})", it.text.replace(&root, "ROOT"), it.origin));
    Ok((lines.collect(), joined.notes.len()))
}

const PROJECT: &str = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['django']\n\
    [project.optional-dependencies]\nfast = ['uvloop']\n[dependency-groups]\ntest = ['pytest']\n";

#[test]
fn a_tree_has_files_or_a_project() {
    let with = |extras: &[&str], groups: &[&str]| RawBuild {
        extras: extras.iter().map(ToString::to_string).collect(),
        groups: groups.iter().map(ToString::to_string).collect(),
        ..RawBuild::default()
    };
    let both = tree(&[
        ("requirements.txt", "flask\n"),
        ("pyproject.toml", PROJECT),
        ("more.txt", "idna\n"),
    ]);
    let asked_of = |tree, variables: &[_], raw| asked(tree, variables, raw).unwrap();
    let (lines, _) = asked_of(&both, &[], with(&[], &[]));
    assert_eq!(lines, ["flask (requirements.txt:1)"]);
    let (lines, _) = asked_of(
        &both,
        &[("REQUIREMENTS_FILE", "more.txt requirements.txt")],
        with(&[], &["test"]),
    );
    assert_eq!(
        lines,
        [
            "idna (more.txt:1)",
            "flask (requirements.txt:1)",
            "pytest (pyproject.toml)"
        ]
    );
    let project = tree(&[("pyproject.toml", PROJECT)]);
    let (lines, _) = asked_of(&project, &[], with(&["fast"], &["test"]));
    assert_eq!(
        lines,
        [
            "django (pyproject.toml)",
            "uvloop (pyproject.toml)",
            "pytest (pyproject.toml)"
        ]
    );
    let error = asked(&project, &[], with(&["slow"], &[])).unwrap_err();
    assert!(
        error
            .sentence()
            .contains("has no extra `slow`; it has fast"),
        "{}",
        error.sentence()
    );
}

#[test]
fn what_only_a_back_end_knows_is_had_from_the_tree_itself() {
    let legacy = tree(&[("setup.py", "")]);
    let (lines, notes) = asked(&legacy, &[], RawBuild::default()).unwrap();
    assert_eq!((lines, notes), (vec!["ROOT (setup.py)".to_owned()], 1));
    let dynamic = tree(&[(
        "pyproject.toml",
        "[project]\nname = 'a'\ndynamic = ['version', 'dependencies']\n",
    )]);
    let raw = RawBuild {
        extras: vec!["x".into(), "y".into()],
        ..RawBuild::default()
    };
    let (lines, _) = asked(&dynamic, &[], raw).unwrap();
    assert_eq!(lines, ["ROOT[x,y] (pyproject.toml)"]);
    let tool = tree(&[("pyproject.toml", "[tool.black]\n")]);
    let error = asked(&tool, &[], RawBuild::default()).unwrap_err();
    assert!(error.sentence().contains("describes no project"));
    let nothing = tree(&[]);
    let error = asked(&nothing, &[], RawBuild::default()).unwrap_err();
    assert!(
        error.sentence().contains("has none of"),
        "{}",
        error.sentence()
    );
}
