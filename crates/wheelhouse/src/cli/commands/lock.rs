//! The `lock` command: resolves, and writes locks that have changed.

use clap::ArgMatches;
use serde_json::json;
use wheelhouse_types::{Error, Kind, Result, Target};

use crate::cli::args::{GlobalOptions, LockArgs};
use crate::cli::commands::session::CommandContext;
use crate::cli::output;
use crate::pipeline::TargetSelection;
use crate::pipeline::lock::{self, LockChange, LockJob, LockResult};
use wheelhouse_oci::find_links::ArchitectureSelection;
use wheelhouse_publish::write_file;

const SCHEMA: &str = "wheelhouse-lock/1";

/// Runs the command.
pub(crate) fn run(lock: LockArgs, globals: &GlobalOptions, matches: &ArgMatches) -> Result<()> {
    let raw = lock.raw(globals, matches);
    let context = CommandContext::new(raw, lock.inputs.source.clone(), globals, true)?;
    context.execute(move |context| Box::pin(execute(context, lock)))
}

async fn execute(context: CommandContext, arguments: LockArgs) -> Result<()> {
    let session = context.begin(ArchitectureSelection::All).await?;
    let (context, scope) = (&session.context, session.scope.clone());
    let job = LockJob {
        inputs: session.inputs(arguments.upgrades.lock_policy(), false),
        destination: arguments.place(&context.settings.output)?,
        targets: TargetSelection {
            targets: arguments.targets(&context.settings.project_targets)?,
            filter: Box::new(move |target| scope.check(target)),
        },
    };
    let locked = lock::lock(job, session.observer.clone()).await;
    session.shared.finish().await;
    let locked = locked?;
    context.renderer.close();
    if arguments.check {
        if context.json {
            output::data(&as_json(&locked, checked));
        } else if context.settings.quiet == 0 {
            locked.iter().for_each(print_differences);
        }
        return check(&locked);
    }
    for lock in locked.iter().filter(|lock| lock.change != LockChange::None) {
        write_file(&lock.path, lock.text.as_bytes(), 0o666)?;
    }
    if context.json {
        output::data(&as_json(&locked, said));
    } else if context.settings.quiet == 0 {
        let shown = |lock: &LockResult| {
            let directory = &context.process.directory;
            let path = lock.path.strip_prefix(directory).unwrap_or(&lock.path);
            format!("{} {}", said(lock.change), path.display())
        };
        for lock in &locked {
            output::status(&shown(lock));
            print_differences(lock);
        }
    }
    Ok(())
}

fn said(change: LockChange) -> &'static str {
    match change {
        LockChange::New => "wrote",
        LockChange::Changed => "updated",
        LockChange::None => "kept",
    }
}

/// Returns the word for a change that [`check`] finds but does not write.
fn checked(change: LockChange) -> &'static str {
    match change {
        LockChange::New => "missing",
        LockChange::Changed => "outdated",
        LockChange::None => "current",
    }
}

fn print_differences(lock: &LockResult) {
    for change in &lock.versions {
        let name = &change.name;
        output::status(&match (&change.from, &change.to) {
            (Some(from), Some(to)) => format!("  changed {name} {from} -> {to}"),
            (None, Some(to)) => format!("  added {name} {to}"),
            (Some(from), None) => format!("  removed {name} {from}"),
            (None, None) => continue,
        });
    }
    for difference in &lock.differences {
        output::status(&format!("  {difference}"));
    }
}

fn check(locked: &[LockResult]) -> Result<()> {
    match locked.iter().find(|lock| lock.change != LockChange::None) {
        None => Ok(()),
        Some(lock) => {
            let wrong = if lock.change == LockChange::New {
                "is missing"
            } else {
                "is out of date"
            };
            let message = format!("{} {wrong}", lock.path.display());
            Err(Error::new(Kind::Resolution, message).with_hint("Run without --check to write it."))
        }
    }
}

fn as_json(locked: &[LockResult], said: fn(LockChange) -> &'static str) -> String {
    let locks = locked.iter().map(|lock| {
        let versions = lock.versions.iter();
        let versions = versions
            .map(|change| json!({ "package": change.name, "from": change.from, "to": change.to }));
        json!({
            "file": lock.path,
            "change": said(lock.change),
            "versions": versions.collect::<Vec<_>>(),
            "differences": lock.differences,
            "targets": lock.targets.iter().map(Target::name).collect::<Vec<_>>(),
        })
    });
    let document = json!({ "schema": SCHEMA, "locks": locks.collect::<Vec<_>>() });
    format!("{document:#}\n")
}
