//! Precedence of command line, environment, configuration and requirements files.

use wheelhouse_types::request::Packages;

use super::*;

type PrecedenceCase<'a> = (
    &'a [(&'a str, &'a str)],
    &'a [(&'a str, &'a str)],
    RawOptions,
    u32,
    Option<&'a str>,
    &'a str,
);

#[test]
fn command_line_overrides_variables_and_files() {
    let variables = [
        ("PIP_RETRIES", "3"),
        ("PIP_INDEX_URL", "https://variable/simple"),
    ];
    let given = RawOptions {
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
fn command_line_lists_extend_configuration() {
    let raw = RawOptions {
        extra_index_urls: vec!["https://flag/simple".to_owned()],
        ..raw()
    };
    let files = [CONF];
    let world = World::of_files(&files);
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
fn requirements_files_override_all() {
    let files = [
        CONF,
        (
            "r.txt",
            "-i https://lines/simple\n--extra-index-url https://more/simple\n--no-binary b\n--pre\nflask\n",
        ),
        ("c.txt", "--only-binary a\nflask<3\n"),
    ];
    let raw = RawOptions {
        requirement_files: vec!["r.txt".to_owned()],
        constraint_files: vec!["c.txt".to_owned()],
        index_url: Some("https://flag/simple".to_owned()),
        ..raw()
    };
    let joined = World::of_files(&files).joined(&raw).unwrap();
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
    assert_eq!(request.resolution.prereleases.others, Some(true));
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
fn reads_overrides_and_build_constraints_separately() {
    let files = [
        ("o.txt", "--pre\nidna==3\n"),
        ("b.txt", "setuptools<80\n"),
        ("e.txt", "-e ./lib\n"),
    ];
    let raw = RawOptions {
        override_files: vec!["o.txt".into()],
        build_constraint_files: vec!["b.txt".into()],
        requirement_files: vec!["e.txt".into()],
        ..raw()
    };
    let joined = World::of_files(&files).joined(&raw).unwrap();
    assert_eq!(texts(&joined.request.overrides), [("idna==3", "o.txt:2")]);
    assert_eq!(
        texts(&joined.request.build_constraints),
        [("setuptools<80", "b.txt:1")]
    );
    assert_eq!(
        joined.request.resolution.prereleases,
        Prereleases::default()
    );
    assert_eq!(joined.notes.len(), 2, "{:?}", joined.notes);
}
