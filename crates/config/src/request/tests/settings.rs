//! Other settings: the cache, values of all types, and invalid values.

use std::time::Duration;

use wheelhouse_types::request::IndexStrategy;

use super::*;

type SettlingCase<'a> = (&'a [(&'a str, &'a str)], &'a RawOptions, Option<&'a str>);

#[test]
fn cache_directories_have_precedence() {
    let home = "/home/me/.cache/wheelhouse";
    let pip = ("PIP_CACHE_DIR", "/pip");
    let own = ("WHEELHOUSE_CACHE_DIR", "own");
    let none = ("PIP_NO_CACHE_DIR", "0");
    let dir = RawOptions {
        cache_dir: Some("flag".into()),
        ..raw()
    };
    let no = RawOptions {
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
fn reads_other_settings() {
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
    let raw = RawOptions {
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
fn allows_and_excludes_pre_releases_by_name() {
    let files = [("r.txt", "--only-final B,c\n")];
    let of = |controls: &[FormatOption]| {
        let raw = RawOptions {
            controls: controls.to_vec(),
            requirement_files: vec!["r.txt".into()],
            ..raw()
        };
        let world = World::of_files(&files);
        let prereleases = world.request(&raw).resolution.prereleases;
        let packages = prereleases.packages.into_iter();
        let packages = packages.map(|(name, allowed)| format!("{name} {allowed}"));
        (prereleases.others, packages.collect::<Vec<_>>().join(", "))
    };
    let all = |names: &str| FormatOption::AllReleases(names.into());
    let cases = [
        (vec![], None, "b false, c false"),
        (vec![all("a,b")], None, "a true, b false, c false"),
        (vec![all(":all:")], Some(true), "b false, c false"),
        (vec![FormatOption::Pre], Some(true), "b false, c false"),
        (
            vec![FormatOption::OnlyFinal(":all:".into()), all("a")],
            Some(false),
            "a true, b false, c false",
        ),
    ];
    for (controls, others, packages) in cases {
        assert_eq!(of(&controls), (others, packages.to_owned()), "{controls:?}");
    }
}

#[test]
fn rejects_invalid_values() {
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
            RawOptions {
                config_settings: vec!["a".into()],
                ..raw()
            },
            "`a`, given with --config-settings, is not `KEY=VALUE`",
        ),
        (
            RawOptions {
                controls: vec![FormatOption::AllReleases("a b".into())],
                ..raw()
            },
            "`a b`, given with --all-releases or --only-final, is not a valid package name",
        ),
        (
            RawOptions {
                controls: vec![FormatOption::OnlyFinal("a".into()), FormatOption::Pre],
                ..raw()
            },
            "--pre cannot be used with --all-releases or --only-final",
        ),
        (
            RawOptions {
                extras: vec!["x".into()],
                ..raw()
            },
            "--extra requires a project",
        ),
        (
            RawOptions {
                allow_read: vec!["/tmp".into(), "/not/there".into()],
                ..raw()
            },
            "/not/there, given with --allow-read, does not exist",
        ),
        (
            RawOptions {
                allow_write: vec!["a:/tmp".into(), "a:/not/there".into()],
                ..raw()
            },
            "/not/there, given with --allow-write, does not exist",
        ),
    ];
    for (raw, message) in cases {
        assert_eq!(World::default().error(&raw), message);
    }
}
