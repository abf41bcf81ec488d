//! The `cache` command: the path, contents, verification and cleanup of the cache.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use wheelhouse_types::{Error, Kind, Result};

use crate::cli::args::{CacheCommand, CachePruneArgs, GlobalOptions};
use crate::cli::commands::open_store::IMAGES;
use crate::cli::commands::shared_cache;
use crate::cli::process_env::ProcessEnv;
use crate::cli::{error_report, exit_code, format, output, style};
use wheelhouse_cargo::CrateCache;
use wheelhouse_config::RawOptions;
use wheelhouse_oci::find_links;
use wheelhouse_store::{
    GarbageCollector, PrunePolicy, Removal, Store, StoreUsage, StoreVerification,
};

const SCHEMA: &str = "wheelhouse-cache/1";

const DAY: Duration = Duration::from_hours(24);

/// The directory of uv's cache.
const ENGINE: &str = "uv";

/// All directories of the cache besides the store.
pub(crate) const BUCKETS: [&str; 7] = [
    ENGINE,
    IMAGES,
    CrateCache::NAME,
    "builds",
    "expected-v1",
    "logs",
    "trees",
];

/// Runs the command, and returns the exit code.
pub(crate) fn run(action: &CacheCommand, globals: &GlobalOptions) -> Result<u8> {
    let root = || root(globals);
    match action {
        CacheCommand::Ls(arguments) => return shared_cache::list(arguments, globals),
        CacheCommand::Push(arguments) => return shared_cache::push(arguments, root()?, globals),
        CacheCommand::Pull(arguments) => return shared_cache::pull(arguments, root()?, globals),
        CacheCommand::Dir if globals.json => print_json(json!({ "directory": root()? })),
        CacheCommand::Dir => output::data(&format!("{}\n", root()?.display())),
        CacheCommand::Info => print_info(&info(&root()?)?, globals.json),
        CacheCommand::Prune(arguments) => match &arguments.location {
            Some(location) => return shared_cache::prune(location, arguments, globals),
            None => print_result(&prune(&root()?, arguments)?, globals),
        },
        CacheCommand::Verify { dry_run } => return verify(&root()?, *dry_run, globals),
        CacheCommand::Clean => print_result(
            &upkeep(&root()?, |collector| collector.clean(&BUCKETS))?,
            globals,
        ),
    }
    Ok(exit_code::SUCCESS)
}

fn prune(root: &Path, arguments: &CachePruneArgs) -> Result<Removal> {
    let policy = PrunePolicy {
        unused_for: arguments.unused_for.map(|days| DAY * days),
        max_bytes: arguments.max_size,
    };
    upkeep(root, |collector| {
        let mut removed = collector.prune(policy)?;
        if let Some(unused_for) = policy.unused_for {
            let (files, bytes) = find_links::prune(&root.join(IMAGES), unused_for)?;
            removed.files += files;
            removed.bytes += bytes;
        }
        let crates = CrateCache::new(root);
        removed.bytes += crates.prune(|sha256| collector.has_entry(sha256))?;
        Ok(removed)
    })
}

/// Returns the cache that `build` would use with the same options.
fn root(globals: &GlobalOptions) -> Result<PathBuf> {
    let process = ProcessEnv::read()?;
    let raw = RawOptions {
        cache_dir: globals.cache_dir.clone(),
        no_cache: globals.no_cache,
        ..RawOptions::default()
    };
    process.settings(&raw)?.cache.ok_or_else(|| {
        Error::new(
            Kind::Input,
            "the cache is disabled, or the home directory is unknown",
        )
        .with_hint("Pass --cache-dir DIR, or run `wheelhouse config` to see which setting disables the cache.")
    })
}

/// Returns the contents of the cache, which are empty if it does not exist.
fn info(root: &Path) -> Result<StoreUsage> {
    if !root.exists() {
        return Ok(StoreUsage {
            root: root.to_owned(),
            ..StoreUsage::default()
        });
    }
    Store::open_read_only(root)?.usage()
}

fn upkeep(root: &Path, act: impl FnOnce(&GarbageCollector) -> Result<Removal>) -> Result<Removal> {
    if !root.exists() {
        return Ok(Removal::default());
    }
    act(&GarbageCollector::lock(root)?)
}

fn verify(root: &Path, dry_run: bool, globals: &GlobalOptions) -> Result<u8> {
    let verified = match () {
        () if !root.exists() => StoreVerification::default(),
        () if dry_run => Store::open_read_only(root)?.verify()?,
        () => Store::open(root)?.verify()?,
    };
    let StoreVerification {
        files,
        bytes,
        corrupt,
    } = &verified;
    let is_intact = corrupt.is_empty();
    let code = if is_intact {
        exit_code::SUCCESS
    } else {
        exit_code::VERIFICATION
    };
    if globals.json {
        print_json(json!({
            "directory": root,
            "files": files,
            "file_bytes": bytes,
            "corrupt": corrupt,
            "removed": !dry_run,
        }));
        return Ok(code);
    }
    for path in corrupt {
        output::data(&format!("{}\n", path.display()));
    }
    if is_intact {
        if globals.quiet == 0 {
            output::status(&format!(
                "{} {}, {}",
                style::painted(style::DONE, "Verified"),
                format::count(*files, "file"),
                format::bytes(*bytes)
            ));
        }
    } else {
        let found = format::count(corrupt.len(), "corrupt file");
        let message = format!("the cache `{}` has {found}", root.display());
        let message = if dry_run {
            message
        } else {
            format!("{message}, which were removed")
        };
        let error = Error::new(Kind::Verification, message).with_hint(
            "Verify the wheelhouses that were built from it, because they may share these files.",
        );
        error_report::report(&error, false);
    }
    Ok(code)
}

fn print_info(info: &StoreUsage, json: bool) {
    if json {
        print_json(json!({
            "directory": info.root,
            "files": info.files,
            "file_bytes": info.file_bytes,
            "built": info.built,
            "temporary_bytes": info.temporary_bytes,
            "others": info.others,
            "total_bytes": info.total_bytes(),
        }));
    } else {
        output::data(&as_lines(info));
    }
}

fn as_lines(info: &StoreUsage) -> String {
    let mut lines = format!("directory   {}\n", info.root.display());
    let mut line = |label: &str, text: String| {
        let _ = writeln!(lines, "{label:<12}{text}");
    };
    let files = format!(
        "{}, {}",
        format::bytes(info.file_bytes),
        format::count(info.files, "file")
    );
    line("files", files);
    line("built", format::count(info.built, "wheel"));
    line("unfinished", format::bytes(info.temporary_bytes));
    for (name, bytes) in &info.others {
        let name = if name == ENGINE { "indexes" } else { name };
        line(name, format::bytes(*bytes));
    }
    line("total", format::bytes(info.total_bytes()));
    lines
}

fn print_result(removed: &Removal, globals: &GlobalOptions) {
    let Removal {
        files,
        records,
        temporary,
        bytes,
    } = *removed;
    if globals.json {
        print_json(json!({
            "files": files,
            "records": records,
            "temporary": temporary,
            "bytes": bytes,
        }));
    } else if globals.quiet == 0 {
        let text = format!(
            "{} {}, {} of builds and {}: {}",
            style::painted(style::DONE, "Removed"),
            format::count(files, "file"),
            format::count(records, "record"),
            format::count(temporary, "unfinished file"),
            format::bytes(bytes)
        );
        output::status(&text);
    }
}

fn print_json(mut document: serde_json::Value) {
    document["schema"] = SCHEMA.into();
    output::data(&format!("{document:#}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_a_cache_holds_is_a_table() {
        let info = StoreUsage {
            root: "/cache".into(),
            files: 12,
            file_bytes: 80_000_000,
            built: 1,
            temporary_bytes: 0,
            others: BTreeMap::from([("uv".to_owned(), 1_500)]),
        };
        insta::assert_snapshot!(as_lines(&info), @"
        directory   /cache
        files       80.0 MB, 12 files
        built       1 wheel
        unfinished  0 B
        indexes     1.5 kB
        total       80.0 MB
        ");
    }
}
