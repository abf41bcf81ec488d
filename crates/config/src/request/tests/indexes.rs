//! Indexes and `--find-links` locations.

use super::*;

#[test]
fn no_index_removes_all_indexes() {
    let files = [CONF, ("links/a.whl", "")];
    let raw = RawOptions {
        no_index: true,
        find_links: vec![
            "links".into(),
            "./links/".into(),
            "https://h/page".into(),
            "absent".into(),
        ],
        ..raw()
    };
    let joined = World::of_files(&files).joined(&raw).unwrap();
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
    assert_eq!(joined.notes, ["--find-links `absent` does not exist"]);
}

#[test]
fn extra_indexes_add_to_default() {
    let raw = RawOptions {
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
fn former_urls_of_pypi_are_pypi() {
    let old = "http://pypi.python.org/simple/";
    let files = [(
        "requirements.txt",
        "-i https://pypi.python.org/simple\nalpha\n",
    )];
    let world = World::of_files(&files);
    let raw = RawOptions {
        requirement_files: vec!["requirements.txt".into()],
        extra_index_urls: vec![old.into(), PYPI.into()],
        ..raw()
    };
    assert_eq!(urls(&world.request(&raw)), [PYPI]);
}

#[test]
fn accepts_directory_as_index() {
    let files = [("simple/a/index.html", "")];
    let world = World::of_files(&files);
    let with = |index: &str| RawOptions {
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
