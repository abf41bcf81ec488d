//! Statements of index pages that uv drops: the status of a project (PEP 792), and the attestations of files (PEP 740).
//!
//! Pages outlive a run in uv's cache, so the records are kept beside them; a page that an older version cached has none.

use std::collections::{BTreeMap, HashMap};
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;
use uv_normalize::PackageName;
use wheelhouse_types::redact::without_credentials;
use wheelhouse_types::{ProjectStatus, StatusMarker};

/// The length of a URL of attestations or of a reason (bytes).
const LONGEST: usize = 2_000;

/// The statements of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageRecord {
    /// The status of the project, unless it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<ProjectStatus>,
    /// The URLs of attestations, by file name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    provenance: BTreeMap<String, String>,
}

impl PageRecord {
    /// Records the status `marker` of the project, unless it is active or not known.
    pub(crate) fn set_status(&mut self, marker: &str, reason: Option<&str>) {
        let Some(status) = StatusMarker::parse(marker) else {
            return;
        };
        let reason = reason.map(|reason| {
            let letters = reason.chars().filter(|one| !one.is_control());
            letters.take(LONGEST).collect()
        });
        let status = ProjectStatus { status, reason };
        self.status = (status.status != StatusMarker::Active).then_some(status);
    }

    /// Records the URL of the attestations of a file, if it is one that can be fetched.
    pub(crate) fn add_provenance(&mut self, page: &Url, filename: &str, href: &str) {
        let Some(url) = page.join(href).ok().filter(|_| href.len() <= LONGEST) else {
            return;
        };
        if matches!(url.scheme(), "https" | "http") {
            let url = without_credentials(&url).to_string();
            self.provenance.insert(filename.to_owned(), url);
        }
    }

    pub(crate) fn is_quarantined(&self) -> bool {
        let marker = self.status.as_ref().map(|status| status.status);
        marker == Some(StatusMarker::Quarantined)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The pages that were redirected in this run, by their targets.
#[derive(Clone, Default)]
pub(crate) struct PageRedirects(Arc<Mutex<HashMap<Url, Url>>>);

impl PageRedirects {
    /// Records that the page at `url` is at `target`.
    pub(crate) fn follow(&self, url: &Url, target: &Url) {
        let requested = self.requested(url);
        let mut redirects = self.0.lock().expect("no panic while locked");
        redirects.insert(key(target), requested);
    }

    /// Returns the URL of the page that was requested when `url` responds, without credentials and fragment. uv composes
    /// it, so it ends with the name of the package.
    pub(crate) fn requested(&self, url: &Url) -> Url {
        let redirects = self.0.lock().expect("no panic while locked");
        let page = key(url);
        redirects.get(&page).cloned().unwrap_or(page)
    }
}

/// The records of the pages seen so far, in this run and by the cache.
pub(crate) struct PageRecords {
    directory: PathBuf,
    known: Mutex<HashMap<Url, PageRecord>>,
    redirects: PageRedirects,
}

impl PageRecords {
    /// Stores records below `directory`.
    pub(crate) fn new(directory: PathBuf, redirects: PageRedirects) -> Self {
        Self {
            directory,
            known: Mutex::default(),
            redirects,
        }
    }

    /// Keeps the record of the page at `url`, in place of that of an earlier response.
    pub(crate) fn keep(&self, url: &Url, record: &PageRecord) {
        let page = self.redirects.requested(url);
        if let Err(error) = self.write(&page, record) {
            tracing::debug!(%error, page = %page, "failed to keep what a page says");
        }
        let mut known = self.known.lock().expect("no panic while locked");
        known.insert(page, record.clone());
    }

    fn write(&self, page: &Url, record: &PageRecord) -> std::io::Result<()> {
        let path = self.path(page);
        if record.is_empty() {
            return match fs_err::remove_file(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
        }
        fs_err::create_dir_all(&self.directory)?;
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.directory)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.persist(path)?;
        Ok(())
    }

    fn path(&self, page: &Url) -> PathBuf {
        self.directory
            .join(hex::encode(Sha256::digest(page.as_str())))
    }

    /// Calls `read` with the record of the page of `package` on `index`.
    fn read<T>(
        &self,
        index: &Url,
        package: &PackageName,
        read: impl FnOnce(&PageRecord) -> T,
    ) -> Option<T> {
        let page = page_url(index, package)?;
        let mut known = self.known.lock().expect("no panic while locked");
        let record = known.entry(page).or_insert_with_key(|page| {
            let bytes = fs_err::read(self.path(page)).ok();
            let record = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            record.unwrap_or_default()
        });
        Some(read(record))
    }

    /// Returns the status of `package` on `index`, unless it is active.
    pub(crate) fn status(&self, index: &Url, package: &PackageName) -> Option<ProjectStatus> {
        self.read(index, package, |record| record.status.clone())?
    }

    /// Returns the URL of the attestations of the file `filename` of `package` on `index`.
    pub(crate) fn provenance(
        &self,
        index: &Url,
        package: &PackageName,
        filename: &str,
    ) -> Option<String> {
        self.read(index, package, |record| {
            record.provenance.get(filename).cloned()
        })?
    }
}

/// Returns the URL of the page of `package` on `index`, as uv composes it.
fn page_url(index: &Url, package: &PackageName) -> Option<Url> {
    let mut url = key(index);
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .push(package.as_ref())
        .push("");
    Some(url)
}

/// Returns `url` without credentials and fragment.
fn key(url: &Url) -> Url {
    let mut url = without_credentials(url);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn record() -> PageRecord {
        let mut record = PageRecord::default();
        record.set_status("archived", Some("moved\u{1b}"));
        let page = url("https://host/simple/a/");
        record.add_provenance(&page, "a-1.whl", "https://u:p@host/a-1.provenance");
        record.add_provenance(&page, "b-1.whl", "file:///etc/passwd");
        record.add_provenance(
            &page,
            "c-1.whl",
            &format!("https://host/{}", "x".repeat(3_000)),
        );
        record
    }

    #[test]
    fn remembers_pages_across_runs() {
        let directory = tempfile::tempdir().unwrap();
        let records =
            || PageRecords::new(directory.path().join("records"), PageRedirects::default());
        let (index, package) = (url("https://me:secret@host/simple"), "a".parse().unwrap());
        let first = records();
        first.keep(&url("https://me:secret@host/simple/a/"), &record());
        for records in [first, records()] {
            let status = records.status(&index, &package).unwrap();
            assert_eq!(status.status, StatusMarker::Archived);
            assert_eq!(status.reason.as_deref(), Some("moved"));
            let provenance = |filename| records.provenance(&index, &package, filename);
            let expected = "https://host/a-1.provenance";
            assert_eq!(provenance("a-1.whl").as_deref(), Some(expected));
            assert_eq!((provenance("b-1.whl"), provenance("c-1.whl")), (None, None));
            assert_eq!(records.status(&index, &"b".parse().unwrap()), None);
        }
        let later = records();
        let mut active = PageRecord::default();
        active.set_status("active", None);
        active.set_status("unheard-of", None);
        later.keep(&url("https://host/simple/a/"), &active);
        assert_eq!(records().status(&index, &package), None);
    }

    #[test]
    fn follows_redirects_of_pages() {
        let directory = tempfile::tempdir().unwrap();
        let redirects = PageRedirects::default();
        let records = PageRecords::new(directory.path().to_owned(), redirects.clone());
        let (first, last) = (url("https://host/simple/a/"), url("https://cdn/x"));
        redirects.follow(&first, &url("https://other/a/"));
        redirects.follow(&url("https://other/a/"), &last);
        assert_eq!(redirects.requested(&last), first);
        let mut quarantined = PageRecord::default();
        quarantined.set_status("quarantined", None);
        assert!(quarantined.is_quarantined());
        records.keep(&last, &quarantined);
        let status = records.status(&url("https://host/simple/"), &"a".parse().unwrap());
        assert_eq!(status.unwrap().status, StatusMarker::Quarantined);
    }
}
