//! The options that requirements files may also contain, with the values that apply before files are read.

use wheelhouse_types::{Error, Kind, Result};

use super::command_line::{FormatOption, RawOptions};
use super::origin::SettingsContext;
use super::resolver::SettingsResolver;
use crate::error::input;
use crate::format_control::{ControlValueError, ReleaseControl};
use crate::requirements_file::FileOptions;

impl SettingsResolver<'_> {
    /// Records the options that requirements files may also contain.
    pub(super) fn record_file_options(&mut self, raw: &RawOptions, options: &FileOptions) {
        self.record(
            "index-url",
            options.index_url.clone(),
            raw.index_url.is_some(),
        );
        let given = !raw.extra_index_urls.is_empty();
        self.record_list("extra-index-url", options.extra_index_urls.clone(), given);
        self.record("no-index", [options.no_index.to_string()], raw.no_index);
        self.record_list(
            "find-links",
            options.find_links.clone(),
            !raw.find_links.is_empty(),
        );
        let hosts = options.trusted_hosts.clone();
        self.record_list("trusted-host", hosts, !raw.trusted_hosts.is_empty());
        let (formats, releases) = (&options.format_control, &options.release_control);
        for (option, names) in [
            ("no-binary", formats.no_binary()),
            ("only-binary", formats.only_binary()),
            ("all-releases", releases.all_releases()),
            ("only-final", releases.only_final()),
        ] {
            let given = raw
                .controls
                .iter()
                .any(|control| control.option() == option);
            self.record_list(option, names.iter().cloned().collect(), given);
        }
        let pre = releases.all_releases().contains(":all:");
        self.record(
            "pre",
            [pre.to_string()],
            raw.controls.contains(&FormatOption::Pre),
        );
        for (option, value, given) in [
            ("prefer-binary", options.prefer_binary, raw.prefer_binary),
            ("require-hashes", options.require_hashes, raw.require_hashes),
            (
                "no-require-hashes",
                options.no_require_hashes,
                raw.no_require_hashes,
            ),
        ] {
            self.record(option, [value.to_string()], given);
        }
        let date = options.uploaded_prior_to.clone();
        self.record("uploaded-prior-to", date, raw.exclude_newer.is_some());
        self.record_list("use-feature", options.features.clone(), false);
    }
}

/// Returns the initial options for reading requirements files.
pub(super) fn file_options(raw: &RawOptions, context: &SettingsContext<'_>) -> Result<FileOptions> {
    let mut options = context.pip.file_options(context.reader).map_err(input)?;
    options.no_index |= raw.no_index;
    if options.no_index {
        options.index_url = None;
        options.extra_index_urls.clear();
    } else {
        options.index_url = raw.index_url.clone().or(options.index_url);
        options
            .extra_index_urls
            .extend_from_slice(&raw.extra_index_urls);
    }
    options.find_links.extend_from_slice(&raw.find_links);
    options.trusted_hosts.extend_from_slice(&raw.trusted_hosts);
    options.prefer_binary |= raw.prefer_binary;
    options.require_hashes |= raw.require_hashes;
    options.no_require_hashes |= raw.no_require_hashes;
    if raw.exclude_newer.is_some() {
        options.uploaded_prior_to.clone_from(&raw.exclude_newer);
    }
    apply_controls(raw, &mut options)?;
    Ok(options)
}

fn apply_controls(raw: &RawOptions, options: &mut FileOptions) -> Result<()> {
    let (formats, releases) = (&mut options.format_control, &mut options.release_control);
    let mut with_pre = false;
    for control in &raw.controls {
        let applied = match control {
            FormatOption::NoBinary(value) => formats.apply_no_binary(value),
            FormatOption::OnlyBinary(value) => formats.apply_only_binary(value),
            FormatOption::AllReleases(value) => releases.apply_all_releases(value),
            FormatOption::OnlyFinal(value) => releases.apply_only_final(value),
            FormatOption::Pre => {
                with_pre = true;
                Ok(())
            }
        };
        applied.map_err(|error: ControlValueError| {
            let message = format!("the value of --{} is invalid", control.option());
            Error::new(Kind::Input, message).caused_by(error)
        })?;
    }
    let pre_alone = {
        let mut alone = ReleaseControl::default();
        alone.apply_pre();
        alone
    };
    if with_pre && *releases != ReleaseControl::default() && *releases != pre_alone {
        let message = "--pre cannot be used with --all-releases or --only-final";
        return Err(Error::new(Kind::Input, message).with_hint("Remove one of them."));
    }
    if with_pre {
        releases.apply_pre();
    }
    Ok(())
}
