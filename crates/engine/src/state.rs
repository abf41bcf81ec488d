//! The state: an interpreter, the clients and caches for it, and what a request says of them.
//! It is the engine behind its plain face.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest_middleware::Middleware;
use tokio::sync::Semaphore;
use url::Url;
use uv_cache::{Cache, CacheBucket, Refresh};
use uv_client::{
    Connectivity, ExtraMiddleware, FlatIndexClient, FlatIndexEntries, RegistryClient,
    RegistryClientBuilder,
};
use uv_configuration::{BuildOptions, Concurrency, NoSources};
use uv_distribution_filename::DistFilename;
use uv_distribution_types::{
    ConfigSettings, DependencyMetadata, ExtraBuildRequires, ExtraBuildVariables, File, Index,
    IndexCapabilities, IndexLocations, IndexUrl, PackageConfigSettings, Requirement,
};
use uv_git::GitResolver;
use uv_git_types::{GitLfs, GitOid, GitReference, GitUrl};
use uv_python::{Interpreter, PythonEnvironment};
use uv_redacted::DisplaySafeUrl;
use uv_resolver::{ExcludeNewer, FlatIndex};
use uv_types::{BuildArena, HashStrategy, InFlight};
use uv_workspace::WorkspaceCache;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::IndexStrategy;
use wheelhouse_types::{
    Distribution, Kind, Observer, PackageName, Request, Result, Source, secrets,
};

use crate::EngineOptions;
use crate::build::Session;
use crate::build::bytecode::Bytecode;
use crate::error::Failures;
use crate::index::legacy_formats;
use crate::index::lenient_pages::LenientPages;
use crate::index::local_pages;
use crate::index::locked_files::LockedFiles;
use crate::index::metadata_digests::MetadataDigests;
use crate::index::page_links::PageLinks;
use crate::index::prefetch::{IndexPrefetcher, PageReader};
use crate::index::wheel_ranges::WheelRanges;
use crate::network::cached_secrets::CachedSecrets;
use crate::network::client;
use crate::network::client::PlainClients;
use crate::network::download::{Fetcher, Plain};
use crate::network::plain_http::{PlainHttp, SecureRedirects};
use crate::network::response_limits::ResponseLimits;
use crate::network::retries::Waiting;
use crate::network::url_credentials::UrlCredentials;
use crate::requirements;
use crate::requirements::local_trees::Copies;
use crate::resolve::metadata_cache::MetadataCache;
use crate::resolve::provider::WheelMetadata;
use crate::resolve::requires_python::RequiresPythonFilter;
use crate::target::TargetEnvironment;

/// Resolves and builds for one interpreter.
pub(crate) struct EngineState {
    pub(crate) request: Request,
    pub(crate) cache: Cache,
    pub(crate) logs: PathBuf,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) interpreter: Interpreter,
    pub(crate) host: Arc<TargetEnvironment>,
    /// The target_env of foreign targets that were asked for.
    pub(crate) foreign: Mutex<Vec<Arc<TargetEnvironment>>>,
    /// The interpreter's own environment, when builds are not isolated.
    pub(crate) shared_environment: Option<PythonEnvironment>,
    pub(crate) client: RegistryClient,
    /// Never tries again.
    pub(crate) brief_client: RegistryClient,
    /// Answers from the cache alone, however old.
    pub(crate) cached_client: RegistryClient,
    pub(crate) fetcher: Fetcher,
    pub(crate) url_credentials: UrlCredentials,
    pub(crate) prefetcher: IndexPrefetcher,
    pub(crate) reader: PageReader,
    pub(crate) locked_files: Arc<LockedFiles>,
    /// Reads the pages that uv refuses, and knows what was passed over in them.
    pub(crate) pages: LenientPages,
    /// The Pythons that versions are for, where it is not the target's.
    pub(crate) requires_python: RequiresPythonFilter,
    pub(crate) locations: IndexLocations,
    pub(crate) build_options: BuildOptions,
    pub(crate) build_constraints: Vec<Requirement>,
    pub(crate) config_settings: ConfigSettings,
    pub(crate) package_settings: PackageConfigSettings,
    pub(crate) exclude_newer: ExcludeNewer,
    /// What `--find-links` offers.
    pub(crate) flat_entries: FlatIndexEntries,
    /// What is on local pages among them that uv refuses.
    pub(crate) odd_links: Vec<OddLink>,
    /// The packages of which they have legacy sdists.
    pub(crate) legacy_packages: HashSet<PackageName>,
    pub(crate) build_metadata: MetadataCache,
    pub(crate) wheel_metadata: WheelMetadata,
    pub(crate) ranges: WheelRanges,
    /// Build requirements already settled, by target and text.
    pub(crate) settled: Mutex<HashMap<(String, String), Vec<Distribution>>>,
    pub(crate) concurrency: Concurrency,
    /// How many targets are resolved at once.
    pub(crate) resolutions: Semaphore,
    pub(crate) git: GitResolver,
    pub(crate) capabilities: IndexCapabilities,
    pub(crate) in_flight: InFlight,
    pub(crate) bytecode: Bytecode,
    pub(crate) arena: BuildArena<Session>,
    pub(crate) workspace_cache: WorkspaceCache,
    pub(crate) dependency_metadata: DependencyMetadata,
    pub(crate) extra_build_requires: ExtraBuildRequires,
    pub(crate) extra_build_variables: ExtraBuildVariables,
    pub(crate) no_sources: NoSources,
    pub(crate) hook_environment: Arc<Vec<(OsString, OsString)>>,
    /// The copies of local trees.
    pub(crate) copies: Mutex<Copies>,
    /// What archives are known as, by the paths of their files.
    pub(crate) archives: Mutex<HashMap<PathBuf, String>>,
    /// Where wheels are that have [another name](crate::requirements::python2_wheels) for uv, by the paths of their files.
    pub(crate) renamed_wheels: Mutex<HashMap<PathBuf, DisplaySafeUrl>>,
    pub(crate) failures: Failures,
}

/// A file on a local `--find-links` page that uv refuses.
pub(crate) struct OddLink {
    pub(crate) filename: DistFilename,
    pub(crate) file: File,
    pub(crate) place: IndexUrl,
}

impl EngineState {
    pub(crate) async fn start(setup: EngineOptions<'_>) -> Result<Self> {
        let (host, request) = (setup.host, setup.request.clone());
        let (cache, interpreter) = (host.cache, host.interpreter);
        let target_env = TargetEnvironment::of_interpreter(&interpreter, host.target)?;
        let refresh = request.resolution.refresh;
        let cache = cache.with_refresh(Refresh::from_args(Some(refresh), Vec::new()));
        let locations = client::locations(&request.indexes, &request.network, refresh)?;
        let build_options = requirements::build_options(&request.formats);
        let (failures, url_credentials) = (Failures::default(), UrlCredentials::of(&request));
        let Clients {
            client,
            brief_client,
            cached_client,
            page_client,
            lenient_client,
            fetcher,
            pages,
        } = clients(&request, &cache, &locations, &interpreter, &failures)?;
        let links = Links {
            client: &client,
            lenient_client: &lenient_client,
            cache: &cache,
            failures: &failures,
            pages: &pages,
        };
        let places: Vec<Index> = locations.flat_indexes().cloned().collect();
        let (flat_entries, odd_links) = links.read(&places).await?;
        let building = &request.building;
        let concurrency = Concurrency::new(
            DOWNLOADS,
            building.jobs,
            Concurrency::threads(),
            Concurrency::DEFAULT_CACHE_READS,
        );
        let locked_files = Arc::new(LockedFiles::new(&request.locked_files));
        let reader = PageReader {
            client: page_client,
            lenient_client,
            pages: pages.clone(),
            strategy: request.indexes.strategy,
            slots: Arc::new(Semaphore::new(PAGES)),
            locations: locations.clone(),
            locked_files: locked_files.clone(),
        };
        Ok(Self {
            shared_environment: (!building.isolated)
                .then(|| PythonEnvironment::from_interpreter(interpreter.clone())),
            build_constraints: requirements::parse_constraints(&request.build_constraints)?,
            config_settings: requirements::config_settings(&building.config_settings),
            package_settings: package_settings(&request),
            exclude_newer: exclude_newer(&request)?,
            prefetcher: IndexPrefetcher::new(&reader),
            reader,
            odd_links,
            locked_files,
            pages,
            requires_python: RequiresPythonFilter::default(),
            resolutions: Semaphore::new(resolutions()),
            concurrency,
            logs: setup.logs.to_owned(),
            observer: setup.observer,
            cache,
            interpreter,
            fetcher: fetcher.with_url_credentials(url_credentials.clone()),
            url_credentials,
            client,
            brief_client,
            cached_client,
            locations,
            build_options,
            legacy_packages: legacy_formats::packages(&flat_entries),
            flat_entries,
            host: Arc::new(target_env),
            foreign: Mutex::default(),
            build_metadata: MetadataCache::default(),
            wheel_metadata: WheelMetadata::default(),
            ranges: WheelRanges::default(),
            settled: Mutex::default(),
            git: GitResolver::default(),
            capabilities: IndexCapabilities::default(),
            in_flight: InFlight::default(),
            bytecode: Bytecode::default(),
            arena: BuildArena::default(),
            workspace_cache: WorkspaceCache::default(),
            dependency_metadata: DependencyMetadata::default(),
            extra_build_requires: ExtraBuildRequires::default(),
            extra_build_variables: ExtraBuildVariables::default(),
            no_sources: NoSources::All,
            hook_environment: Arc::new(hook_environment(&request.building.environment)),
            copies: Mutex::default(),
            archives: Mutex::default(),
            renamed_wheels: Mutex::default(),
            failures,
            request,
        })
    }

    /// What the `--find-links` places offer the target of `target_env` under `build_options`, first of all
    /// what has the digests of `hasher`.
    pub(crate) fn flat_index(
        &self,
        target_env: &TargetEnvironment,
        hasher: &HashStrategy,
        build_options: &BuildOptions,
    ) -> FlatIndex {
        let entries = self.flat_entries.clone();
        FlatIndex::from_entries(entries, Some(&target_env.tags), hasher, build_options)
    }

    /// Checks out the commit of a Git source and returns its directory.
    pub(crate) async fn checkout(&self, source: &Source) -> Result<PathBuf> {
        let Source::Git {
            repository, commit, ..
        } = source
        else {
            unreachable!("only Git sources are checked out");
        };
        let failed = || format!("failed to check out {source}");
        let url = DisplaySafeUrl::from_url(repository.clone());
        let oid: GitOid = commit.parse().context(Kind::Fetch, failed)?;
        let reference = GitReference::from_rev(commit.clone());
        let git = GitUrl::from_commit(url.clone(), reference, oid, GitLfs::Disabled)
            .context(Kind::Fetch, failed)?;
        let settings = self.client.git_http_settings(&url);
        let bucket = self.cache.bucket(CacheBucket::Git);
        let fetch = self
            .git
            .fetch(&git, settings, bucket, None)
            .await
            .map_err(|error| self.failures.explained(&error, &failed()))?;
        Ok(fetch.path().to_owned())
    }
}

/// The time that back ends write into wheels unless the user sets another: 2020-02-02, hatchling's
/// own default.
const DEFAULT_EPOCH: &str = "1580601600";

/// How many files are asked for at once. Where an index has no metadata of a wheel, reading the end
/// of the wheel takes a megabyte meanwhile.
const DOWNLOADS: usize = 12;

/// How many index pages are fetched and read at once; each takes some megabytes meanwhile.
const PAGES: usize = 16;

/// Resolving holds every index page that it has seen, and each target its own. One that waits for an
/// answer leaves a processor to another; more than that only take memory.
fn resolutions() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

struct Clients {
    client: RegistryClient,
    brief_client: RegistryClient,
    cached_client: RegistryClient,
    /// With the strategy `first-index`, as [`PageReader`] needs it.
    page_client: RegistryClient,
    /// As `page_client`, for the pages that uv refuses.
    lenient_client: RegistryClient,
    /// Tries once.
    fetcher: Fetcher,
    pages: LenientPages,
}

fn clients(
    request: &Request,
    cache: &Cache,
    locations: &IndexLocations,
    interpreter: &Interpreter,
    failures: &Failures,
) -> Result<Clients> {
    let digests = cache.bucket(CacheBucket::Simple).join("metadata-digests");
    let plain_http = PlainHttp::new(client::trusted_hosts(&request.network.trusted_hosts)?);
    let pages = LenientPages::new(PageLinks(plain_http.clone()));
    let links = PageLinks(plain_http.clone());
    let digests = Arc::new(MetadataDigests::new(digests, failures.clone(), links));
    let redirects = Arc::new(SecureRedirects {
        plain_http: plain_http.clone(),
        failures: failures.clone(),
    });
    let secrets = Arc::new(CachedSecrets);
    let bounds = || ResponseLimits::new(request.network.timeout, failures.clone());
    let files = Arc::new(bounds().without_files());
    let bounds = Arc::new(bounds());
    let middleware = |retries, bounds: &Arc<ResponseLimits>| -> Vec<Arc<dyn Middleware>> {
        let waiting = Arc::new(Waiting {
            retries,
            notices: request.network.notices.clone(),
            failures: failures.clone(),
        });
        vec![
            secrets.clone(),
            waiting,
            redirects.clone(),
            digests.clone(),
            bounds.clone(),
        ]
    };
    let builder = client::client_builder(&request.network)?;
    let brief = || {
        let builder = builder.clone().retries(0);
        builder.extra_middleware(ExtraMiddleware(middleware(0, &files)))
    };
    let patient = ExtraMiddleware(middleware(request.network.retries, &bounds));
    let builder = builder.clone().extra_middleware(patient);
    let registry = |builder, strategy| {
        RegistryClientBuilder::new(builder, cache.clone())
            .index_locations(locations.clone())
            .index_strategy(strategy)
            .markers(interpreter.markers())
            .platform(interpreter.platform())
    };
    let failed = || "failed to set up the HTTP client".to_owned();
    let strategy = client::strategy(request.indexes.strategy);
    let open = |builder| {
        registry(builder, strategy)
            .build()
            .context(Kind::Input, failed)
    };
    let client = open(builder.clone())?;
    // Opening a client reads all certificates of the system, so the others share what this one has.
    let share = |builder, strategy| {
        registry(builder, strategy)
            .wrap_existing(client.cached_client().uncached())
            .context(Kind::Input, failed)
    };
    let first_index = client::strategy(IndexStrategy::FirstIndex);
    // The digests are those of the page that uv gets.
    let mut lenient = middleware(0, &bounds);
    let last = lenient.len() - 1;
    lenient.insert(last, Arc::new(pages.clone()));
    let lenient = ExtraMiddleware(lenient);
    let PlainClients { checking, trusting } = PlainClients::open(&request.network)?;
    let plain = |plain| open(brief().custom_client(plain));
    let plain = Plain {
        checking: plain(checking)?,
        trusting: trusting.map(plain).transpose()?,
    };
    let brief_client = share(brief(), strategy)?;
    Ok(Clients {
        fetcher: Fetcher::new(brief_client.clone(), plain_http, request.network.offline)
            .with_plain(plain),
        brief_client,
        cached_client: share(
            builder.clone().connectivity(Connectivity::Offline),
            strategy,
        )?,
        page_client: share(builder.clone(), first_index)?,
        lenient_client: share(brief().extra_middleware(lenient), first_index)?,
        pages,
        client,
    })
}

/// Reads `--find-links` places.
struct Links<'a> {
    client: &'a RegistryClient,
    lenient_client: &'a RegistryClient,
    cache: &'a Cache,
    failures: &'a Failures,
    pages: &'a LenientPages,
}

impl Links<'_> {
    /// Reads `places`: what uv can read, and the files of local pages that it refuses.
    async fn read(&self, places: &[Index]) -> Result<(FlatIndexEntries, Vec<OddLink>)> {
        let error = match self.entries(self.client, places).await {
            Ok(entries) => return Ok((entries, Vec::new())),
            Err(error) => error,
        };
        let (mut others, mut odd) = (Vec::new(), Vec::new());
        for place in places {
            let is_odd = (self.entries(self.client, std::slice::from_ref(place)).await).is_err();
            match local_pages::of_links(self.pages, place).filter(|_| is_odd) {
                Some(files) => odd.extend(files.into_iter().map(|(filename, file)| OddLink {
                    filename,
                    file,
                    place: place.url().clone(),
                })),
                None => others.push(place.clone()),
            }
        }
        match self.entries(self.lenient_client, &others).await {
            Ok(entries) => Ok((entries, odd)),
            Err(_) => Err(error),
        }
    }

    async fn entries(&self, client: &RegistryClient, places: &[Index]) -> Result<FlatIndexEntries> {
        FlatIndexClient::new(client.cached_client(), client.connectivity(), self.cache)
            .fetch_all(places.iter().map(Index::url))
            .await
            .map_err(|error| {
                let message = "failed to read a --find-links place";
                self.failures.explained(&error, message)
            })
    }
}

/// Has the credentials of `request` masked in what builds print.
pub(crate) fn remember_credentials(request: &Request) {
    let lines = [
        &request.requirements,
        &request.constraints,
        &request.overrides,
        &request.build_constraints,
    ];
    let lines = lines.into_iter().flatten().map(|line| line.text.as_str());
    let places = request.indexes.find_links.iter().map(String::as_str);
    let urls = request.indexes.urls.iter().map(Url::as_str);
    let texts = lines.chain(places).chain(urls);
    secrets::register(texts.flat_map(secrets::find_in_text));
}

fn package_settings(request: &Request) -> PackageConfigSettings {
    let entries = request
        .building
        .package_settings
        .iter()
        .flat_map(|(name, settings)| {
            settings
                .iter()
                .filter_map(move |(key, value)| format!("{name}:{key}={value}").parse().ok())
        });
    entries.collect::<Vec<_>>().into_iter().collect()
}

fn exclude_newer(request: &Request) -> Result<ExcludeNewer> {
    let Some(text) = &request.resolution.exclude_newer else {
        return Ok(ExcludeNewer::default());
    };
    text.parse()
        .map(ExcludeNewer::global)
        .context(Kind::Input, || {
            format!("`{text}` is no date for --exclude-newer")
        })
}

/// What hooks find in their environment beside what this process has: nothing that would make two
/// builds differ, and no packages from outside the build environment.
fn hook_environment(
    extra: &std::collections::BTreeMap<String, String>,
) -> Vec<(OsString, OsString)> {
    let fixed = [
        ("PYTHONHASHSEED", "0"),
        ("PYTHONIOENCODING", "utf-8:backslashreplace"),
        ("PYTHONNOUSERSITE", "1"),
        // What goes to the two streams comes in the order in which it was said.
        ("PYTHONUNBUFFERED", "1"),
        ("SOURCE_DATE_EPOCH", DEFAULT_EPOCH),
    ];
    fixed
        .into_iter()
        .chain(
            extra
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
