//! The verb `build`.
//!
//! Responsible for bringing command line, configuration and process together into a job, and for
//! telling how it went. Never resolves, fetches or builds anything itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clap::ArgMatches;
use wheelhouse_engine::Host;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Event, Kind, Observer, Request, Result, event};

use super::arguments::{Build, Color, Globals};
use super::process::Process;
use super::reader::Reader;
use super::render::{self, Renderer, Verbosity};
use super::{again, dry_run, signals, source, store, streams, verify};
use crate::config::{Joined, PipConfiguration, RawBuild, Scope, Settings, join, settle};
use crate::execute::{self, Job, Report};
use crate::store::Store;

/// All that a run needs and that can be known without a runtime.
struct Preparation {
    build: Build,
    json: bool,
    process: Process,
    pip: PipConfiguration,
    raw: RawBuild,
    settings: Settings,
    reader: Reader,
    renderer: Arc<dyn Renderer>,
}

/// Runs the verb.
pub(super) fn run(build: Build, globals: &Globals, matches: &ArgMatches) -> Result<()> {
    let process = Process::read()?;
    let raw = build.raw(globals, matches);
    let pip = process.pip_configuration(raw.python.as_deref())?;
    let mut reader = Reader::default();
    let settings = settle(&raw, &process.settings_context(&pip, &reader))?;
    again::with_variables_of(&settings, &process.environment)?;
    reader.use_network(&settings);
    if settings.requirement_files.iter().any(|file| file == "-") {
        reader.read_standard_input(&process.directory)?;
    }
    if settings.no_color && globals.color.is_none() {
        streams::set_color(Some(Color::Never));
    }
    let verbosity = Verbosity::new(settings.quiet, settings.verbose);
    // The one document of a dry run has the standard output for itself.
    let events = globals.json && !build.conduct.dry_run;
    let renderer = render::choose(verbosity, events, settings.progress);
    let preparation = Preparation {
        build,
        json: globals.json,
        process,
        pip,
        raw,
        settings,
        reader,
        renderer: renderer.clone(),
    };
    let outcome = wheelhouse_engine::run(move || signals::until_interrupted(preparation.run()));
    renderer.close();
    outcome
}

impl Preparation {
    async fn run(self) -> Result<()> {
        let started = Instant::now();
        let (this, joined, _source) = self.request().await?;
        Box::pin(this.carry_out(joined, started)).await
    }

    async fn carry_out(self, joined: Joined, started: Instant) -> Result<()> {
        let Joined { request, scope, .. } = joined;
        let observer: Arc<dyn Observer> = self.renderer.clone();
        let opened = store::open(self.settings.cache.as_deref(), &*observer)?;
        let conduct = &self.build.conduct;
        let python = self.process.locate_python(request.python.as_deref());
        self.check_scope(&scope, &request, python.as_deref(), &opened.store)
            .await?;
        let job = Job {
            python,
            request,
            store: opened.store.clone(),
            output: self.settings.output.clone(),
            link_mode: conduct.link_mode(),
            reuse: conduct.reuse(),
            keep_going: conduct.keep_going,
        };
        if conduct.dry_run {
            let preview = execute::preview(job, observer).await?;
            self.renderer.close();
            dry_run::print(&preview, self.json);
            return Ok(());
        }
        let report = execute::build(job, Arc::new(WithoutEnd(observer.clone()))).await?;
        self.renderer.close();
        self.tell_end(&report, started);
        drop(opened.temporary);
        if conduct.verify {
            let python = self.settings.python.clone();
            let (output, quiet) = (&self.settings.output, self.settings.quiet > 0);
            return verify::after_build(&self.process, output, python, self.json, quiet).await;
        }
        Ok(())
    }

    /// Makes the request, and keeps what it refers to.
    async fn request(self) -> Result<(Self, Joined, Option<source::Tree>)> {
        let directory = &self.process.directory;
        let tree = match self.build.inputs.source.as_deref() {
            Some(source) => Some(source::find(source, directory, self.settings.offline).await?),
            None => None,
        };
        let mut raw = self.raw.clone();
        raw.source = tree.as_ref().map(|tree| tree.path.clone());
        // Files may be read over the network, during which signals must be heard.
        let reading = tokio::task::spawn_blocking(move || {
            let context = self.process.settings_context(&self.pip, &self.reader);
            let joined = join(&raw, &self.settings, &context);
            joined.map(|joined| (self, joined))
        });
        let read = reading.await;
        let (this, joined) = read.context(Kind::Input, || {
            "the thread that reads requirements files ended".to_owned()
        })??;
        for note in &joined.notes {
            this.renderer.observe(&Event::warning(note));
        }
        Ok((this, joined, tree))
    }

    /// Refuses a Python that the lock among the inputs does not serve. What the Python says of
    /// itself is in the cache when the run asks again.
    async fn check_scope(
        &self,
        scope: &Scope,
        request: &Request,
        python: Option<&Path>,
        store: &Store,
    ) -> Result<()> {
        if scope.is_everything() {
            return Ok(());
        }
        let cache = store.root().join("uv");
        let host = Host::discover(request.python.as_deref(), python, &cache).await?;
        scope.check(&host.target())
    }

    fn tell_end(&self, report: &Report, started: Instant) {
        let output = &self.settings.output;
        let directory = output
            .strip_prefix(&self.process.directory)
            .unwrap_or(output);
        if !report.foreign.is_empty() {
            self.renderer.observe(&foreign(directory, &report.foreign));
        }
        self.renderer.observe(&Event::Finished {
            directory: directory.display().to_string(),
            fetched: report.fetched,
            built: report.built,
            reused: report.reused,
            bytes: report.bytes,
            bytes_fetched: report.bytes_fetched,
            seconds: event::seconds(started.elapsed()),
        });
    }
}

/// How many files are named that no run put into the output.
const NAMED: usize = 5;

fn foreign(directory: &Path, names: &[String]) -> Event {
    let shown: Vec<_> = names
        .iter()
        .take(NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "`{}` also has {}{more}, which no run put there",
        directory.display(),
        shown.join(", ")
    );
    Event::warning(message)
}

/// Passes on everything but the end, which comes last and only once.
struct WithoutEnd(Arc<dyn Observer>);

impl Observer for WithoutEnd {
    fn observe(&self, event: &Event) {
        if !matches!(event, Event::Finished { .. }) {
            self.0.observe(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_named_up_to_a_number() {
        let names: Vec<_> = (1..=7).map(|number| format!("{number}.whl")).collect();
        let Event::Warning { message, .. } = foreign(Path::new("out"), &names) else {
            panic!("not a warning");
        };
        assert_eq!(
            message,
            "`out` also has `1.whl`, `2.whl`, `3.whl`, `4.whl`, `5.whl` and 2 more, which no run put there"
        );
    }
}
