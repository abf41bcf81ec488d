//! uv's errors, in our words and kinds.

pub(crate) mod hints;
pub(crate) mod resolver_report;

use std::collections::{BTreeSet, HashMap};
use std::error::Error as StdError;
use std::sync::{Arc, Mutex};

use uv_client::MetadataFormat;
use uv_errors::Hint as _;
use uv_resolver::ResolveError;
use wheelhouse_transport::Unreachable;
use wheelhouse_types::redact::redacted;
use wheelhouse_types::request::Requirement;
use wheelhouse_types::{Error, Kind, PackageName, Version};

use crate::dispatch::BuildError;
use crate::error::hints::remedy;
use crate::error::resolver_report::{
    NOT_FOUND, lacks_files, lacks_version, legible, listed, next_step, places, translated,
};
use crate::resolve::metadata_cache::MetadataCache;
use crate::state::EngineState;

/// The errors of back ends with their details and hints, which uv's own errors do not carry; they
/// wait here until uv reports that something failed.
#[derive(Clone, Default)]
pub(crate) struct Failures {
    waiting: Arc<Mutex<Vec<Error>>>,
    /// Servers that were not reached.
    unreachable: Arc<Mutex<Vec<Unreachable>>>,
    /// What failed to be built, by its label.
    builds: Arc<Mutex<HashMap<String, Error>>>,
}

impl Failures {
    /// Keeps `error` and gives what uv may have of it.
    pub(crate) fn keep(&self, error: Error) -> BuildError {
        let sentence = error.display_chain();
        self.waiting
            .lock()
            .expect("no panic while locked")
            .push(error);
        BuildError(sentence)
    }

    /// Keeps why a server was not reached.
    pub(crate) fn keep_unreachable(&self, unreachable: &Unreachable) {
        let mut kept = self.unreachable.lock().expect("no panic while locked");
        kept.push(unreachable.clone());
    }

    /// The error about the server that was not reached, if `text` speaks of it.
    fn unreachable(&self, text: &str) -> Option<Error> {
        let kept = self.unreachable.lock().expect("no panic while locked");
        let mut errors = kept.iter().map(Unreachable::error);
        errors.find(|error| text.contains(&error.display_chain()))
    }

    /// Returns `error` with `message` before it, or the error that was kept and that it speaks of.
    pub(crate) fn explained(&self, error: &(dyn StdError + 'static), message: &str) -> Error {
        let chain = chain(error);
        let known = self.take(&chain).or_else(|| self.unreachable(&chain));
        let known = known.or_else(|| of_git(&chain));
        known.unwrap_or_else(|| {
            Error::new(Kind::Fetch, redacted(message)).caused_by(redacted(&chain))
        })
    }

    /// Remembers that the wheel of `label` failed to be built.
    pub(crate) fn remember_build(&self, label: &str, error: &Error) {
        let mut builds = self.builds.lock().expect("no panic while locked");
        builds.insert(label.to_owned(), error.to_shared());
    }

    /// Why the wheel of `label` failed to be built before, if it did: it would again.
    pub(crate) fn earlier_build(&self, label: &str) -> Option<Error> {
        self.builds
            .lock()
            .expect("no panic while locked")
            .get(label)
            .map(Error::to_shared)
    }

    /// The error of the back end that `error` speaks of, which stays for others; else `error` itself.
    pub(crate) fn explanation(&self, error: &(dyn StdError + 'static)) -> Error {
        let chain = chain(error);
        let failures = self.waiting.lock().expect("no panic while locked");
        let speaks_of = |failure: &&Error| chain.contains(&failure.display_chain());
        let known = failures.iter().rfind(speaks_of).map(Error::to_shared);
        let known = known.or_else(|| self.unreachable(&chain));
        known.unwrap_or_else(|| Error::new(Kind::Fetch, redacted(&chain)))
    }

    /// Returns whether an error that was kept stands behind `error`.
    pub(crate) fn knows(&self, error: &(dyn StdError + 'static)) -> bool {
        let chain = chain(error);
        let failures = self.waiting.lock().expect("no panic while locked");
        let mut sentences = failures.iter().map(Error::display_chain);
        sentences.any(|sentence| chain.contains(&sentence))
    }

    /// The newest error that `text` speaks of.
    fn take(&self, text: &str) -> Option<Error> {
        let mut failures = self.waiting.lock().expect("no panic while locked");
        let position = failures
            .iter()
            .rposition(|failure| text.contains(&failure.display_chain()))?;
        Some(failures.swap_remove(position))
    }
}

impl EngineState {
    /// What stands behind a failed resolution of `lines` and what they lead to, as far as `memory` knows it.
    pub(crate) async fn resolve_error<'a>(
        &self,
        error: ResolveError,
        lines: impl IntoIterator<Item = &'a Requirement>,
        memory: &MetadataCache,
    ) -> Error {
        if let ResolveError::NoSolution(no_solution) = &error {
            let names: Vec<&str> = no_solution.packages().map(AsRef::as_ref).collect();
            let report = self
                .requires_python
                .restore_message(&no_solution.to_string());
            let mut detail = redacted(&legible(&report, &names));
            if let Some(places) = places(lines, &names) {
                detail = format!("{detail}\n{places}");
            }
            for line in self.context(&report, &names).await {
                detail = format!("{detail}\n{line}");
            }
            if !self.request.network.offline {
                let lacking = names.iter().filter(|name| lacks_files(&report, name));
                for name in lacking.filter_map(|name| name.parse().ok()) {
                    self.reader.look_for_oddities(&name).await;
                }
            }
            let passed_over = self.pages.oddities.of_packages(&names);
            for passed_over in passed_over.iter().take(PASSED_OVER) {
                detail = format!("{detail}\n{passed_over}");
            }
            let more = passed_over.len().saturating_sub(PASSED_OVER);
            if more > 0 {
                detail = format!("{detail}\n{more} more were passed over.");
            }
            let hints: Vec<String> = no_solution
                .hints()
                .into_iter()
                .map(|hint| {
                    self.requires_python
                        .restore_message(&translated(hint.as_ref()))
                })
                .collect();
            let hint = match &hints[..] {
                [] if !passed_over.is_empty() => {
                    "Have what was passed over published anew, or allow other versions.".to_owned()
                }
                [] => next_step(&detail).to_owned(),
                some => redacted(&some.join(" ")),
            };
            return Error::new(
                Kind::Resolution,
                "no set of versions satisfies the requirements",
            )
            .with_detail(detail)
            .with_hint(hint);
        }
        if let ResolveError::UnhashedPackage(name) = &error {
            let wanted_by = memory.who_requires(name);
            let by = wanted_by.map_or_else(String::new, |wanted_by| format!(" by {wanted_by}"));
            let message = format!(
                "hashes are required of all, and `{name}`, which is needed{by}, is not pinned with one"
            );
            return Error::new(Kind::Resolution, message).with_hint(
                "Add it with `==` and --hash; with --no-require-hashes only those that are given count.",
            );
        }
        self.explained(error, "failed to resolve the requirements")
    }

    /// What helps to understand a `report` about the packages `names`: the versions that there are of those of which it
    /// does not find one, and the indexes that were asked for those that it does not find.
    async fn context(&self, report: &str, names: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for name in names.iter().filter(|name| lacks_version(report, name)) {
            let Ok(package) = name.parse() else { continue };
            lines.extend(listed(name, &self.versions_of(&package).await));
        }
        if report.contains(NOT_FOUND) {
            let indexes = self.locations.indexes();
            let indexes = indexes.map(|index| redacted(index.url().url().as_str()));
            let indexes: Vec<String> = indexes.collect();
            match &indexes[..] {
                [] => {}
                [index] => lines.push(format!("The index asked is {index}.")),
                indexes => lines.push(format!("The indexes asked are {}.", indexes.join(", "))),
            }
        }
        lines
    }

    /// The versions that the indexes and `--find-links` places have of `name`.
    async fn versions_of(&self, name: &PackageName) -> BTreeSet<Version> {
        let slots = &self.concurrency.downloads_semaphore;
        let pages = self
            .cached_client
            .simple_detail(name, None, &self.capabilities, slots);
        let pages = pages.await.unwrap_or_default();
        let mut versions = BTreeSet::new();
        for (_, page) in &pages {
            if let MetadataFormat::Simple(page) = page {
                let of_page = page.iter().map(|datum| &datum.version);
                let of_page = of_page.map(rkyv::deserialize::<Version, rkyv::rancor::Error>);
                versions.extend(of_page.filter_map(Result::ok));
            }
        }
        let (entries, _) = self.flat_entries.clone().into_parts();
        let names = entries.into_iter().map(|entry| entry.into_parts().0);
        let of_name = names.filter(|filename| filename.name() == name);
        versions.extend(of_name.map(|filename| filename.version().clone()));
        versions
    }

    /// `error` with `message` before it; when a back end failed, its own error.
    pub(crate) fn explained(
        &self,
        error: impl StdError + Send + Sync + 'static,
        message: &str,
    ) -> Error {
        self.failures.explained(&error, message)
    }
}

/// The largest number of files that were passed over and are named.
const PASSED_OVER: usize = 8;

/// The words of uv before the output of a process that failed.
const OUTPUT: &str = "--- stderr\n";

/// The error of Git that `chain` tells of, without where uv keeps clones and the command line.
fn of_git(chain: &str) -> Option<Error> {
    let (command, output) = chain.split_once(OUTPUT)?;
    let (_, command) = command.split_once("Git operation failed")?;
    let said = |start: &str| {
        output
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(start))
    };
    let reason = said("fatal: ").or_else(|| said("error: "))?;
    let url = command
        .split_whitespace()
        .map(|word| word.trim_matches('\''))
        .find(|word| word.contains("://"));
    let url = url.unwrap_or("a repository");
    // Git names the URL again.
    let cause = reason.rsplit_once("': ").map_or(reason, |(_, cause)| cause);
    let message = format!("failed to fetch {}: Git says: {cause}", redacted(url));
    let mut error = Error::new(Kind::Fetch, message);
    if output.trim_end().lines().count() > 1 {
        error = error.with_detail(redacted(output.trim_end()));
    }
    Some(match remedy(cause) {
        Some(remedy) => error.with_hint(remedy),
        None => error,
    })
}

/// The messages of `error` and its causes, each said once.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_told_without_the_cache_and_the_command_line() {
        let chain = "Failed to download and build `a @ git+https://me:secret@host/a.git`: Git operation failed: \
            failed to clone into: cache/git-v0/db/0: process didn't exit successfully: `git fetch \
            'https://me:secret@host/a.git' '+HEAD:refs/remotes/origin/HEAD'` (exit status: 128)\n--- stderr\n\
            fatal: unable to access 'https://host/a.git/': Could not resolve host: host\n";
        let error = of_git(chain).unwrap();
        assert_eq!(
            error.display_chain(),
            "failed to fetch https://****@host/a.git: Git says: Could not resolve host: host"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("--proxy")));
        assert!(of_git("Failed to fetch: `https://host/`").is_none());
    }
}
