//! The text of events, shared by the renderers for people.

use std::fmt::Write as _;

use wheelhouse_types::event::{Unknown, Wait};
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Event, Outcome, Phase};

use super::Verbosity;
use crate::cli::hints::HintStyle;
use crate::cli::{format, style};

/// Returns the line for an event, if it is shown at this verbosity.
pub(super) fn line(event: &Event, verbosity: Verbosity) -> Option<String> {
    let wanted = match event {
        Event::StepFailed { .. } => Verbosity::Silent,
        Event::Warning { .. } => Verbosity::Quiet,
        // A farm that has no place for a build may need help.
        Event::BuildWaiting {
            wait: Wait::Job | Wait::Requirements { .. },
            ..
        }
        | Event::Considering { .. }
        | Event::BuildHook { .. }
        | Event::BuildOutput { .. }
        | Event::FetchStarted { .. }
        | Event::FetchRetried { .. }
        | Event::PhaseFinished { .. } => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let said = if verbosity < wanted {
        None
    } else {
        words(event, verbosity)
    };
    said.map(|said| style::presentable(&mask(&said)))
}

fn words(event: &Event, verbosity: Verbosity) -> Option<String> {
    let line = match event {
        // A foreign target has no interpreter.
        Event::Target { label, python } if python.is_empty() => {
            format!("{} {label}", done("Target"))
        }
        Event::Target { label, python } => format!("{} {label} ({python})", done("Target")),
        Event::Inputs { from, unused } => inputs(from, unused),
        Event::VersionChanged { package, from, to } => match (from, to) {
            (Some(from), Some(to)) => format!("{} {package} {from} -> {to}", done("Changed")),
            (None, Some(to)) => format!("{} {package} {to}", done("Added")),
            (Some(from), None) => format!("{} {package} {from}", done("Removed")),
            (None, None) => return None,
        },
        Event::PhaseStarted {
            phase: Phase::Resolve,
        } => done("Resolving"),
        Event::PhaseFinished { phase, seconds } => {
            let phase = match phase {
                Phase::Resolve => "Resolving",
                Phase::Execute => "Fetching and building",
                Phase::Publish => "Publishing",
            };
            format!("{phase} took {}", format::seconds(*seconds))
        }
        Event::Considering { package } => format!("Considering {package}"),
        Event::Locked { packages, kept } => {
            let how = if *kept {
                "Kept the lock of"
            } else {
                "Resolved"
            };
            format!("{} {}", done(how), format::count(*packages, "package"))
        }
        Event::FetchStarted { filename, .. } => format!("Fetching {filename}"),
        Event::FetchRetried {
            filename,
            reason,
            delay_seconds,
        } => format!(
            "Retrying {filename} in {}: {reason}",
            format::seconds(*delay_seconds)
        ),
        Event::HostRetried {
            host,
            reason,
            delay_seconds,
        } => warning(
            &format!(
                "retrying {host} in {}: {reason}",
                format::seconds(*delay_seconds)
            ),
            None,
        ),
        Event::BuildStarted { .. }
        | Event::BuildPlaced { .. }
        | Event::BuildWaiting { .. }
        | Event::BuildHook { .. }
        | Event::BuildOutput { .. }
        | Event::BuildFinished { .. } => return of_build(event),
        Event::WheelCopied { .. } => return copied(event),
        Event::StepFinished {
            filename,
            bytes,
            outcome,
            ..
        } => match outcome {
            Outcome::Fetched => {
                format!("{} {filename} ({})", done("Fetched"), format::bytes(*bytes))
            }
            // The others have their own events, or none.
            Outcome::Built | Outcome::Copied | Outcome::Reused => return None,
        },
        Event::StepFailed { package, reason } => failed(package, reason),
        Event::Warning { message, hint } => warning(message, hint.as_deref()),
        Event::TargetFinished { .. } => return target(event),
        Event::Crates { directory, count } => crates(directory, *count),
        Event::Removed { directory, files } => removed(directory, files, verbosity),
        Event::Finished { .. } => return summary(event),
        Event::PhaseStarted { .. }
        | Event::FetchProgress { .. }
        | Event::FetchFinished { .. }
        | Event::FetchFailed { .. }
        | Event::BuildHookFinished { .. } => return None,
    };
    Some(line)
}

/// Describes the progress of a build.
fn of_build(event: &Event) -> Option<String> {
    Some(match event {
        Event::BuildStarted { package } => format!("{} {package}", done("Building")),
        Event::BuildPlaced { package, place, .. } => {
            format!("{} {package} on {place}", done("Running"))
        }
        Event::BuildHook { package, hook } => format!("{package}: {hook}"),
        Event::BuildWaiting { package, wait } => format!("{package} waits for {}", waits_for(wait)),
        Event::BuildOutput { package, line } => {
            let prefix = style::painted(style::QUIET, &format!("{package} |"));
            // Resets colors that a build backend leaves on.
            let end = if line.contains('\x1b') { "\x1b[0m" } else { "" };
            format!("{prefix} {line}{end}")
        }
        Event::BuildFinished { package, seconds } => {
            format!(
                "{} {package} in {}",
                done("Built"),
                format::seconds(*seconds)
            )
        }
        _ => return None,
    })
}

/// Describes the inputs of a run, and the files that are not used.
fn inputs(from: &[String], unused: &[String]) -> String {
    let from = if from.is_empty() {
        "the command line".to_owned()
    } else {
        from.join(", ")
    };
    let unused = match unused {
        [] => String::new(),
        unused => format!("; not used: {}", unused.join(", ")),
    };
    format!("{} {from}{unused}", done("From"))
}

/// Describes what a build waits for.
pub(super) fn waits_for(wait: &Wait) -> String {
    match wait {
        Wait::Job => "a free build slot".to_owned(),
        Wait::Farm { reason } => format!("the farm: {reason}"),
        Wait::Requirements { packages } if packages.is_empty() => {
            "its build requirements".to_owned()
        }
        Wait::Requirements { packages } => {
            format!("its build requirements ({})", packages.join(", "))
        }
    }
}

/// The number of removed files that are listed without `-v`.
const NAMED: usize = 5;

/// Describes the removed files of an earlier run.
pub(in crate::cli) fn removed(directory: &str, files: &[String], verbosity: Verbosity) -> String {
    let most = if verbosity >= Verbosity::Verbose {
        usize::MAX
    } else {
        NAMED
    };
    let named = files.iter().take(most).map(String::as_str);
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match files.len().saturating_sub(most) {
        0 => String::new(),
        more => format!(" and {more} more (use -v to list them)"),
    };
    let count = format::count(files.len(), "file");
    format!(
        "{} {count} of an earlier run from {directory}: {named}{more}",
        done("Removed")
    )
}

fn done(word: &str) -> String {
    style::painted(style::DONE, word)
}

fn failed(package: &str, reason: &str) -> String {
    let text = if reason.contains(package) {
        reason.to_owned()
    } else {
        format!("{package}: {reason}")
    };
    style::labeled(style::ERROR, "failed", &text)
}

fn warning(message: &str, hint: Option<&str>) -> String {
    let mut text = style::labeled(style::WARNING, "warning", message);
    if let Some(hint) = hint.and_then(|hint| HintStyle::current().hint(hint)) {
        let hint = style::labeled(style::HINT, "hint", &hint);
        let _ = write!(text, "\n{hint}");
    }
    text
}

/// Describes the result of a download for one target, including sdists that remain to be built.
fn target(event: &Event) -> Option<String> {
    let Event::TargetFinished {
        label,
        packages,
        host,
        to_build,
        unknown,
        ..
    } = event
    else {
        return None;
    };
    let packages = format::count(*packages, "package");
    let mut text = format!("{} {label}: {packages}", done("Complete"));
    if !to_build.is_empty() {
        let place = if *host { "" } else { " there" };
        let _ = write!(text, "; to be built{place}: {}", to_build.join(", "));
    }
    for Unknown { package, reason } in unknown {
        let message = format!("{package} may require more on {label}: {reason}");
        let _ = write!(text, "\n{}", warning(&message, None));
    }
    Some(text)
}

/// Describes a wheel that a shared cache had.
fn copied(event: &Event) -> Option<String> {
    let Event::WheelCopied {
        filename,
        bytes,
        location,
        ..
    } = event
    else {
        return None;
    };
    let size = format::bytes(*bytes);
    Some(format!(
        "{} {filename} ({size}) from {location}",
        done("Copied")
    ))
}

fn crates(directory: &str, count: usize) -> String {
    let crates = format::count(count, "crate");
    let variables = format!("CARGO_HOME={directory} CARGO_NET_OFFLINE=true");
    format!(
        "{} {crates}; pip and cargo use them with {variables}",
        done("Added")
    )
}

/// Returns the table at the end of a run.
fn summary(event: &Event) -> Option<String> {
    let Event::Finished {
        directory,
        fetched,
        built,
        reused,
        copied,
        sdists,
        bytes,
        bytes_fetched,
        seconds,
    } = event
    else {
        return None;
    };
    let mut table = String::new();
    for (label, number, size) in [
        ("fetched", fetched, Some(*bytes_fetched)),
        ("built", built, None),
        ("reused", reused, None),
        ("copied", copied, None),
    ] {
        if label == "copied" && *number == 0 {
            continue;
        }
        // Sizes of fetched files may include the sources of built wheels.
        let size = size.filter(|size| *size > 0);
        let size = size
            .map(|size| format!("   {}", format::bytes(size)))
            .unwrap_or_default();
        let noun = match (sdists, number) {
            (0, 1) => "wheel",
            (0, _) => "wheels",
            (_, 1) => "file",
            _ => "files",
        };
        let line = format!("{label:<8} {number:>5} {noun:<6}{size}");
        let _ = writeln!(table, "{}", line.trim_end());
    }
    let mut total = format::count(fetched + built + reused + copied - sdists, "wheel");
    if *sdists > 0 {
        let _ = write!(total, " and {}", format::count(*sdists, "sdist"));
    }
    let _ = write!(
        table,
        "{} {directory}: {total}, {}, in {}",
        done("Finished"),
        format::bytes(*bytes),
        format::seconds(*seconds)
    );
    Some(table)
}
