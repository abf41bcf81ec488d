//! The error of a failed resolution: uv's report, with the options of this program, the origins of the requirements, and what
//! was skipped on the indexes.

use uv_errors::Hint as _;
use uv_resolver::{NoSolutionError, ResolveError};
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::{Error, Kind};

use super::ResolveState;
use super::metadata_cache::MetadataCache;
use crate::error::explain;
use crate::error::resolver_report::{
    NOT_FOUND, available_versions, hint_for, insert_operators, lacks_files, lacks_version,
    rename_options, requirement_origins, versions_of_unknown_extra,
};

/// The maximum number of skipped files that are named.
const SKIPPED: usize = 8;

/// Converts `error`, of a resolution of `lines` and their dependencies as far as `metadata_cache` knows them.
pub(super) async fn explain_failure<'a>(
    error: ResolveError,
    lines: impl IntoIterator<Item = &'a Requirement>,
    metadata_cache: &MetadataCache,
    state: &ResolveState,
) -> Error {
    match &error {
        ResolveError::NoSolution(error) => no_solution(error, lines, state).await,
        ResolveError::UnhashedPackage(name) => {
            let by = metadata_cache
                .who_requires(name)
                .map_or_else(String::new, |requirer| format!(" by {requirer}"));
            let message = format!(
                "hashes are required of all, and `{name}`, which is needed{by}, is not pinned with one"
            );
            Error::new(Kind::Resolution, message).with_hint(
                "Add it with `==` and --hash; with --no-require-hashes only those that are given count.",
            )
        }
        // The variant hides the type of the error from the chain of sources.
        ResolveError::Client(client) => explain(client, FAILED),
        other => explain(other, FAILED),
    }
}

const FAILED: &str = "failed to resolve the requirements";

async fn no_solution<'a>(
    error: &NoSolutionError,
    lines: impl IntoIterator<Item = &'a Requirement>,
    state: &ResolveState,
) -> Error {
    let names: Vec<&str> = error.packages().map(AsRef::as_ref).collect();
    let mut report = state.requires_python.restore_message(&error.to_string());
    for name in &names {
        if let Some(phrase) = versions_of_unknown_extra(&report, name)
            && let Ok(package) = name.parse()
            && state.index.versions_of(&package).await.is_empty()
        {
            report = report.replace(phrase, &format!("{name} {NOT_FOUND}"));
        }
    }
    let mut details = vec![redacted(&insert_operators(&report, &names))];
    details.extend(requirement_origins(lines, &names));
    for name in names.iter().filter(|name| lacks_version(&report, name)) {
        if let Ok(package) = name.parse() {
            details.extend(available_versions(
                name,
                &state.index.versions_of(&package).await,
            ));
        }
    }
    if report.contains(NOT_FOUND) {
        match &state.index.urls()[..] {
            [] => {}
            [index] => details.push(format!("The queried index is {index}.")),
            indexes => details.push(format!("The queried indexes are {}.", indexes.join(", "))),
        }
    }
    if let Some(error) = state.index.check_quarantine(&names) {
        return error.with_detail(details.join("\n"));
    }
    if !state.clients.is_offline() {
        let lacking = names.iter().filter(|name| lacks_files(&report, name));
        for name in lacking.filter_map(|name| name.parse().ok()) {
            state.index.find_skipped(&name).await;
        }
    }
    let skipped = state.index.skipped().of_packages(&names);
    details.extend(skipped.iter().take(SKIPPED).cloned());
    let more = skipped.len().saturating_sub(SKIPPED);
    if more > 0 {
        details.push(format!("{more} more were skipped."));
    }
    let detail = details.join("\n");
    let hints: Vec<String> = error
        .hints()
        .into_iter()
        .map(|hint| {
            let hint = rename_options(hint.as_ref());
            state.requires_python.restore_message(&hint)
        })
        .collect();
    let hint = match &hints[..] {
        [] if !skipped.is_empty() => {
            "Publish the skipped files again, or allow other versions.".to_owned()
        }
        [] => hint_for(&detail).to_owned(),
        some => redacted(&some.join(" ")),
    };
    Error::new(
        Kind::Resolution,
        "no set of versions satisfies the requirements",
    )
    .with_detail(detail)
    .with_hint(hint)
}
