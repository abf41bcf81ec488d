//! The commands for shared caches: `cache ls`, `cache push`, `cache pull` and `cache prune LOCATION`.
//!
//! Unlike a build, which goes on without a location that fails, these commands end with its error.

mod contents;
mod list;
mod pull;
mod push;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use wheelhouse_engine::Host;
use wheelhouse_shared_cache::{
    ConnectOptions, Entry, EntryName, ExpiryPolicy, Location, connect, expired,
};
use wheelhouse_types::retry::RetryNotices;
use wheelhouse_types::{CacheLocation, Result};

use crate::cli::args::{
    CacheLsArgs, CachePruneArgs, CachePullArgs, CachePushArgs, GlobalOptions, RegistryOptions,
    SharedCacheArgs,
};
use crate::cli::commands::{keys, registry_access};
use crate::cli::process_env::ProcessEnv;
use crate::cli::render::Verbosity;
use crate::cli::render::upload_bar::Activity;
use crate::cli::{credentials, exit_code, format, output, signals, style};
use crate::pipeline::BuildMachine;
use contents::Contents;
use wheelhouse_config::Settings;

/// The schema of the documents.
const SCHEMA: &str = "wheelhouse-cache/1";

/// A shared cache, and what the commands need besides.
struct Session {
    process: ProcessEnv,
    settings: Settings,
    location: CacheLocation,
    registry: RegistryOptions,
    activity: Activity,
    json: bool,
    quiet: bool,
}

impl Session {
    fn of(arguments: &SharedCacheArgs, globals: &GlobalOptions) -> Result<Self> {
        Self::new(&arguments.location, &arguments.registry, globals)
    }

    fn new(
        location: &CacheLocation,
        registry: &RegistryOptions,
        globals: &GlobalOptions,
    ) -> Result<Self> {
        let process = ProcessEnv::read()?;
        let settings = process.settings(&globals.raw())?;
        let verbosity = Verbosity::new(globals.quiet.into(), globals.verbose.into());
        Ok(Self {
            activity: Activity::new(globals.shows_progress(), verbosity),
            location: location
                .clone()
                .with_credentials(credentials::find_in_netrc),
            registry: registry.clone(),
            json: globals.json,
            quiet: globals.quiet > 0,
            process,
            settings,
        })
    }

    async fn connect(&self, is_written: bool) -> Result<Arc<dyn Location>> {
        let (settings, process) = (&self.settings, &self.process);
        let notices = RetryNotices::default();
        let options = ConnectOptions {
            access: registry_access::access(&self.registry, settings, process, notices),
            variables: registry_access::bucket_variables(process),
        };
        self.activity
            .begin(&format!("Connecting to {}", self.location));
        connect(&self.location, &options, is_written).await
    }

    /// Returns the compilers of this machine, and the platform of its Python, which is looked up with the cache `root`.
    async fn machine(&self, root: &Path) -> Result<BuildMachine> {
        let python = self.process.locate_python(None);
        let host = Host::discover(None, python.as_deref(), &root.join("uv")).await?;
        let environment = self.process.environment.of_builds();
        Ok(BuildMachine::new(&host.target(), &environment).await)
    }

    /// Prints what was done, unless the output is a document or quiet.
    fn report(&self, verb: &str, text: &str) {
        self.activity.close();
        if !self.json && !self.quiet {
            output::status(&format!("{} {text}", style::painted(style::DONE, verb)));
        }
    }
}

/// Prints the contents of a shared cache, and returns the exit code.
pub(crate) fn list(arguments: &CacheLsArgs, globals: &GlobalOptions) -> Result<u8> {
    let session = Session::of(&arguments.shared_cache, globals)?;
    let key = keys::verifying_key(arguments.cache_verify_key.as_deref(), &session.process)?;
    signals::run(move || async move {
        let location = session.connect(false).await?;
        session
            .activity
            .begin(&format!("Reading {}", session.location));
        let contents = Contents::read(&*location, key.as_ref()).await?;
        session.activity.close();
        list::print(&contents, &session.location.to_string(), session.json);
        warn_unreadable(&contents, &session);
        if !session.json && !session.quiet {
            output::status(&list::summary(&contents));
        }
        Ok(exit_code::SUCCESS)
    })
}

/// Copies the built wheels of the cache at `root` to a shared cache, and returns the exit code.
pub(crate) fn push(
    arguments: &CachePushArgs,
    root: PathBuf,
    globals: &GlobalOptions,
) -> Result<u8> {
    let session = Session::of(&arguments.shared_cache, globals)?;
    let key = keys::signing_key(arguments.sign.as_deref(), &session.process)?;
    let fetched = arguments.fetched;
    signals::run(move || async move {
        push::run(&session, root, key, fetched).await?;
        Ok(exit_code::SUCCESS)
    })
}

/// Copies built wheels of a shared cache into the cache at `root`, and returns the exit code.
pub(crate) fn pull(
    arguments: &CachePullArgs,
    root: PathBuf,
    globals: &GlobalOptions,
) -> Result<u8> {
    let session = Session::of(&arguments.shared_cache, globals)?;
    let key = keys::verifying_key(arguments.cache_verify_key.as_deref(), &session.process)?;
    let keys = arguments.keys.clone();
    signals::run(move || async move {
        pull::run(&session, root, key, keys).await?;
        Ok(exit_code::SUCCESS)
    })
}

/// Removes old entries of a shared cache, and returns the exit code.
pub(crate) fn prune(
    location: &CacheLocation,
    arguments: &CachePruneArgs,
    globals: &GlobalOptions,
) -> Result<u8> {
    let session = Session::new(location, &arguments.registry, globals)?;
    let policy = ExpiryPolicy {
        older_than: arguments.older_than,
        max_bytes: arguments.max_size,
        unreferenced: arguments.unreferenced,
    };
    let dry_run = arguments.dry_run;
    signals::run(move || async move {
        let location = session.connect(!dry_run).await?;
        session
            .activity
            .begin(&format!("Reading {}", session.location));
        let contents = Contents::read(&*location, None).await?;
        warn_unreadable(&contents, &session);
        let removed = expired(
            &contents.entries,
            &contents.wheels(),
            &policy,
            SystemTime::now(),
        );
        if !dry_run {
            for entry in &removed {
                session.activity.begin(&format!("Removing {}", entry.name));
                location.remove(&entry.name).await?;
            }
        }
        print_removed(&session, &removed, dry_run);
        Ok(exit_code::SUCCESS)
    })
}

fn print_removed(session: &Session, removed: &[Entry], dry_run: bool) {
    let is_record = |entry: &&Entry| matches!(entry.name, EntryName::Record(_));
    let records = removed.iter().filter(is_record).count();
    let files = removed.len() - records;
    let bytes: u64 = removed.iter().map(|entry| entry.size).sum();
    session.activity.close();
    if session.json {
        let names: Vec<_> = removed.iter().map(|entry| entry.name.to_string()).collect();
        print_json(json!({
            "location": session.location.to_string(),
            "entries": names,
            "files": files,
            "records": records,
            "bytes": bytes,
            "dry_run": dry_run,
        }));
        return;
    }
    if dry_run {
        for entry in removed {
            output::data(&format!("{}\n", entry.name));
        }
    }
    let verb = if dry_run { "Would remove" } else { "Removed" };
    let text = format!(
        "{} and {}: {}",
        format::count(records, "record"),
        format::count(files, "file"),
        format::bytes(bytes)
    );
    session.report(verb, &text);
}

fn warn_unreadable(contents: &Contents, session: &Session) {
    if contents.unreadable.is_empty() || session.json {
        return;
    }
    let records = format::count(contents.unreadable.len(), "record");
    let text = format!("{} has {records} that cannot be read", session.location);
    session.activity.above(|| {
        output::status(&style::labeled(style::WARNING, "warning", &text));
    });
}

fn print_json(mut document: serde_json::Value) {
    document["schema"] = SCHEMA.into();
    output::data(&format!("{document:#}\n"));
}
