//! Renders live progress on a terminal: lines for the resolution, the downloads and each build, which
//! change during the run, below lines that stay. All live lines are removed at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar};
use wheelhouse_types::event::Wait;
use wheelhouse_types::{Event, Observer, Phase};

use super::download_progress::DownloadProgress;
use super::{Renderer, Verbosity, messages};
use crate::cli::output;
use crate::cli::render::upload_bar::{SPINNER, TICK, form};

const WHEELS: &str = "{spinner} Wheels [{bar:24}] {pos} of {len}";

pub(crate) struct TerminalRenderer {
    verbosity: Verbosity,
    color: bool,
    lines: MultiProgress,
    state: Mutex<TerminalState>,
}

#[derive(Default)]
struct TerminalState {
    fetches: DownloadProgress,
    considered: usize,
    resolving: Option<ProgressBar>,
    fetching: Option<ProgressBar>,
    /// Counts the wheels of the plan that are complete.
    making: Option<ProgressBar>,
    /// The number of packages in the locks of the run.
    locked: usize,
    /// The running builds.
    building: BTreeMap<String, ProgressBar>,
    /// The waiting builds, and what they wait for.
    waiting: BTreeMap<String, Option<Wait>>,
    waiting_line: Option<ProgressBar>,
    /// True if live output has ended.
    closed: bool,
}

impl TerminalRenderer {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            color: output::status_has_color(),
            lines: MultiProgress::new(),
            state: Mutex::default(),
        }
    }

    /// Writes a permanent line above the live ones.
    fn print_line(&self, line: &str) {
        let line = if self.color {
            line.to_owned()
        } else {
            anstream::adapter::strip_str(line).to_string()
        };
        // An unusable stderr cannot be reported.
        let _ = self.lines.println(line);
    }

    fn spinner(&self, message: String) -> ProgressBar {
        let bar = self
            .lines
            .add(ProgressBar::new_spinner().with_style(form(SPINNER)));
        bar.set_message(message);
        bar.enable_steady_tick(TICK);
        bar
    }

    fn update(&self, state: &mut TerminalState, event: &Event) {
        state.fetches.observe(event);
        match event {
            Event::PhaseStarted {
                phase: Phase::Resolve,
            } => {
                state.resolving = Some(self.spinner("Resolving".to_owned()));
            }
            Event::Considering { package } => {
                state.considered += 1;
                if let Some(bar) = &state.resolving {
                    bar.set_message(format!(
                        "Resolving: {} considered, {package}",
                        state.considered
                    ));
                }
            }
            Event::PhaseFinished {
                phase: Phase::Resolve,
                ..
            } => clear(state.resolving.take()),
            Event::Locked { packages, .. } => state.locked += packages,
            Event::StepFinished { .. } | Event::StepFailed { .. } => {
                let bar = state.making.get_or_insert_with(|| {
                    let bar = ProgressBar::new(state.locked as u64);
                    let bar = self.lines.insert(0, bar.with_style(form(WHEELS)));
                    bar.enable_steady_tick(TICK);
                    bar
                });
                bar.inc(1);
                // Additional sets have their own wheels.
                bar.set_length(bar.length().unwrap_or_default().max(bar.position()));
            }
            Event::PhaseFinished {
                phase: Phase::Execute,
                ..
            } => clear(state.making.take()),
            _ => {}
        }
        self.update_builds(state, event);
    }

    /// Shows one line for each running build, and one for all waiting builds, which may be hundreds.
    fn update_builds(&self, state: &mut TerminalState, event: &Event) {
        match event {
            Event::BuildStarted { package } => {
                state.waiting.insert(package.clone(), None);
            }
            Event::BuildWaiting { package, wait } => {
                clear(state.building.remove(package));
                state.waiting.insert(package.clone(), Some(wait.clone()));
            }
            Event::BuildHook { package, hook } => {
                self.show_build(state, package, format!("Building {package}: {hook}"));
            }
            Event::BuildPlaced { package, place, .. } => {
                self.show_build(state, package, format!("Building {package} on {place}"));
            }
            Event::BuildHookFinished { package, .. } => clear(state.building.remove(package)),
            Event::BuildFinished { package, .. } | Event::StepFailed { package, .. } => {
                state.waiting.remove(package);
                clear(state.building.remove(package));
            }
            _ => return,
        }
        let Some(text) = waiting(&state.waiting) else {
            clear(state.waiting_line.take());
            return;
        };
        let line = state.waiting_line.get_or_insert_with(|| {
            self.lines
                .add(ProgressBar::new_spinner().with_style(form("  {wide_msg}")))
        });
        line.set_message(text);
        line.tick();
    }

    /// Shows the line of a running build, whose time starts now.
    fn show_build(&self, state: &mut TerminalState, package: &str, message: String) {
        state.waiting.remove(package);
        let bar = state
            .building
            .entry(package.to_owned())
            .or_insert_with(|| self.spinner(String::new()));
        bar.set_message(message);
        bar.reset_elapsed();
    }

    /// Shows one bar for all downloads while there are any.
    fn show_fetches(&self, state: &mut TerminalState) {
        let sum = state.fetches.sum();
        if sum.files == sum.finished_files {
            clear(state.fetching.take());
            return;
        }
        let bar = state.fetching.get_or_insert_with(|| {
            let bar = ProgressBar::new(0).with_style(form("{spinner} Fetching [{bar:24}] {msg}"));
            let bar = self.lines.insert(0, bar);
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_length(sum.expected);
        bar.set_position(sum.received);
        bar.set_message(sum.to_string());
    }
}

/// Returns whether the event has a permanent line, because it is not shown live.
fn stays(event: &Event) -> bool {
    !matches!(
        event,
        Event::Considering { .. }
            | Event::PhaseStarted { .. }
            | Event::FetchStarted { .. }
            | Event::BuildStarted { .. }
            | Event::BuildPlaced { .. }
            | Event::BuildHook { .. }
            | Event::BuildWaiting {
                wait: Wait::Job | Wait::Requirements { .. },
                ..
            }
            | Event::StepFinished { .. }
    )
}

/// Describes what the builds in `waiting` wait for; `None` if there are none.
fn waiting(waiting: &BTreeMap<String, Option<Wait>>) -> Option<String> {
    let waits = waiting
        .iter()
        .filter_map(|(package, wait)| Some((package, wait.as_ref()?)));
    let waits: Vec<_> = waits.collect();
    match waits[..] {
        [] => None,
        [(package, wait)] => Some(format!("{package} waits for {}", messages::waits_for(wait))),
        _ => {
            let count =
                |is_one: fn(&Wait) -> bool| waits.iter().filter(|(_, wait)| is_one(wait)).count();
            let for_job = count(|wait| matches!(wait, Wait::Job));
            let for_farm = count(|wait| matches!(wait, Wait::Farm { .. }));
            let reasons = [
                (for_job, "a free build slot"),
                (for_farm, "the farm"),
                (waits.len() - for_job - for_farm, "build requirements"),
            ];
            let reasons = reasons.iter().filter(|(count, _)| *count > 0);
            let reasons: Vec<String> = reasons
                .map(|(count, what)| format!("{count} for {what}"))
                .collect();
            Some(format!(
                "{} builds wait: {}",
                waits.len(),
                reasons.join(", ")
            ))
        }
    }
}

fn clear(bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

impl Observer for TerminalRenderer {
    fn wants_output(&self) -> bool {
        self.verbosity >= Verbosity::Verbose
    }

    fn observe(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            self.update(&mut state, event);
            self.show_fetches(&mut state);
        }
        if stays(event)
            && let Some(line) = messages::line(event, self.verbosity)
        {
            self.print_line(&line);
        }
    }
}

impl Renderer for TerminalRenderer {
    fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        clear(state.resolving.take());
        clear(state.fetching.take());
        clear(state.making.take());
        clear(state.waiting_line.take());
        for bar in std::mem::take(&mut state.building).into_values() {
            bar.finish_and_clear();
        }
        // Without a terminal there is nothing to clear.
        let _ = self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_twice_and_late_events_do_no_harm() {
        let terminal = TerminalRenderer::new(Verbosity::Normal);
        let build = |package: &str| Event::BuildStarted {
            package: package.into(),
        };
        terminal.observe(&Event::PhaseStarted {
            phase: Phase::Resolve,
        });
        terminal.observe(&build("a==1"));
        terminal.observe(&Event::BuildHook {
            package: "a==1".into(),
            hook: "build_wheel".into(),
        });
        terminal.close();
        terminal.observe(&build("b==1"));
        terminal.close();
        let state = terminal.state.lock().unwrap();
        assert!(state.building.is_empty() && state.resolving.is_none());
    }

    #[test]
    fn what_builds_wait_for_is_one_line() {
        let mut builds = BTreeMap::from([("a==1".to_owned(), None)]);
        assert_eq!(waiting(&builds), None);
        builds.insert("b==1".to_owned(), Some(Wait::Job));
        assert_eq!(
            waiting(&builds).unwrap(),
            "b==1 waits for a free build slot"
        );
        let packages = vec!["setuptools==80".to_owned()];
        builds.insert("c==1".to_owned(), Some(Wait::Requirements { packages }));
        let text = "2 builds wait: 1 for a free build slot, 1 for build requirements";
        assert_eq!(waiting(&builds).unwrap(), text);
    }
}
