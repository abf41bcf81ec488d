//! The rendered pages as a browser gets them: links that resolve, nothing inline, and hostile metadata as text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wheelhouse_publish::IndexedWheel;
use wheelhouse_site::{
    LinkContext, ReportLocation, Site, SiteFile, Verification, WheelhouseFacts, asset,
};
use wheelhouse_types::{Listing, Manifest, Sha256};

/// Creates a wheel with the headers `metadata`.
fn file(filename: &str, metadata: &str) -> SiteFile {
    let mut parts = filename.split('-');
    SiteFile {
        indexed: IndexedWheel {
            filename: filename.to_owned(),
            name: parts.next().unwrap().parse().unwrap(),
            version: parts.next().unwrap().parse().unwrap(),
            sha256: Sha256::of(filename.as_bytes()),
            size: 1_000 * filename.len() as u64,
            requires_python: Some(">=3.9".to_owned()),
            metadata: Some(Sha256::of(metadata.as_bytes())),
            listing: Listing {
                uploaded: Some(1_700_000_000_000),
                ..Listing::default()
            },
        },
        metadata: Some(Arc::from(metadata.as_bytes())),
    }
}

/// Creates a wheelhouse with a manifest of its `files`.
fn facts(name: &str, files: Vec<SiteFile>) -> WheelhouseFacts {
    let wheels: Vec<_> = files
        .iter()
        .map(|file| {
            serde_json::json!({
                "filename": file.indexed.filename,
                "name": file.indexed.name,
                "version": file.indexed.version.to_string(),
                "sha256": file.indexed.sha256,
                "size": file.indexed.size,
                "origin": {"kind": "index", "url": "https://index.example/simple"},
                "source": "https://files.example/<b>x",
                "built": {"python": "cpython 3.12.1", "requirements": ["setuptools==80.0"]},
            })
        })
        .collect();
    let manifest: Manifest = serde_json::from_value(serde_json::json!({
        "schema": "wheelhouse-manifest/1", "generator": "wheelhouse <1>", "targets": [], "requirements": ["alpha<2"],
        "request": "", "wheels": wheels, "files": [],
    }))
    .unwrap();
    let previous = Manifest {
        wheels: Vec::new(),
        ..manifest.clone()
    };
    let verification = br#"{"schema":"wheelhouse-verify/1","passed":false,"checks":[{"name":"files","outcome":"failed",
        "counts":[{"number":1,"noun":"wheel"}],"failures":[{"about":"<img src=x>","message":"is missing"}]}]}"#;
    WheelhouseFacts {
        name: name.to_owned(),
        made: Some(jiff::Timestamp::UNIX_EPOCH),
        newest: BTreeMap::from([("alpha".parse().unwrap(), "9.0".parse().unwrap())]),
        verification: Some(Verification::parse(verification).unwrap()),
        manifest: Some(manifest),
        previous: Some(previous),
        files,
    }
}

fn two_wheelhouses() -> Site {
    let alpha = "Name: Alpha\nSummary: The first\nLicense-Expression: MIT\nRequires-Dist: beta>=1\n\
         Requires-Dist: gamma ; extra == 'all'\nRequires-Dist: absent\nProvides-Extra: all\n\
         Project-URL: Home, https://alpha.example\n";
    let first = vec![
        file("alpha-1.0-py3-none-any.whl", alpha),
        file("beta-1.0-cp312-cp312-win_amd64.whl", "Name: beta\n"),
    ];
    let second = vec![
        file("alpha-1.0-py3-none-any.whl", alpha),
        file("alpha-2.0-py3-none-any.whl", alpha),
        file(
            "gamma-1.0+local.1-py3-none-any.whl",
            "Requires-Dist: alpha\n",
        ),
    ];
    Site::new(vec![facts("first", first), facts("second set", second)])
}

fn context() -> LinkContext {
    LinkContext::new("https://host.example/base")
}

/// Returns the served pages by their paths.
fn pages(site: &Site, packages: &[&str], wheelhouses: &[&str]) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::from([("/".to_owned(), site.home(&context()))]);
    for name in packages {
        let page = site.package(name, &context()).unwrap();
        pages.insert(format!("/package/{name}/"), page);
    }
    for name in wheelhouses {
        let path = format!("/{}/", name.replace(' ', "%20"));
        pages.insert(path, site.wheelhouse(name).unwrap());
    }
    pages
}

fn all_pages() -> BTreeMap<String, String> {
    pages(
        &two_wheelhouses(),
        &["alpha", "beta", "gamma"],
        &["first", "second set"],
    )
}

/// Returns the start tags of `html`, without the angle brackets. The pages write `<` in text as an entity.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).filter_map(|part| {
        let tag = part.split('>').next()?;
        (!tag.starts_with(['/', '!'])).then_some(tag)
    })
}

/// Returns the value of the attribute `name` of a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

#[test]
fn every_link_leads_to_a_page_an_asset_or_a_file() {
    let pages = all_pages();
    let mut files = BTreeSet::new();
    for (path, html) in &pages {
        for tag in tags(html) {
            for name in ["href", "src"] {
                let Some(link) = attribute(tag, name) else {
                    continue;
                };
                if link.starts_with("https://alpha.example") {
                    continue;
                }
                let base = url::Url::parse(&format!("https://host.example/base{path}")).unwrap();
                let target = base.join(link).unwrap();
                let target_path = target.path().strip_prefix("/base").unwrap();
                if let Some(asset_name) = target_path.strip_prefix("/static/") {
                    assert!(asset(asset_name).is_some(), "{path}: {link}");
                } else if let Some(fragment) = target.fragment() {
                    assert!(
                        html.contains(&format!("id=\"{fragment}\"")),
                        "{path}: {link}"
                    );
                } else if target_path.ends_with('/') {
                    let is_known = pages.contains_key(target_path) || target_path == "/simple/";
                    assert!(is_known, "{path}: {link}");
                } else {
                    files.insert(target_path.to_owned());
                }
            }
        }
    }
    assert!(
        files.contains("/gamma-1.0%2Blocal.1-py3-none-any.whl"),
        "{files:?}"
    );
    assert_eq!(files.len(), 8, "four wheels and their metadata: {files:?}");
}

#[test]
fn links_of_a_report_stay_in_it() {
    let report = two_wheelhouses().report(ReportLocation::Directory("wheels"));
    let ids: Vec<&str> = tags(&report)
        .filter_map(|tag| attribute(tag, "id"))
        .collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    for tag in tags(&report) {
        assert!(attribute(tag, "src").is_none(), "{tag}");
        if let Some(link) = attribute(tag, "href") {
            let is_inside = link
                .strip_prefix('#')
                .is_some_and(|fragment| unique.contains(fragment));
            assert!(is_inside || link == "https://alpha.example/", "{link}");
        }
    }
    for name in ["alpha", "beta", "gamma"] {
        assert!(unique.contains(format!("p-{name}").as_str()));
    }
    assert!(report.contains("find-links wheels"));
}

#[test]
fn ids_of_a_page_are_unique() {
    for (path, html) in all_pages() {
        let ids: Vec<&str> = tags(&html).filter_map(|tag| attribute(tag, "id")).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{path}");
    }
}

#[test]
fn pages_have_nothing_that_the_policy_forbids() {
    for (path, html) in all_pages() {
        for tag in tags(&html) {
            let name = tag.split(' ').next().unwrap();
            assert!(
                !["style", "iframe", "object", "form", "base", "img"].contains(&name),
                "{path}: {tag}"
            );
            if name == "script" {
                assert!(attribute(tag, "src").is_some(), "{path}: {tag}");
            }
            assert!(!tag.contains(" style="), "{path}: {tag}");
            assert!(!has_handler(tag), "{path}: {tag}");
        }
    }
}

/// Returns whether `tag` has an attribute such as `onclick`, outside of quotes.
fn has_handler(tag: &str) -> bool {
    let outside: String = tag.split('"').step_by(2).collect();
    outside
        .split_whitespace()
        .any(|word| word.starts_with("on"))
}

#[test]
fn policy_of_a_report_permits_its_style_and_script_only() {
    use base64::Engine as _;
    use sha2::Digest as _;

    let report = two_wheelhouses().report(ReportLocation::Directory("wheels"));
    let policy = tags(&report)
        .find(|tag| tag.starts_with("meta http-equiv"))
        .and_then(|tag| attribute(tag, "content"))
        .unwrap();
    let policy = policy.replace("&#39;", "'");
    for element in ["style", "script"] {
        let (_, rest) = report.split_once(&format!("<{element}>")).unwrap();
        let (text, rest) = rest.split_once(&format!("</{element}>")).unwrap();
        let digest = sha2::Sha256::digest(text.as_bytes());
        let digest = base64::prelude::BASE64_STANDARD.encode(digest);
        let source = format!("{element}-src 'sha256-{digest}'");
        assert!(policy.contains(&source), "{policy}");
        assert!(!rest.contains(&format!("<{element}")));
    }
    assert!(policy.starts_with("default-src 'none';"));
}

#[test]
fn hostile_metadata_is_text() {
    let long = "A very long summary. ".repeat(20_000);
    let hostile = "Name: evil\nSummary: <script>alert(1)</script>\u{202e}\" onload=\"x\n\
         License: \"><img src=x onerror=alert(1)>\nAuthor: </dd></main><script>\n\
         Keywords: <svg/onload=alert(1)>\nRequires-Python: <3'\"><script>\n\
         Home-page: javascript:alert(1)\nProject-URL: \"><script>alert(1)</script>, https://evil.example/\"onclick=\"x\n\
         Project-URL: click, JAVASCRIPT:alert(1)\nProvides-Extra: <b>\nRequires-Dist: <script>alert(1)</script>\n\
         Requires-Dist: alpha ; extra == '<i>'\n";
    let mut evil = file("evil-1.0-py3-none-any.whl", hostile);
    evil.indexed.listing.yanked = Some("<script>yanked</script>".to_owned());
    evil.indexed.listing.provenance = Some("javascript:alert(1)".to_owned());
    let lengthy = file(
        "lengthy-1.0-py3-none-any.whl",
        &format!("Summary: {long}\n"),
    );
    let site = Site::new(vec![facts("set", vec![evil, lengthy])]);
    let mut rendered = pages(&site, &["evil", "lengthy"], &["set"]);
    let report = site.report(ReportLocation::Image("docker://x/<script>:1"));
    let (_, report) = report.split_once("<main").unwrap();
    let (report, _) = report.split_once("<script>").unwrap();
    rendered.insert("report".to_owned(), report.to_owned());
    for (path, html) in &rendered {
        for tag in tags(html) {
            let name = tag.split([' ', '/']).next().unwrap();
            assert!(!["img", "b>", "i"].contains(&name), "{path}: {tag}");
            assert!(
                name != "script" || attribute(tag, "src").is_some(),
                "{path}: {tag}"
            );
            assert!(!has_handler(tag), "{path}: {tag}");
            if let Some(link) = attribute(tag, "href") {
                assert!(!link.to_lowercase().contains("script:"), "{path}: {tag}");
            }
        }
        assert!(!html.contains('\u{202e}'), "{path}");
    }
    let evil = &rendered["/package/evil/"];
    assert!(evil.contains("&#60;script&#62;alert(1)&#60;/script&#62;\\u{202e}"));
    assert!(evil.contains("https://evil.example/%22onclick=%22x"));
    // The whole text is within reach, but bounded.
    let lengthy = &rendered["/package/lengthy/"];
    assert!(lengthy.len() < 30_000 && lengthy.contains("<details class=\"clipped\">"));
    assert!(rendered["/"].len() < 20_000);
}

#[test]
fn package_shows_its_neighbors() {
    let pages = all_pages();
    let alpha = &pages["/package/alpha/"];
    assert!(alpha.contains("<a href=\"../../package/beta/\">beta</a>"));
    assert!(alpha.contains("<span class=\"absent\">absent</span>"));
    assert!(alpha.contains("class=\"extra\""));
    // alpha, beta, and nothing of the extra.
    assert!(
        alpha.contains("With all that it requires here: 2 packages"),
        "{alpha}"
    );
    assert!(pages["/package/beta/"].contains("<a href=\"../../package/alpha/\">alpha</a>"));
    assert!(alpha.contains("9.0 is available"));
    assert!(alpha.contains("only in second set"));
}

#[test]
fn unknown_names_have_no_page() {
    let site = two_wheelhouses();
    assert!(site.package("absent", &context()).is_none());
    assert!(site.package("not a name", &context()).is_none());
    assert!(site.wheelhouse("third").is_none());
}

#[test]
fn an_empty_wheelhouse_has_pages() {
    let empty = WheelhouseFacts {
        name: "empty".to_owned(),
        ..WheelhouseFacts::default()
    };
    let site = Site::new(vec![empty]);
    assert!(site.home(&context()).contains("0 packages"));
    assert!(
        site.wheelhouse("empty")
            .unwrap()
            .contains("has no manifest")
    );
    assert!(
        Site::new(Vec::new())
            .home(&context())
            .contains("0 wheelhouses")
    );
}

#[test]
fn list_of_many_packages_is_small() {
    let files = (0..5_000).map(|index| {
        let metadata = format!("Summary: Does the {index}th of all useful things, and does it in a way that is hard to beat\nLicense: MIT\n");
        file(&format!("package_{index}-1.0-py3-none-any.whl"), &metadata)
    });
    let site = Site::new(vec![facts("set", files.collect())]);
    let home = site.home(&context());
    assert!(home.len() < 1_500_000, "{}", home.len());
}
