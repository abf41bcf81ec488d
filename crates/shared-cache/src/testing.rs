//! Options, keys and records that the unit tests of this crate share.

use std::collections::BTreeMap;
use std::time::Duration;

use wheelhouse_oci::registry::{Access, Credentials};
use wheelhouse_store::BuildRecord;
use wheelhouse_types::Sha256;
use wheelhouse_types::retry::RetryNotices;

use crate::location::ConnectOptions;

pub(crate) const SIGNING_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAYcL2ysTIE8haTdBDo749HGXjw60P6aoiO7EMZ4jYyD
-----END PRIVATE KEY-----
";

pub(crate) const OTHER_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEAMo6QREd638Doh6
gWUMXCZduPk/FTg/j9netBEvFkOhRANCAASBkHImlHRq8C3lD6/NhJ3wX/2Q/SvX
9Nk7Vd6JJLGxV/9nakDaIEAVd4KqY193hdhDTI3txrFXXUmWeZWZg40C
-----END PRIVATE KEY-----
";

/// Returns the record of a build that produced the bytes `wheel`.
pub(crate) fn record(wheel: &[u8]) -> BuildRecord {
    BuildRecord {
        key: None,
        filename: "example-1.0-py3-none-any.whl".to_owned(),
        sha256: Sha256::of(wheel),
        size: wheel.len() as u64,
        requirements: Vec::new(),
        python: "cpython 3.11.7".to_owned(),
        seconds: 1.0,
        glibc: None,
        inputs: None,
        run: None,
    }
}

/// Returns options with a short time-out.
pub(crate) fn options() -> ConnectOptions {
    ConnectOptions {
        access: Access {
            credentials: Credentials::default(),
            certificates: None,
            insecure: false,
            timeout: Duration::from_secs(5),
            retries: 0,
            notices: RetryNotices::default(),
            proxy: None,
            offline: false,
        },
        variables: BTreeMap::new(),
    }
}
