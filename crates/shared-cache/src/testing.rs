//! What the unit tests of this crate share.

use std::collections::BTreeMap;
use std::time::Duration;

use wheelhouse_oci::registry::{Access, Credentials};
use wheelhouse_types::retry::RetryNotices;

use crate::connect::ConnectOptions;

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
