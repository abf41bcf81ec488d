//! The steps shared by commands that resolve: from the options to a request.
//!
//! 1. [`CommandContext::new`] merges the command line, the configuration and the environment.
//! 2. [`CommandContext::execute`] runs the command on the engine's runtime until it ends or is interrupted.
//! 3. [`CommandContext::begin`] reads the inputs, builds the request and opens the store: a [`RunSession`].

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wheelhouse_engine::Host;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::image_location::ImageLocation;
use wheelhouse_types::retry::RetryNotices;
use wheelhouse_types::{CacheLocation, Event, Kind, Observer, Request, Result};

use crate::cli::args::{Color, GlobalOptions, RegistryOptions};
use crate::cli::commands::open_store::{self, OpenedStore};
use crate::cli::commands::requirements_reader::SourceReader;
use crate::cli::commands::{keys, project_source, registry_access};
use crate::cli::process_env::ProcessEnv;
use crate::cli::render::{self, Renderer, Verbosity};
use crate::cli::{credentials, output, reexec, signals};
use crate::pipeline::{Farm, LockPolicy, RunInputs};
use wheelhouse_config::{
    BuiltRequest, PipConfiguration, RawOptions, Settings, SupportedTargets, build_request,
    resolve_settings,
};
use wheelhouse_farm::Cleanup;
use wheelhouse_fs::locks;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_oci::find_links::{self, ArchitectureSelection, ImageFetcher};
use wheelhouse_oci::registry::Access;
use wheelhouse_shared_cache::{ConnectOptions, SharedCaches, SharedOptions};
use wheelhouse_store::Store;

/// Everything that a command knows before it needs a runtime.
pub(crate) struct CommandContext {
    /// The directory or repository of the application.
    source: Option<String>,
    pub(crate) json: bool,
    pub(crate) process: ProcessEnv,
    pip: PipConfiguration,
    raw: RawOptions,
    pub(crate) settings: Settings,
    reader: SourceReader,
    pub(crate) renderer: Arc<dyn Renderer>,
    pub(crate) notices: RetryNotices,
    /// The options for registries of `--find-links` images.
    pub(crate) registry: RegistryOptions,
    /// The private key that signs the output and what is written to a shared cache.
    pub(crate) sign: Option<PathBuf>,
    /// A warning about options without effect.
    note: Option<String>,
    /// Temporary caches, which are removed when the run has ended and nothing writes to them anymore.
    temporary: Arc<Mutex<Vec<Scratch>>>,
    /// Removes what the run has created on a farm, when the run has ended.
    cleanups: Arc<Mutex<Vec<Cleanup>>>,
}

/// A run with its request.
pub(crate) struct RunSession {
    pub(crate) context: CommandContext,
    pub(crate) request: Request,
    pub(crate) scope: SupportedTargets,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) store: Store,
    pub(crate) shared: Arc<SharedCaches>,
    /// The interpreter that the request names, as far as known without starting one.
    pub(crate) python: Option<PathBuf>,
    /// The farm that builds sdists.
    pub(crate) farm: Option<Rc<Farm>>,
    /// Kept because the request refers to it.
    _source: Option<project_source::ProjectTree>,
    pub(crate) started: Instant,
}

impl RunSession {
    /// Returns the inputs of a run.
    pub(crate) fn inputs(&self, lock_policy: LockPolicy, keep_going: bool) -> RunInputs {
        RunInputs {
            request: self.request.clone(),
            python: self.python.clone(),
            store: self.store.clone(),
            lock_policy,
            keep_going,
            shared: Arc::clone(&self.shared),
            farm: self.farm.clone(),
        }
    }
}

impl CommandContext {
    /// Merges options, configuration and environment. With `one_document`, stdout is not used for events.
    pub(crate) fn new(
        raw: RawOptions,
        source: Option<String>,
        globals: &GlobalOptions,
        one_document: bool,
    ) -> Result<Self> {
        let process = ProcessEnv::read()?;
        let project = process.project_configuration(&raw, source.as_deref())?;
        let pip = process.configuration(&raw, project)?;
        let mut reader = SourceReader::default();
        let settings = resolve_settings(&raw, &process.settings_context(&pip, &reader))?;
        reexec::with_variables_of(&settings, &process.environment)?;
        if settings.requirement_files.iter().any(|file| file == "-") {
            reader.read_standard_input(&process.directory)?;
        }
        if settings.no_color && globals.color.is_none() {
            output::set_color(Some(Color::Never));
        }
        let verbosity = Verbosity::new(settings.quiet, settings.verbose);
        let events = globals.json && !one_document;
        let renderer = render::choose(verbosity, events, settings.progress);
        let notices = RetryNotices::new(renderer.clone());
        let waiting = renderer.clone();
        locks::set_notice(move |text| waiting.observe(&Event::warning(text)));
        reader.use_network(&settings, notices.clone());
        Ok(Self {
            renderer,
            notices,
            note: globals.pip_compatibility.note(),
            source,
            json: globals.json,
            process,
            pip,
            raw,
            settings,
            reader,
            registry: RegistryOptions::default(),
            sign: None,
            temporary: Arc::default(),
            cleanups: Arc::default(),
        })
    }

    /// Calls `work` with this context until it ends or is interrupted.
    pub(crate) fn execute<Work, Outcome>(
        self,
        work: impl FnOnce(Self) -> Work + Send + 'static,
    ) -> Result<Outcome>
    where
        Work: Future<Output = Result<Outcome>>,
        Outcome: Send + 'static,
    {
        let renderer = Arc::clone(&self.renderer);
        if let Some(note) = &self.note {
            renderer.observe(&Event::warning(note));
        }
        let (temporary, cleanups) = (Arc::clone(&self.temporary), Arc::clone(&self.cleanups));
        let outcome = signals::run(move || work(self));
        renderer.close();
        for cleanup in std::mem::take(&mut *cleanups.lock().unwrap_or_else(PoisonError::into_inner))
        {
            cleanup.run();
        }
        // A failed build may have written a log, even if another error ended the run.
        let failed = outcome.is_err();
        for directory in
            std::mem::take(&mut *temporary.lock().unwrap_or_else(PoisonError::into_inner))
        {
            open_store::remove(directory, failed);
        }
        outcome
    }

    /// Builds the request, and returns the source tree that it refers to.
    async fn request(self) -> Result<(Self, BuiltRequest, Option<project_source::ProjectTree>)> {
        let directory = &self.process.directory;
        let tree = match self.source.as_deref() {
            Some(source) => {
                Some(project_source::find(source, directory, self.settings.offline).await?)
            }
            None => None,
        };
        let mut raw = self.raw.clone();
        raw.source = tree.as_ref().map(|tree| tree.path.clone());
        // Signals are handled while files are read, possibly over the network.
        let reading = tokio::task::spawn_blocking(move || {
            let context = self.process.settings_context(&self.pip, &self.reader);
            let built = build_request(&raw, &self.settings, &context);
            built.map(|built| (self, built))
        });
        let read = reading.await;
        let (this, built) = read.context(Kind::Input, || {
            "the thread that reads requirements files ended unexpectedly".to_owned()
        })??;
        if !built.from.is_empty() || !built.unused.is_empty() {
            this.renderer.observe(&Event::Inputs {
                from: built.from.clone(),
                unused: built.unused.clone(),
            });
        }
        for note in &built.notes {
            this.renderer.observe(&Event::warning(note));
        }
        Ok((this, built, tree))
    }

    /// Builds the request and opens the store. Images among the `--find-links` locations are fetched into the cache for
    /// `architectures`.
    pub(crate) async fn begin(self, architectures: ArchitectureSelection) -> Result<RunSession> {
        let started = Instant::now();
        let (context, built, source) = self.request().await?;
        let BuiltRequest {
            mut request,
            scope,
            images,
            ..
        } = built;
        request.network.notices = context.notices.clone();
        let observer: Arc<dyn Observer> = context.renderer.clone();
        let OpenedStore { store, temporary } =
            open_store::open(context.settings.cache.as_deref(), &*observer)?;
        context.keep(temporary);
        let mut linked = Vec::new();
        for image in images {
            let image_fetcher = context.image_fetcher(&image, &request, architectures, &store)?;
            linked.push(find_links::fetch(image, image_fetcher).await?);
        }
        request.indexes.images = linked.into();
        let python = context.process.locate_python(request.python.as_deref());
        let shared = context.shared_caches(&observer)?;
        Ok(RunSession {
            context,
            request,
            scope,
            observer,
            store,
            shared: Arc::new(shared),
            python,
            farm: None,
            _source: source,
            started,
        })
    }

    /// Creates the shared caches of the settings.
    fn shared_caches(&self, observer: &Arc<dyn Observer>) -> Result<SharedCaches> {
        let shared = &self.settings.shared_cache;
        if shared.from.is_empty() && shared.to.is_none() {
            return Ok(SharedCaches::none());
        }
        Ok(SharedCaches::new(self.shared_options()?, observer))
    }

    /// Returns the options of the shared caches.
    pub(crate) fn shared_options(&self) -> Result<SharedOptions> {
        let (settings, shared) = (&self.settings, &self.settings.shared_cache);
        let with_netrc =
            |location: CacheLocation| location.with_credentials(credentials::find_in_netrc);
        let signer = self.sign.as_deref().filter(|_| shared.to.is_some());
        let notices = RetryNotices::default();
        let access = registry_access::access(&self.registry, settings, &self.process, notices);
        Ok(SharedOptions {
            from: shared.from.iter().cloned().map(with_netrc).collect(),
            to: shared.to.clone().map(with_netrc),
            fetched: shared.fetched,
            key_closure: shared.key_closure,
            verifying_key: keys::verifying_key(shared.verify_key.as_deref(), &self.process)?,
            signing_key: keys::signing_key(signer, &self.process)?,
            connect: ConnectOptions {
                access: Access {
                    timeout: shared.timeout,
                    ..access
                },
                variables: registry_access::bucket_variables(&self.process),
            },
        })
    }

    /// Registers a temporary cache for removal at the end.
    fn keep(&self, directory: Option<Scratch>) {
        let directories = self.temporary.lock();
        let mut directories = directories.unwrap_or_else(PoisonError::into_inner);
        directories.extend(directory);
    }

    /// Registers what a farm must remove at the end.
    pub(crate) fn clean_up(&self, cleanup: Cleanup) {
        let cleanups = self.cleanups.lock();
        cleanups
            .unwrap_or_else(PoisonError::into_inner)
            .push(cleanup);
    }

    fn image_fetcher(
        &self,
        image: &ImageLocation,
        request: &Request,
        architectures: ArchitectureSelection,
        store: &Store,
    ) -> Result<ImageFetcher> {
        let root = store.root();
        // The engine identifies files by URLs, which must not contain links or `..`.
        let root = fs_err::canonicalize(root).context(Kind::Publish, || {
            format!("the cache {} cannot be found", root.display())
        })?;
        let (settings, notices) = (&self.settings, self.notices.clone());
        let mut access = registry_access::access(&self.registry, settings, &self.process, notices);
        let host = image.registry();
        let trusted = &request.network.trusted_hosts;
        access.insecure |= trusted.iter().any(|trusted| host == Some(trusted));
        Ok(ImageFetcher {
            cache: root.join(open_store::IMAGES),
            architectures,
            access,
            socket: registry_access::socket(&self.process),
            observer: self.renderer.clone(),
        })
    }

    /// Rejects a Python that the lock among the inputs does not support. The result of querying the interpreter is cached
    /// for the run.
    pub(crate) async fn check_scope(
        &self,
        scope: &SupportedTargets,
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
}
