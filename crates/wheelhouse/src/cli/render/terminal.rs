//! Live progress on a terminal.
//!
//! Responsible for a few lines that move while a run goes on: what is resolving, what is arriving,
//! what is being built and for how long; and for lines above them that stay. Nothing live is left
//! behind.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use wheelhouse_model::{Event, Observer, Phase};

use super::super::streams;
use super::fetches::Fetches;
use super::{Renderer, Verbosity, words};

const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Terminal {
    verbosity: Verbosity,
    color: bool,
    lines: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fetches: Fetches,
    considered: usize,
    resolving: Option<ProgressBar>,
    fetching: Option<ProgressBar>,
    building: BTreeMap<String, ProgressBar>,
    /// Whether nothing live may appear any more.
    closed: bool,
}

impl Terminal {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            color: streams::talk_has_color(),
            lines: MultiProgress::new(),
            state: Mutex::default(),
        }
    }

    /// Writes lines above those that move.
    fn say(&self, line: &str) {
        let line = if self.color {
            line.to_owned()
        } else {
            anstream::adapter::strip_str(line).to_string()
        };
        // Without a standard error there is nobody to tell.
        let _ = self.lines.println(line);
    }

    fn spinner(&self, message: String) -> ProgressBar {
        let bar = self
            .lines
            .add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg} {elapsed}")));
        bar.set_message(message);
        bar.enable_steady_tick(TICK);
        bar
    }

    fn update(&self, state: &mut State, event: &Event) {
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
            Event::BuildStarted { package } => {
                let bar = self.spinner(format!("Building {package}"));
                clear(state.building.insert(package.clone(), bar));
            }
            Event::BuildHook { package, hook } => {
                if let Some(bar) = state.building.get(package) {
                    bar.set_message(format!("Building {package}: {hook}"));
                }
            }
            Event::BuildFinished { package, .. } | Event::StepFailed { package, .. } => {
                clear(state.building.remove(package));
            }
            _ => {}
        }
    }

    /// Shows one bar for all that arrives, while something does.
    fn show_fetches(&self, state: &mut State) {
        let sum = state.fetches.sum();
        if sum.files == sum.finished_files {
            clear(state.fetching.take());
            return;
        }
        let bar = state.fetching.get_or_insert_with(|| {
            let bar = ProgressBar::new(0).with_style(style("{spinner} Fetching [{bar:24}] {msg}"));
            let bar = self.lines.insert(0, bar);
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_length(sum.expected);
        bar.set_position(sum.received);
        bar.set_message(sum.to_string());
    }
}

/// What is worth a line that stays: what is shown live is not.
fn stays(event: &Event) -> bool {
    !matches!(
        event,
        Event::Considering { .. }
            | Event::PhaseStarted { .. }
            | Event::FetchStarted { .. }
            | Event::BuildStarted { .. }
            | Event::BuildHook { .. }
            | Event::StepFinished { .. }
    )
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}

fn clear(bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

impl Observer for Terminal {
    fn observe(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            self.update(&mut state, event);
            self.show_fetches(&mut state);
        }
        if stays(event)
            && let Some(line) = words::line(event, self.verbosity)
        {
            self.say(&line);
        }
    }
}

impl Renderer for Terminal {
    fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        clear(state.resolving.take());
        clear(state.fetching.take());
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
        let terminal = Terminal::new(Verbosity::Normal);
        let build = |package: &str| Event::BuildStarted {
            package: package.into(),
        };
        terminal.observe(&Event::PhaseStarted {
            phase: Phase::Resolve,
        });
        terminal.observe(&build("a==1"));
        terminal.close();
        terminal.observe(&build("b==1"));
        terminal.close();
        let state = terminal.state.lock().unwrap();
        assert!(state.building.is_empty() && state.resolving.is_none());
    }
}
