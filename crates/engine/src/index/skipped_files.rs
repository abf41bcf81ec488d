//! The files and responses of indexes that a run skips, and their causes for warnings and error messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use url::Url;
use uv_distribution_filename::DistFilename;
use uv_normalize::PackageName;
use wheelhouse_types::redact::redacted;

/// The files and responses of indexes that were skipped in a run.
#[derive(Clone, Default)]
pub(crate) struct SkippedFiles(Arc<Mutex<SkippedByPackage>>);

#[derive(Default)]
struct SkippedByPackage {
    /// The first response of each index that was not a page.
    answers: BTreeMap<String, String>,
    of_packages: BTreeMap<String, BTreeSet<String>>,
}

impl SkippedFiles {
    fn lock(&self) -> MutexGuard<'_, SkippedByPackage> {
        self.0.lock().expect("no panic while locked")
    }

    /// Records `sentence` for the error messages about `package`.
    fn add(&self, package: String, sentence: String) {
        let mut known = self.lock();
        known
            .of_packages
            .entry(package)
            .or_default()
            .insert(sentence);
    }

    /// Records that the page at `url` was not an index page.
    pub(super) fn not_a_page(&self, url: &Url, answer: &str) {
        let (index, package) = index_and_package(url);
        let sentence = format!("{index} is taken not to have {package}: it answered {answer}");
        self.add(package, sentence.clone());
        self.lock().answers.entry(index).or_insert(sentence);
    }

    /// Records that a file on the page at `url` cannot be used.
    pub(super) fn passed_over(&self, url: &Url, file: &str, why: &str) {
        let (index, mut package) = index_and_package(url);
        // A page of links may be of several packages.
        if let Some(filename) = DistFilename::try_from_normalized_filename(file) {
            package = filename.name().to_string();
        }
        let file = redacted(file);
        tracing::debug!(file, package, index, reason = why, "skipping a file");
        let sentence = format!("{file} on {index} was skipped: {why}");
        self.add(package, sentence);
    }

    /// Records that the metadata of `file` is not that of `package`.
    pub(crate) fn inconsistent(&self, package: &PackageName, file: &str, found: &str) {
        self.unusable(package, file, &format!("its metadata is that of {found}"));
    }

    /// Records that `file` of `package` is not used for this `reason`.
    pub(crate) fn unusable(&self, package: &PackageName, file: &str, reason: &str) {
        let sentence = format!("{file} was skipped: {reason}");
        self.add(package.to_string(), sentence);
    }

    /// Records that `package` was not built for its metadata.
    pub(crate) fn metadata_build(&self, package: &str) {
        let sentence = format!(
            "{package} is not compiled to learn what it requires: its PKG-INFO is believed"
        );
        self.lock().answers.insert(package.to_owned(), sentence);
    }

    /// Returns a sentence for each index that did not respond with an index page.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let known = self.lock();
        known.answers.values().cloned().collect()
    }

    /// Returns a sentence for each skipped file of the packages `names`.
    pub(crate) fn of_packages(&self, names: &[&str]) -> Vec<String> {
        let known = self.lock();
        let of_packages = names.iter().filter_map(|name| known.of_packages.get(*name));
        of_packages.flatten().cloned().collect()
    }
}

/// Returns the index with the page at `url`, and the package.
fn index_and_package(url: &Url) -> (String, String) {
    let mut index = url.clone();
    let package = url
        .path_segments()
        .and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    let package = package.unwrap_or_default().to_owned();
    if let Ok(mut segments) = index.path_segments_mut() {
        segments.pop_if_empty().pop().push("");
    }
    index.set_query(None);
    (redacted(index.as_str()), package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_index_and_package() {
        let url = "https://user:secret@host/simple/some-package/"
            .parse()
            .unwrap();
        assert_eq!(
            index_and_package(&url),
            (
                "https://****@host/simple/".to_owned(),
                "some-package".to_owned()
            )
        );
    }
}
