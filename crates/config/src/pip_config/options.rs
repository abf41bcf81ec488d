//! The supported options of pip's configuration: names, aliases and types.

use crate::setting::OptionKind;

pub(super) struct KnownOption {
    pub(super) name: &'static str,
    aliases: &'static [&'static str],
    pub(super) kind: OptionKind,
}

const fn known(name: &'static str, kind: OptionKind) -> KnownOption {
    aliased(name, &[], kind)
}

const fn aliased(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: OptionKind,
) -> KnownOption {
    KnownOption {
        name,
        aliases,
        kind,
    }
}

/// The supported options of pip, of `pip wheel` and of `pip download`.
const KNOWN_OPTIONS: [KnownOption; 44] = {
    use OptionKind::{Accumulated, Flag, List, Text};
    [
        known("abi", List),
        known("all-releases", Accumulated),
        known("build-constraint", List),
        known("cache-dir", Text),
        known("cert", Text),
        known("client-cert", Text),
        known("config-settings", Accumulated),
        known("constraint", List),
        aliased("dest", &["destination-dir", "destination-directory"], Text),
        known("editable", List),
        known("extra-index-url", List),
        known("find-links", List),
        known("group", Accumulated),
        known("ignore-requires-python", Flag),
        known("implementation", Text),
        aliased("index-url", &["pypi-url"], Text),
        known("keyring-provider", Text),
        known("no-binary", Accumulated),
        known("no-build-isolation", Flag),
        known("no-cache-dir", Flag),
        known("no-color", Flag),
        aliased("no-deps", &["no-dependencies"], Flag),
        known("no-index", Flag),
        known("no-proxy-env", Flag),
        known("no-require-hashes", Flag),
        known("only-binary", Accumulated),
        known("only-final", Accumulated),
        known("platform", List),
        known("pre", Flag),
        known("prefer-binary", Flag),
        known("progress-bar", Text),
        known("proxy", Text),
        known("python", Text),
        known("python-version", Text),
        known("quiet", Text),
        known("require-hashes", Flag),
        known("requirement", List),
        known("retries", Text),
        aliased("timeout", &["default-timeout"], Text),
        known("trusted-host", List),
        known("uploaded-prior-to", Text),
        known("use-feature", List),
        known("verbose", Text),
        known("wheel-dir", Text),
    ]
};

/// Finds an option by its normalized name, or by an alias.
pub(super) fn find_option(name: &str) -> Option<&'static KnownOption> {
    const { &KNOWN_OPTIONS }
        .iter()
        .find(|option| option.name == name || option.aliases.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_normalized() {
        assert!(KNOWN_OPTIONS.is_sorted_by_key(|option| option.name));
        for option in &KNOWN_OPTIONS {
            assert_eq!(
                super::super::ini::normalize_option(option.name),
                option.name
            );
        }
    }

    #[test]
    fn resolves_aliases() {
        assert_eq!(find_option("pypi-url").unwrap().name, "index-url");
        assert!(find_option("index").is_none(), "beginnings do not count");
    }
}
