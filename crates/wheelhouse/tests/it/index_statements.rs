//! The statements of indexes about projects and files: their status (PEP 792) and attestations (PEP 740).

use std::fs;

use serde_json::{Value, json};

use crate::support::{Behavior, Index, Sandbox, Wheel, sha256};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

const PROVENANCE: &str = "https://host/integrity/alpha/provenance";

/// Returns the page of `alpha`, a published wheel, with this `status`.
fn page(index: &Index, status: &Value) -> String {
    let wheel = Wheel::new("alpha", "1.0");
    json!({
        "meta": {"api-version": "1.4"}, "name": "alpha", "project-status": status,
        "files": [{
            "filename": wheel.filename(), "url": index.file_url(&wheel.filename()),
            "hashes": {"sha256": sha256(&wheel.bytes())}, "provenance": PROVENANCE,
        }],
    })
    .to_string()
}

fn html_page(index: &Index, status: &str) -> String {
    let wheel = Wheel::new("alpha", "1.0");
    let (filename, sha256) = (wheel.filename(), sha256(&wheel.bytes()));
    let url = index.file_url(&filename);
    format!(
        "<html><head><meta name=\"pypi:project-status\" content=\"{status}\">\
         <meta name=\"pypi:project-status-reason\" content=\"see &amp; read\"></head>\
         <body><a href=\"{url}#sha256={sha256}\" data-provenance=\"{PROVENANCE}\">{filename}</a></body></html>"
    )
}

fn serve(index: &Index, content_type: &'static str, page: &str) {
    let page = page.as_bytes().to_vec();
    index.always("/simple/alpha/", Behavior::Body(content_type, page));
}

fn index() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0"));
    index.add(&Wheel::new("beta", "1.0").requires("alpha"));
    index
}

#[test]
fn refuses_quarantined_project() {
    let quarantined = json!({"status": "quarantined", "reason": "malware\u{1b}[31m"});
    for is_html in [false, true] {
        let (index, sandbox) = (index(), Sandbox::new());
        if is_html {
            serve(&index, "text/html", &html_page(&index, "quarantined"));
        } else {
            serve(&index, JSON, &page(&index, &quarantined));
        }
        let reason = if is_html { "see & read" } else { "malware" };
        // The second run reads the page from the cache.
        for _ in 0..2 {
            let run = sandbox.build(&index, &["beta"]);
            run.assert_exit(3);
            run.assert_error_names(&["alpha", "quarantined", &index.url(), reason, "hint: "]);
            assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
        }
        assert!(!sandbox.out().exists());
        assert!(index.requests("alpha-1.0-py3-none-any.whl").is_empty());
    }
}

#[test]
fn other_index_may_have_quarantined_project() {
    let (quarantining, other, sandbox) = (index(), index(), Sandbox::new());
    serve(
        &quarantining,
        JSON,
        &page(&quarantining, &json!({"status": "quarantined"})),
    );
    let arguments = ["beta", "--extra-index-url", &other.url()];
    sandbox.build(&quarantining, &arguments).assert_success();
    assert!(
        quarantining
            .requests("alpha-1.0-py3-none-any.whl")
            .is_empty()
    );
}

#[test]
fn manifest_and_index_keep_status_and_provenance() {
    let archived = json!({"status": "archived", "reason": "moved"});
    for is_html in [false, true] {
        let (index, sandbox) = (index(), Sandbox::new());
        if is_html {
            serve(&index, "text/html", &html_page(&index, "archived"));
        } else {
            serve(&index, JSON, &page(&index, &archived));
        }
        sandbox.build(&index, &["beta"]).assert_success();
        let read = |out: &std::path::Path| fs::read(out.join("wheelhouse.json")).unwrap();
        let first = read(&sandbox.out());
        let manifest: Value = serde_json::from_slice(&first).unwrap();
        assert_eq!(manifest["wheels"][0]["provenance"], PROVENANCE);
        assert_eq!(manifest["wheels"][1].get("provenance"), None);
        assert_eq!(manifest["project-status"]["alpha"]["status"], "archived");
        let page = fs::read(sandbox.out().join("simple/alpha/index.json")).unwrap();
        let page: Value = serde_json::from_slice(&page).unwrap();
        assert_eq!(page["files"][0]["provenance"], PROVENANCE);
        assert_eq!(page["project-status"]["status"], "archived");
        // A run that keeps the lock, and one that has it from elsewhere.
        sandbox.build(&index, &["beta"]).assert_success();
        assert_eq!(read(&sandbox.out()), first);
        let lock = sandbox.out().join("pylock.toml");
        let (other, cache) = (sandbox.path("other"), sandbox.path("other-cache"));
        let arguments = ["--lock", lock.to_str().unwrap()];
        let run = sandbox.start_into(&index, &other, &cache, &arguments);
        run.finish().assert_success();
        let manifest: Value = serde_json::from_slice(&read(&other)).unwrap();
        assert_eq!(manifest["wheels"][0]["provenance"], PROVENANCE);
    }
}
