//! The output of `wheelhouse worker --json`: events, and the error at its end.
//!
//! The lines are those that `docs/reference/events.md` describes. Lines of other programs are ignored: a pod's log may have
//! messages of its shell or of its container runtime.

use std::collections::VecDeque;

use serde::Deserialize;
use wheelhouse_types::{Error, Event, Kind, Observer};

/// The number of lines of a build's output that are kept.
const LINES: usize = 1000;

/// The start of the line in an error's detail that names a file of the worker's machine.
const LOG: &str = "the whole log: ";

/// Reads the output of a worker, line by line.
#[derive(Debug, Default)]
pub struct WorkerOutput {
    /// The end of the output of the build.
    lines: VecDeque<String>,
    error: Option<ErrorLine>,
}

/// The lines that are used, by the value of `event`.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    BuildHook {
        package: String,
        hook: String,
    },
    BuildHookFinished {
        package: String,
        hook: String,
        seconds: f64,
    },
    BuildOutput {
        package: String,
        line: String,
    },
    Warning {
        message: String,
        #[serde(default)]
        hint: Option<String>,
    },
    Error(ErrorLine),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct ErrorLine {
    kind: String,
    message: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    hint: Option<String>,
}

impl WorkerOutput {
    /// Reads one line, and passes the event in it to `observer`. A wheel of a step has no build requirements to build, so that
    /// all events are about the step.
    pub fn read(&mut self, line: &str, observer: &dyn Observer) {
        let Ok(line) = serde_json::from_str::<Line>(line.trim_end()) else {
            return;
        };
        let event = match line {
            Line::BuildHook { package, hook } => Event::BuildHook { package, hook },
            Line::BuildHookFinished {
                package,
                hook,
                seconds,
            } => Event::BuildHookFinished {
                package,
                hook,
                seconds,
            },
            Line::BuildOutput { package, line } => {
                if self.lines.len() == LINES {
                    self.lines.pop_front();
                }
                self.lines.push_back(line.clone());
                if !observer.wants_output() {
                    return;
                }
                Event::BuildOutput { package, line }
            }
            Line::Warning { message, hint } => Event::Warning { message, hint },
            Line::Error(error) => {
                self.error = Some(error);
                return;
            }
            Line::Other => return,
        };
        observer.observe(&event);
    }

    /// Returns the error that the worker reported, as a build here would have reported it; `None` if it reported none.
    #[must_use]
    pub fn into_error(self) -> Option<Error> {
        let reported = self.error?;
        let mut error = Error::new(kind(&reported.kind), reported.message);
        if let Some(detail) = reported.detail {
            let lines = detail.lines().filter(|line| !line.starts_with(LOG));
            error = error.with_detail(lines.collect::<Vec<_>>().join("\n"));
        }
        if let Some(hint) = reported.hint {
            error = error.with_hint(hint);
        }
        if !self.lines.is_empty() {
            let lines: Vec<String> = self.lines.into();
            error = error.with_log(lines.join("\n"));
        }
        Some(error)
    }
}

/// Returns the kind with this name in JSON. That of a newer version is a failed build.
fn kind(name: &str) -> Kind {
    match name {
        "input" => Kind::Input,
        "resolution" => Kind::Resolution,
        "fetch" => Kind::Fetch,
        "publish" => Kind::Publish,
        "interrupted" => Kind::Interrupted,
        _ => Kind::Build,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn error_of_worker_is_the_error_of_the_build() {
        let recorder = Recorder::default();
        let mut output = WorkerOutput::default();
        for line in [
            r#"{"event":"build-hook","package":"a==1","hook":"build_wheel","schema":"wheelhouse-event/1"}"#,
            r#"{"event":"build-output","package":"a==1","line":"compiling","schema":"wheelhouse-event/1"}"#,
            "a message of the container runtime",
            r#"{"event":"step-finished","package":"a==1"}"#,
            r#"{"event":"error","kind":"build","code":5,"message":"failed to build a==1","detail":"compiling\nthe whole log: /work/cache/logs/a.log","hint":"Install gcc."}"#,
        ] {
            output.read(line, &recorder);
        }
        let error = output.into_error().unwrap();
        assert_eq!(error.kind(), Kind::Build);
        assert_eq!(error.to_string(), "failed to build a==1");
        assert_eq!(error.detail(), Some("compiling"));
        assert_eq!(error.hint(), Some("Install gcc."));
        assert_eq!(error.log(), Some("compiling"));
        // The recorder does not want output.
        let events = recorder.all();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].contains("build_wheel"), "{events:?}");
    }

    #[test]
    fn output_without_an_error_has_none() {
        let mut output = WorkerOutput::default();
        output.read("Killed", &Recorder::default());
        assert!(output.into_error().is_none());
    }
}
