//! The style sheet, the script and the icon of the pages, embedded into the program.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

/// The policy for the pages and assets, to be sent as `Content-Security-Policy`: nothing inline, nothing from elsewhere.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file below `/static/`. Its name contains a digest of its bytes, so that it can be cached forever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The file name, `style-0123456789abcdef.css`.
    pub name: String,
    /// The content.
    pub bytes: &'static [u8],
    /// The value of `Content-Type`.
    pub content_type: &'static str,
}

/// Returns the asset with this file name.
#[must_use]
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.all().into_iter().find(|asset| asset.name == name)
}

pub(crate) const STYLE: &str = include_str!("../assets/style.css");
pub(crate) const SCRIPT: &str = include_str!("../assets/script.js");
const ICON: &str = include_str!("../assets/icon.svg");

pub(crate) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: named("style", "css", STYLE, "text/css; charset=utf-8"),
    script: named("script", "js", SCRIPT, "text/javascript; charset=utf-8"),
    icon: named("icon", "svg", ICON, "image/svg+xml"),
});

/// All assets.
#[derive(Debug)]
pub(crate) struct Assets {
    pub(crate) style: Asset,
    pub(crate) script: Asset,
    pub(crate) icon: Asset,
}

impl Assets {
    fn all(&self) -> [&Asset; 3] {
        [&self.style, &self.script, &self.icon]
    }
}

fn named(stem: &str, extension: &str, text: &'static str, content_type: &'static str) -> Asset {
    let digest = wheelhouse_types::Sha256::of(text.as_bytes()).to_string();
    Asset {
        name: format!("{stem}-{}.{extension}", &digest[..16]),
        bytes: text.as_bytes(),
        content_type,
    }
}

/// Returns the policy of a single file whose style and script are inline.
pub(crate) fn inline_policy() -> String {
    let source = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        source(STYLE),
        source(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_found_by_their_names() {
        for known in ASSETS.all() {
            assert_eq!(asset(&known.name), Some(known));
        }
        assert_eq!(asset("style.css"), None);
        assert_eq!(asset("../style.css"), None);
    }

    #[test]
    fn script_is_small_and_loads_nothing() {
        assert!(SCRIPT.len() < 6_000, "{}", SCRIPT.len());
        for text in [STYLE, SCRIPT] {
            for forbidden in [
                "http:",
                "https:",
                "@import",
                "url(",
                "fetch(",
                "innerHTML",
                "eval(",
            ] {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
        }
        // The closing tags would end the inline elements of a report.
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</"));
    }
}
