//! The download address of a registry, as the `config.json` of its index states it.
//!
//! See <https://doc.rust-lang.org/cargo/reference/registry-index.html#index-configuration>.

use serde::Deserialize;
use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, LockedCrate, Result};

/// The name of the configuration in an index.
pub const CONFIG_NAME: &str = "config.json";

/// The largest configuration of a registry (bytes).
pub const CONFIG_SIZE: u64 = 64 << 10;

/// The configuration of a registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistryConfig {
    /// The template of the download address.
    dl: String,
    /// True if every request needs a token.
    #[serde(default)]
    pub auth_required: bool,
}

impl RegistryConfig {
    /// Parses the bytes of a `config.json`.
    ///
    /// # Errors
    /// [`Kind::Fetch`] if they are not valid.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).context(Kind::Fetch, || {
            "the `config.json` of the registry is not valid".to_owned()
        })
    }

    /// Returns the address of the file of `locked`.
    ///
    /// # Errors
    /// [`Kind::Fetch`] if the template does not make a URL.
    pub fn url(&self, locked: &LockedCrate) -> Result<Url> {
        let mut address = self.dl.clone();
        if !self.dl.contains('{') {
            address.push_str("/{crate}/{version}/download");
        }
        let checksum = locked.sha256.map(|sha256| sha256.to_string());
        let markers = [
            ("{crate}", locked.name.as_str()),
            ("{version}", locked.version.as_str()),
            ("{prefix}", &prefix(&locked.name)),
            ("{lowerprefix}", &prefix(&locked.name.to_ascii_lowercase())),
            ("{sha256-checksum}", &checksum.unwrap_or_default()),
        ];
        for (marker, value) in markers {
            address = address.replace(marker, value);
        }
        let url = Url::parse(&address).context(Kind::Fetch, || {
            format!("the registry states the download address `{address}`, which is not valid")
        })?;
        if matches!(url.scheme(), "http" | "https") {
            return Ok(url);
        }
        let message = format!("the registry states the download address `{address}`");
        Err(Error::new(Kind::Fetch, message).with_hint("Only http and https are supported."))
    }
}

/// Returns the directory of a crate in an index.
pub(crate) fn prefix(name: &str) -> String {
    match name.len() {
        0 => String::new(),
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_types::locked_crate::CRATES_IO;

    fn url(dl: &str) -> String {
        let config = serde_json::json!({ "dl": dl, "api": null });
        let locked = LockedCrate {
            name: "Cargo_X".to_owned(),
            version: "1.0.0+b".to_owned(),
            source: CRATES_IO.to_owned(),
            sha256: Some(wheelhouse_types::Sha256::of(b"")),
        };
        let config = RegistryConfig::parse(config.to_string().as_bytes()).unwrap();
        config.url(&locked).unwrap().to_string()
    }

    #[test]
    fn replaces_markers() {
        assert_eq!(
            url("https://x/api"),
            "https://x/api/Cargo_X/1.0.0+b/download"
        );
        assert_eq!(
            url("https://x/{prefix}/{lowerprefix}/{crate}-{version}.crate"),
            "https://x/Ca/rg/ca/rg/Cargo_X-1.0.0+b.crate"
        );
        assert!(
            url("https://x/{sha256-checksum}")
                .ends_with("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
    }

    #[test]
    fn rejects_other_protocols() {
        let config = RegistryConfig::parse(br#"{"dl": "file:///etc/{crate}"}"#).unwrap();
        let locked = LockedCrate {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            source: CRATES_IO.to_owned(),
            sha256: None,
        };
        assert!(config.url(&locked).is_err());
        assert!(RegistryConfig::parse(b"<html>").is_err());
    }
}
