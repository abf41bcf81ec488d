//! The policy for the lock of an earlier run: keep it, prefer its versions, or upgrade them.

use std::collections::BTreeSet;

use wheelhouse_types::{Event, Lock, Observer, PackageName, Version};

/// Decides which versions of the lock of an earlier run are used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockPolicy {
    /// Keeps a lock that was made for the same request, and prefers the versions of another one.
    Prefer,
    /// Prefers the versions of the lock, except those of these packages.
    UpgradeOnly(Vec<PackageName>),
    /// Ignores the lock.
    Upgrade,
    /// Requires a lock that was made for the same request; no index is asked.
    Frozen,
}

impl LockPolicy {
    /// Returns whether a lock with the digest `locked` is kept for a request with the digest `requested`.
    pub(super) fn accepts(&self, locked: &str, requested: &str) -> bool {
        locked == requested && matches!(self, Self::Prefer | Self::Frozen)
    }

    /// Returns whether cached index pages are revalidated.
    pub(super) fn needs_refresh(&self) -> bool {
        matches!(self, Self::Upgrade | Self::UpgradeOnly(_))
    }

    /// Warns of packages that are named for an upgrade but are not part of any of `locks`.
    pub(super) fn warn_unknown_upgrades<'a>(
        &self,
        locks: impl IntoIterator<Item = &'a Lock>,
        observer: &dyn Observer,
    ) {
        let Self::UpgradeOnly(names) = self else {
            return;
        };
        let packages = locks.into_iter().flat_map(|lock| &lock.packages);
        let known: BTreeSet<_> = packages.map(|package| &package.name).collect();
        for name in names.iter().filter(|name| !known.contains(name)) {
            let message = format!("`{name}` is named for an upgrade, but is not required");
            observer.observe(&Event::warning(message));
        }
    }

    /// Returns those of the locked versions that a resolution prefers.
    pub(super) fn preferences(
        &self,
        versions: Vec<(PackageName, Version)>,
    ) -> Vec<(PackageName, Version)> {
        let is_preferred = |name: &PackageName| match self {
            Self::Upgrade => false,
            Self::UpgradeOnly(names) => !names.contains(name),
            Self::Prefer | Self::Frozen => true,
        };
        let mut versions = versions;
        versions.retain(|(name, _)| is_preferred(name));
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade_only(name: &str) -> LockPolicy {
        LockPolicy::UpgradeOnly(vec![name.parse().unwrap()])
    }

    #[test]
    fn keeps_lock_of_same_request_unless_it_is_upgraded() {
        for (policy, is_kept) in [
            (LockPolicy::Prefer, true),
            (LockPolicy::Frozen, true),
            (LockPolicy::Upgrade, false),
            (upgrade_only("alpha"), false),
        ] {
            assert_eq!(policy.accepts("one", "one"), is_kept, "{policy:?}");
            assert!(!policy.accepts("one", "other"), "{policy:?}");
            assert_eq!(policy.needs_refresh(), !is_kept, "{policy:?}");
        }
    }

    #[test]
    fn prefers_locked_versions_of_packages_that_are_not_upgraded() {
        let versions = ["alpha", "beta"].map(|name| (name.parse().unwrap(), "1".parse().unwrap()));
        let preferred = |policy: &LockPolicy| -> Vec<String> {
            let versions = policy.preferences(versions.to_vec()).into_iter();
            versions.map(|(name, _)| name.to_string()).collect()
        };
        assert_eq!(preferred(&LockPolicy::Prefer), ["alpha", "beta"]);
        assert_eq!(preferred(&upgrade_only("alpha")), ["beta"]);
        assert!(preferred(&LockPolicy::Upgrade).is_empty());
    }
}
