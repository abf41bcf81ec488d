//! The part of a machine that decides whether it can use what another one has built.

use std::collections::BTreeMap;

use wheelhouse_shared_cache::shared_key;
use wheelhouse_store::{BuildKey, BuildRecord};
use wheelhouse_types::Target;

use super::worker::compilers;

/// The platform and the compilers of this machine.
pub struct BuildMachine {
    platform: String,
    compilers: BTreeMap<String, String>,
}

impl BuildMachine {
    /// Describes the machine of the interpreter `target`, and asks the compilers that builds with `environment` find for their
    /// versions.
    pub async fn new(target: &Target, environment: &BTreeMap<String, String>) -> Self {
        Self {
            platform: target.platform.clone(),
            compilers: compilers::versions(environment).await,
        }
    }

    /// Returns the key at shared caches of `record`, whose key in the store is `key`. A record without compilers is of a build that
    /// any compiler leaves unchanged, so runs with those of this machine may look it up.
    #[must_use]
    pub fn shared_key(&self, key: &BuildKey, record: &BuildRecord) -> BuildKey {
        let recorded = record.run.as_ref().map(|run| &run.compilers);
        let compilers = recorded.filter(|compilers| !compilers.is_empty());
        shared_key(key, compilers.unwrap_or(&self.compilers))
    }

    /// Returns whether a run on this machine would build the same as `record`: on the same platform, and with the same compilers
    /// if it compiled something.
    #[must_use]
    pub fn can_use(&self, record: &BuildRecord) -> bool {
        record.run.as_ref().is_some_and(|run| {
            let compilers = &run.compilers;
            run.platform == self.platform && (compilers.is_empty() || *compilers == self.compilers)
        })
    }
}

#[cfg(test)]
mod tests {
    use wheelhouse_types::Sha256;
    use wheelhouse_types::provenance::BuildRun;

    use super::*;

    fn machine(platform: &str, compiler: &str) -> BuildMachine {
        BuildMachine {
            platform: platform.to_owned(),
            compilers: BTreeMap::from([("cc".to_owned(), compiler.to_owned())]),
        }
    }

    fn record(compilers: &BTreeMap<String, String>) -> BuildRecord {
        BuildRecord {
            key: None,
            filename: "example-1.0-py3-none-any.whl".to_owned(),
            sha256: Sha256::of(b""),
            size: 0,
            requirements: Vec::new(),
            python: "cpython 3.12.4".to_owned(),
            seconds: 1.0,
            glibc: None,
            inputs: None,
            run: Some(BuildRun {
                platform: "manylinux_2_36_x86_64".to_owned(),
                compilers: compilers.clone(),
                ..BuildRun::default()
            }),
        }
    }

    #[test]
    fn compiled_wheels_need_the_same_compilers() {
        let own = machine("manylinux_2_36_x86_64", "cc 12");
        let newer = machine("manylinux_2_36_x86_64", "cc 13");
        let elsewhere = machine("manylinux_2_36_aarch64", "cc 12");
        let (pure, compiled) = (record(&BTreeMap::new()), record(&own.compilers));
        assert!(own.can_use(&compiled) && own.can_use(&pure));
        assert!(!newer.can_use(&compiled) && newer.can_use(&pure));
        assert!(!elsewhere.can_use(&compiled) && !elsewhere.can_use(&pure));
        let key = BuildKey::new([("source", "a")]);
        assert_eq!(
            own.shared_key(&key, &compiled),
            newer.shared_key(&key, &compiled)
        );
        assert_ne!(own.shared_key(&key, &pure), newer.shared_key(&key, &pure));
    }
}
