//! Indexes that refuse to answer, and what publishers state: it is compared with what comes, and
//! nothing replaces it in silence.

use crate::support::{Behaviour, Index, Sandbox, Wheel};

const METADATA: &str = "/files/alpha-1.0-py3-none-any.whl.metadata";

/// An index with one version of alpha.
fn with_alpha(version: &str) -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", version));
    index
}

#[test]
fn metadata_with_another_digest_is_refused() {
    for html in [false, true] {
        let index = with_alpha("1.0");
        if html {
            index.only_html();
        }
        index.claim_metadata_digest("alpha-1.0-py3-none-any.whl", &"0".repeat(64));
        let sandbox = Sandbox::new();
        sandbox
            .build(&index, &["alpha"])
            .assert_exit(4)
            .assert_error_names(&[
                "alpha-1.0-py3-none-any.whl.metadata",
                "SHA-256",
                &"0".repeat(64),
            ]);
        assert!(!sandbox.out().exists(), "a failed run left an output");
    }
}

#[test]
fn the_digest_of_metadata_is_known_when_the_page_comes_from_the_cache() {
    let index = with_alpha("1.0");
    let right = Wheel::new("alpha", "1.0").metadata_text().into_bytes();
    let wrong = Wheel::new("alpha", "1.0").requires("evil").metadata_text();
    let sandbox = Sandbox::new();
    // The page is cached, and nothing else comes.
    index.always(METADATA, Behaviour::Status(404, Vec::new()));
    index.always(
        "/files/alpha-1.0-py3-none-any.whl",
        Behaviour::Status(404, Vec::new()),
    );
    sandbox.build(&index, &["alpha"]).assert_exit(4);
    index.always(METADATA, Behaviour::Body("text/plain", wrong.into_bytes()));
    sandbox
        .build(&index, &["alpha"])
        .assert_exit(4)
        .assert_error_names(&["alpha-1.0-py3-none-any.whl.metadata", "SHA-256"]);
    index.always(METADATA, Behaviour::Body("text/plain", right));
    index.always("/files/alpha-1.0-py3-none-any.whl", Behaviour::Normal);
    sandbox.build(&index, &["alpha"]).assert_success();
}
