//! What the options of requirements files add up to.
//!
//! Responsible for the order in which options override one another, which is pip's. Never reads a
//! file, and asks only whether a path exists.

use std::path::Path;

use wheelhouse_types::names_image;

use super::line::{GivenOption, LineOption, ParsedLine, is_always_on};
use super::warning::WarningKind;
use crate::file_source::{FileSource, ReadSource};
use crate::format_control::{FormatControl, ReleaseControl};
use wheelhouse_types::image_location::ImageLocation;

/// Holds what the options of command line, configuration and requirements files add up to.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of pip, and named as such"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// The index, unless it is the default one (`--index-url`).
    pub index_url: Option<String>,
    /// Further indexes (`--extra-index-url`).
    pub extra_index_urls: Vec<String>,
    /// Whether there is no index at all (`--no-index`); then the two above are empty.
    pub no_index: bool,
    /// Paths and URLs of directories and pages that link to distributions (`--find-links`).
    pub find_links: Vec<String>,
    /// `--no-binary` and `--only-binary`.
    pub format_control: FormatControl,
    /// `--all-releases`, `--only-final` and `--pre`.
    pub release_control: ReleaseControl,
    /// Whether an older wheel is better than a newer source distribution (`--prefer-binary`).
    pub prefer_binary: bool,
    /// Hosts, perhaps with a port, whose certificates do not matter (`--trusted-host`).
    pub trusted_hosts: Vec<String>,
    /// Whether each requirement must have a hash (`--require-hashes`).
    pub require_hashes: bool,
    /// Whether a hash must not make hashes required of all (`--no-require-hashes`).
    pub no_require_hashes: bool,
    /// pip's features, without those that are always on (`--use-feature`).
    pub features: Vec<String>,
    /// An instant or a duration as it is written (`--uploaded-prior-to`); not judged here.
    pub uploaded_prior_to: Option<String>,
}

impl FileOptions {
    /// Applies the controls of a line, which pip applies wherever they stand.
    pub(super) fn apply_controls(&mut self, line: &ParsedLine) {
        for GivenOption { option, value } in &line.options {
            let outcome = match option {
                LineOption::NoBinary => self.format_control.apply_no_binary(value),
                LineOption::OnlyBinary => self.format_control.apply_only_binary(value),
                LineOption::AllReleases => self.release_control.apply_all_releases(value),
                LineOption::OnlyFinal => self.release_control.apply_only_final(value),
                _ => Ok(()),
            };
            debug_assert!(outcome.is_ok(), "parsing lets no other value through");
        }
    }

    /// Applies a line that has options alone.
    pub(super) fn apply_line(
        &mut self,
        line: &ParsedLine,
        file: &FileSource,
        reader: &dyn ReadSource,
    ) -> Vec<WarningKind> {
        let mut notices = self.apply_indexes(line);
        self.apply_find_links(line, file, reader, &mut notices);
        self.apply_flags(line);
        let hosts = line.values(LineOption::TrustedHost).map(str::to_owned);
        self.trusted_hosts.extend(hosts);
        self.apply_features(line, &mut notices);
        if let Some(instant) = line.values(LineOption::UploadedPriorTo).next_back() {
            self.uploaded_prior_to = Some(instant.to_owned());
        }
        for option in [LineOption::Hash, LineOption::ConfigSettings] {
            if line.has(option) {
                notices.push(WarningKind::WithoutRequirement(option.name()));
            }
        }
        notices
    }

    fn apply_indexes(&mut self, line: &ParsedLine) -> Vec<WarningKind> {
        if line.has(LineOption::NoIndex) {
            self.no_index = true;
            self.index_url = None;
            self.extra_index_urls.clear();
        }
        if self.no_index {
            return [LineOption::IndexUrl, LineOption::ExtraIndexUrl]
                .into_iter()
                .filter(|option| line.has(*option))
                .map(|option| WarningKind::NoIndex(option.name()))
                .collect();
        }
        let mut notices = Vec::new();
        let index_url = line.values(LineOption::IndexUrl).next_back();
        if let Some(url) = index_url.filter(|url| !url.is_empty()) {
            self.index_url = Some(url.to_owned());
            if !self.extra_index_urls.is_empty() {
                self.extra_index_urls.clear();
                notices.push(WarningKind::ExtraIndexesDropped);
            }
        }
        let extra = line.values(LineOption::ExtraIndexUrl).map(str::to_owned);
        self.extra_index_urls.extend(extra);
        notices
    }

    /// Takes the first `--find-links`: a path relative to the file if it exists, else as it is.
    fn apply_find_links(
        &mut self,
        line: &ParsedLine,
        file: &FileSource,
        reader: &dyn ReadSource,
        notices: &mut Vec<WarningKind>,
    ) {
        let mut values = line.values(LineOption::FindLinks);
        let Some(value) = values.next() else { return };
        if values.next().is_some() {
            notices.push(WarningKind::OnlyFirst(LineOption::FindLinks.name()));
        }
        let beside_file = file
            .directory()
            .and_then(|directory| beside(value, directory, reader));
        self.find_links
            .push(beside_file.unwrap_or_else(|| value.to_owned()));
    }

    fn apply_flags(&mut self, line: &ParsedLine) {
        self.prefer_binary |= line.has(LineOption::PreferBinary);
        self.require_hashes |= line.has(LineOption::RequireHashes);
        self.no_require_hashes |= line.has(LineOption::NoRequireHashes);
        if line.has(LineOption::Pre) {
            self.release_control.apply_pre();
        }
    }

    fn apply_features(&mut self, line: &ParsedLine, notices: &mut Vec<WarningKind>) {
        for feature in line.values(LineOption::UseFeature) {
            if is_always_on(feature) {
                notices.push(WarningKind::AlwaysOn(feature.to_owned()));
            } else if !self.features.iter().any(|known| known == feature) {
                self.features.push(feature.to_owned());
            }
        }
    }
}

/// What `value` names in `directory`, if it is there: a path, or an image in one.
fn beside(value: &str, directory: &Path, reader: &dyn ReadSource) -> Option<String> {
    if !names_image(value) {
        let path = Some(directory.join(value)).filter(|path| reader.exists(path))?;
        return path.to_str().map(str::to_owned);
    }
    let image: ImageLocation = value.parse().ok()?;
    let image = image.below(directory);
    let is_there = image.path().is_some_and(|path| reader.exists(path));
    is_there.then(|| image.to_string())
}
