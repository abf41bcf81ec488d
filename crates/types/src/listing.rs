//! The statements of an index about a file.

use serde::{Deserialize, Serialize};

use crate::upload_time;

/// The statements of an index about a file that the file itself does not contain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listing {
    /// The reason for yanking (PEP 592), if the index has yanked the file; empty if it gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
    /// The upload time, in milliseconds since 1970-01-01 UTC.
    #[serde(
        default,
        rename = "upload-time",
        with = "upload_time",
        skip_serializing_if = "upload_time::is_absent"
    )]
    pub uploaded: Option<i64>,
    /// The URL of the attestations of the file (PEP 740).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
}
