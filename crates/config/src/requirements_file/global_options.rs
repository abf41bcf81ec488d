//! The combined options of requirements files. The order in which they override each other is that of pip.

use std::path::Path;

use wheelhouse_types::names_image;

use super::line::{LineOption, ParsedLine, ParsedOption, is_always_on};
use super::warning::WarningKind;
use crate::file_source::{FileSource, ReadSource};
use crate::format_control::{FormatControl, ReleaseControl};
use wheelhouse_types::image_location::ImageLocation;

/// The combined options of the command line, the configuration and requirements files.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of pip, and named as such"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// The main index, unless it is the default (`--index-url`).
    pub index_url: Option<String>,
    /// Additional indexes (`--extra-index-url`).
    pub extra_index_urls: Vec<String>,
    /// True if indexes are disabled (`--no-index`); the fields above are empty then.
    pub no_index: bool,
    /// Paths and URLs of directories and pages with links to distributions (`--find-links`).
    pub find_links: Vec<String>,
    /// `--no-binary` and `--only-binary`.
    pub format_control: FormatControl,
    /// `--all-releases`, `--only-final` and `--pre`.
    pub release_control: ReleaseControl,
    /// True if older wheels are preferred to newer source distributions (`--prefer-binary`).
    pub prefer_binary: bool,
    /// Hosts, possibly with a port, whose certificates are not checked (`--trusted-host`).
    pub trusted_hosts: Vec<String>,
    /// True if every requirement must have a hash (`--require-hashes`).
    pub require_hashes: bool,
    /// True if hashes remain optional if one requirement has one (`--no-require-hashes`).
    pub no_require_hashes: bool,
    /// pip's features, except those that are always on (`--use-feature`).
    pub features: Vec<String>,
    /// A time or a duration as written (`--uploaded-prior-to`); it is not validated here.
    pub uploaded_prior_to: Option<String>,
}

impl FileOptions {
    /// Applies the options that name packages, which pip applies on any line.
    pub(super) fn apply_controls(&mut self, line: &ParsedLine) {
        for ParsedOption { option, value } in &line.options {
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

    /// Applies a line that only has options.
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

    /// Applies the first `--find-links`: a path relative to the file if it exists, otherwise unchanged.
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

/// Resolves a path, or that of an image, against `directory`; `None` if it does not exist.
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
