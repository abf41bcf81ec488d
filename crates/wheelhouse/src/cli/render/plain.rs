//! Renders events as plain lines, for logs of continuous integration: one line per event, and a
//! progress line now and then while files arrive slowly.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wheelhouse_types::{Event, Observer};

use super::download_progress::DownloadProgress;
use super::{Renderer, Verbosity, messages};

/// The time without output after which the download progress is written.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct PlainRenderer<Stream> {
    verbosity: Verbosity,
    retry: Duration,
    state: Mutex<PlainState<Stream>>,
}

struct PlainState<Stream> {
    stream: Stream,
    fetches: DownloadProgress,
    last_line: Instant,
}

impl<Stream: Write + Send> PlainRenderer<Stream> {
    pub(crate) fn new(stream: Stream, verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            retry: PATIENCE,
            state: Mutex::new(PlainState {
                stream,
                fetches: DownloadProgress::default(),
                last_line: Instant::now(),
            }),
        }
    }
}

impl<Stream: Write + Send> Observer for PlainRenderer<Stream> {
    fn wants_output(&self) -> bool {
        self.verbosity >= Verbosity::Verbose
    }

    fn observe(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.fetches.observe(event);
        let line = messages::line(event, self.verbosity).or_else(|| {
            let is_progress = matches!(event, Event::FetchProgress { .. });
            let wanted = is_progress && self.verbosity >= Verbosity::Normal;
            (wanted && state.last_line.elapsed() >= self.retry).then(|| state.progress())
        });
        if let Some(line) = line {
            state.last_line = Instant::now();
            // An unusable stderr cannot be reported.
            let _ = writeln!(state.stream, "{line}");
        }
    }
}

impl<Stream> PlainState<Stream> {
    fn progress(&self) -> String {
        format!("Fetching: {}", self.fetches.sum())
    }
}

impl<Stream: Write + Send> Renderer for PlainRenderer<Stream> {
    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::StripStream;
    use wheelhouse_types::event::Wait;
    use wheelhouse_types::{Outcome, Phase, Sha256};

    fn step(package: &str, filename: &str, outcome: Outcome) -> Event {
        Event::StepFinished {
            package: package.into(),
            filename: filename.into(),
            sha256: Sha256::of(b""),
            bytes: 8_123_456,
            outcome,
        }
    }

    fn script() -> Vec<Event> {
        let django = || "django-5.2.1-py3-none-any.whl".to_owned();
        vec![
            Event::Target {
                label: "CPython 3.11.7 on manylinux_2_36_x86_64".into(),
                python: "/usr/bin/python3".into(),
            },
            Event::PhaseStarted {
                phase: Phase::Resolve,
            },
            Event::Considering {
                package: "django==5.2.1".into(),
            },
            Event::FetchStarted {
                package: "django==5.2.1".into(),
                filename: django(),
                bytes: Some(8_123_456),
            },
            Event::PhaseFinished {
                phase: Phase::Resolve,
                seconds: 1.25,
            },
            Event::Locked {
                packages: 3,
                kept: false,
            },
            Event::FetchProgress {
                filename: django(),
                received: 4_000_000,
            },
            Event::FetchRetried {
                filename: django(),
                reason: "https://me:secret@host/ reset the connection".into(),
                delay_seconds: 0.5,
            },
            Event::HostRetried {
                host: "host:8080".into(),
                reason: "it answered 503".into(),
                delay_seconds: 0.5,
            },
            Event::FetchFinished {
                filename: django(),
                bytes: 8_123_456,
                seconds: 0.8,
            },
            step("django==5.2.1", &django(), Outcome::Fetched),
            Event::BuildStarted {
                package: "misaka==2.1.1".into(),
            },
            Event::BuildHook {
                package: "misaka==2.1.1".into(),
                hook: "build_wheel".into(),
            },
            Event::BuildWaiting {
                package: "misaka==2.1.1".into(),
                wait: Wait::Requirements {
                    packages: vec!["setuptools==80.9.0".into()],
                },
            },
            Event::BuildOutput {
                package: "misaka==2.1.1".into(),
                line: "running build_ext".into(),
            },
            Event::BuildFinished {
                package: "misaka==2.1.1".into(),
                seconds: 12.34,
            },
            step(
                "misaka==2.1.1",
                "misaka-2.1.1-cp311-cp311-linux_x86_64.whl",
                Outcome::Built,
            ),
            step(
                "asgiref==3.8",
                "asgiref-3.8-py3-none-any.whl",
                Outcome::Reused,
            ),
            Event::Warning {
                message: "something".into(),
                hint: Some("Do this.".into()),
            },
            Event::StepFailed {
                package: "x==1".into(),
                reason: "no compiler".into(),
            },
            Event::Finished {
                directory: "wheelhouse".into(),
                fetched: 1,
                built: 1,
                reused: 1,
                copied: 0,
                sdists: 0,
                bytes: 8_500_000,
                bytes_fetched: 8_123_456,
                seconds: 15.0,
            },
        ]
    }

    fn rendered(verbosity: Verbosity, retry: Duration) -> String {
        let mut plain = PlainRenderer::new(StripStream::new(Vec::new()), verbosity);
        plain.retry = retry;
        for event in script() {
            plain.observe(&event);
        }
        let state = plain.state.into_inner().unwrap();
        String::from_utf8(state.stream.into_inner()).unwrap()
    }

    #[test]
    fn renders_run_as_lines() {
        insta::assert_snapshot!(rendered(Verbosity::Normal, Duration::MAX));
    }

    #[test]
    fn renders_verbose_run_as_lines() {
        insta::assert_snapshot!(rendered(Verbosity::Verbose, Duration::ZERO));
    }

    #[test]
    fn a_quiet_run_warns_and_a_silent_one_fails() {
        let quiet = rendered(Verbosity::Quiet, Duration::ZERO);
        assert_eq!(
            quiet,
            "warning: something\nhint: Do this.\nfailed: x==1: no compiler\n"
        );
        let silent = rendered(Verbosity::Silent, Duration::ZERO);
        assert_eq!(silent, "failed: x==1: no compiler\n");
    }
}
