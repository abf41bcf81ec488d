//! Facts about a candidate of uv's resolver, by its name and origin.

use uv_distribution::ArchiveMetadata;
use uv_distribution_types::{BuiltDist, Dist, IndexUrl, Name as _, SourceDist};

/// Returns whether `dist` is a wheel of an index whose name contradicts its `metadata`.
pub(super) fn is_inconsistent(dist: &Dist, metadata: &ArchiveMetadata) -> bool {
    let Dist::Built(BuiltDist::Registry(wheel)) = dist else {
        return false;
    };
    let (found, version) = (&metadata.metadata, &wheel.best_wheel().filename.version);
    let same_version =
        found.version == *version || found.version.clone().without_local() == *version;
    found.name != *dist.name() || !same_version
}

pub(super) fn file_name(dist: &Dist) -> String {
    match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => wheel.best_wheel().filename.to_string(),
        other => other.to_string(),
    }
}

/// Returns whether `dist` is on this machine. A distribution from a server may not require local files: it could run the
/// code of any source distribution on this machine.
pub(super) fn is_local(dist: &Dist) -> bool {
    match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => is_local_index(&wheel.best_wheel().index),
        Dist::Source(SourceDist::Registry(sdist)) => is_local_index(&sdist.index),
        Dist::Built(BuiltDist::Path(_))
        | Dist::Source(SourceDist::Path(_) | SourceDist::Directory(_)) => true,
        Dist::Source(SourceDist::GitDirectory(tree)) => tree.git.url().scheme() == "file",
        _ => false,
    }
}

fn is_local_index(index: &IndexUrl) -> bool {
    index.url().scheme() == "file"
}

/// Returns whether the file of `dist` is on `PyPI` or its test instance. As for pip, it may not require URLs.
pub(super) fn is_on_pypi(dist: &Dist) -> bool {
    let file = match dist {
        Dist::Built(BuiltDist::Registry(wheel)) => &wheel.best_wheel().file,
        Dist::Source(SourceDist::Registry(sdist)) => &sdist.file,
        _ => return false,
    };
    let host = file.url.to_url();
    host.is_ok_and(|url| {
        matches!(
            url.host_str(),
            Some("files.pythonhosted.org" | "test-files.pythonhosted.org")
        )
    })
}
