mod clients;

use proptest::prelude::*;
use serde_json::{Value, json};
use wheelhouse_types::{Listing, StatusMarker};

use super::*;

fn wheel(filename: &str, name: &str, version: &str) -> IndexedWheel {
    IndexedWheel {
        filename: filename.to_owned(),
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        sha256: Sha256::of(filename.as_bytes()),
        size: 1234,
        requires_python: None,
        metadata: None,
        listing: Listing::default(),
    }
}

fn page(pages: &[(String, Vec<u8>)], path: &str) -> String {
    let (_, bytes) = pages.iter().find(|(known, _)| known == path).unwrap();
    String::from_utf8(bytes.clone()).unwrap()
}

#[test]
fn lists_legacy_sdists_on_separate_page() {
    let modern = ["a-1-py3-none-any.whl", "a-1.tar.gz", "a-1.zip"];
    let modern = modern.map(|name| wheel(name, "a", "1"));
    let names = |wheels: &[IndexedWheel]| {
        pages(wheels, &BTreeMap::new())
            .into_iter()
            .map(|(name, _)| name)
    };
    assert!(names(&modern).all(|name| name.starts_with("simple/")));
    let old = ["b-1.tar.bz2", "a-1.tgz"].map(|name| wheel(name, &name[..1], "1"));
    let pages = pages(&[&modern[..], &old[..]].concat(), &BTreeMap::new());
    let page = page(&pages, LEGACY_PAGE);
    let links: Vec<_> = page
        .lines()
        .filter_map(|line| line.trim().strip_prefix("<a href=\""))
        .collect();
    let starts = ["a-1.tgz#sha256=", "b-1.tar.bz2#sha256="];
    assert_eq!(links.len(), 2, "{page}");
    assert!(
        links
            .iter()
            .zip(starts)
            .all(|(link, start)| link.starts_with(start)),
        "{page}"
    );
}

#[test]
fn renders_pages_of_the_standards() {
    let wheels = [
        IndexedWheel {
            requires_python: Some(">=3.8,<4 & \"x\"".to_owned()),
            metadata: Some(Sha256::of(b"metadata")),
            listing: Listing {
                uploaded: Some(1_714_564_800_123),
                provenance: Some("https://index.example/provenance?a&b".to_owned()),
                ..Listing::default()
            },
            ..wheel("my_lib-1.10-py3-none-any.whl", "My.Lib", "1.10")
        },
        IndexedWheel {
            listing: Listing {
                yanked: Some("<broken>".to_owned()),
                ..Listing::default()
            },
            ..wheel(
                "my_lib-1.9+local.1-py3-none-any.whl",
                "my-lib",
                "1.9+local.1",
            )
        },
        IndexedWheel {
            listing: Listing {
                yanked: Some(String::new()),
                ..Listing::default()
            },
            ..wheel("other-1!2.0-py3-none-any.whl", "other", "1!2.0")
        },
    ];
    let archived = ProjectStatus {
        status: StatusMarker::Archived,
        reason: Some("moved to \"new\"".to_owned()),
    };
    let status = BTreeMap::from([("my-lib".parse().unwrap(), archived)]);
    let pages = pages(&wheels, &status);
    let paths: Vec<&str> = pages.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "simple/index.html",
            "simple/index.json",
            "simple/my-lib/index.html",
            "simple/my-lib/index.json",
            "simple/other/index.html",
            "simple/other/index.json",
        ]
    );
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("root-html", page(&pages, "simple/index.html"));
        insta::assert_snapshot!("project-html", page(&pages, "simple/my-lib/index.html"));
        insta::assert_snapshot!("project-json", page(&pages, "simple/my-lib/index.json"));
    });
    let other: Value = serde_json::from_str(&page(&pages, "simple/other/index.json")).unwrap();
    assert_eq!(other["files"][0]["yanked"], json!(true));
    assert_eq!(
        other["files"][0]["url"],
        json!("../../other-1%212.0-py3-none-any.whl")
    );
}

#[test]
fn empty_set_has_empty_index() {
    let pages = pages(&[], &BTreeMap::new());
    assert_eq!(pages.len(), 2);
    assert!(!page(&pages, "simple/index.html").contains("<a "));
}

#[test]
fn pages_do_not_depend_on_wheel_order() {
    let mut wheels = vec![
        wheel("b-1-py3-none-any.whl", "b", "1"),
        wheel("a-2-py3-none-any.whl", "a", "2"),
        wheel("a-10-py3-none-any.whl", "a", "10"),
    ];
    let one = pages(&wheels, &BTreeMap::new());
    wheels.reverse();
    assert_eq!(one, pages(&wheels, &BTreeMap::new()));
    let a: Value = serde_json::from_str(&page(&one, "simple/a/index.json")).unwrap();
    assert_eq!(a["versions"], json!(["2", "10"]));
}

/// Reverts [`escape_html`], as a browser does.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}

proptest! {
    #[test]
    fn escaped_text_reads_back(filename in "[ -~é日]{1,20}", requires in "[ -~é]{1,20}") {
        let shown = IndexedWheel {
            requires_python: Some(requires.clone()),
            filename: filename.clone(),
            ..wheel("x", "a", "1")
        };
        let anchor = anchor(&shown, FILES_BASE);
        let line = anchor.strip_suffix("</a><br>\n").unwrap();
        let (tag, text) = line.split_once('>').unwrap();
        prop_assert_eq!(unescaped(text), filename.clone());
        let parts: Vec<&str> = tag.split('"').collect();
        prop_assert_eq!(parts.len(), 5);
        let (url, digest) = parts[1].split_once('#').unwrap();
        let segment = url.strip_prefix("../../").unwrap();
        prop_assert!(!segment.contains(['/', '?', '%']) || segment.contains('%'));
        let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().unwrap();
        prop_assert_eq!(decoded.as_ref(), filename.as_str());
        prop_assert_eq!(digest, format!("sha256={}", shown.sha256));
        prop_assert_eq!(unescaped(parts[3]), requires);
        let project = IndexedProject { name: &shown.name, status: None };
        let read: Value = serde_json::from_slice(&project_json(&project, &[&shown])).unwrap();
        prop_assert_eq!(read["files"][0]["filename"].as_str(), Some(filename.as_str()));
    }
}
