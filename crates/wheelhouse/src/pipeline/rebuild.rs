//! Rebuilds the built wheels of a wheelhouse, and compares them with the originals bit by bit.
//!
//! Each wheel is a run of its own, with a request for its recorded source alone, and with the recorded build requirements
//! pinned as a lock pins them. The files that the run needs are taken from the cache and the wheelhouse; the index is asked for
//! those that are missing, by digest. The builds have an empty cache at another path, and other surroundings
//! ([`Building::is_varied`](wheelhouse_types::request::Building::is_varied)).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use serde_json::Value;
use tracing::{debug, instrument};
use url::Url;
use wheelhouse_archive::{Limits, WheelDifference, compare_wheels};
use wheelhouse_fs::digest;
use wheelhouse_fs::interruption::blocking;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_shared_cache::SharedCaches;
use wheelhouse_store::{LinkMode, LinkOptions, Lookup, Store};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::{Build, Pin};
use wheelhouse_types::manifest::{MANIFEST_NAME, Wheel};
use wheelhouse_types::provenance::{BuildInputs, InputFile};
use wheelhouse_types::request::{
    Formats, HashPolicy, Indexes, Prereleases, Requirement, Resolution,
};
use wheelhouse_types::{
    Error, Event, Kind, LockedCrate, Manifest, Observer, Origin, PackageName, Request, Result,
    Sha256, WheelFilename,
};

use super::build::{self, BuildJob};
use super::context::RunInputs;
use super::lock_policy::LockPolicy;

/// The wheels to rebuild.
pub struct RebuildJob {
    /// The Python, the cache, and the request that the indexes and network settings are taken from.
    pub inputs: RunInputs,
    /// The directory with the wheels, `sdists` and the manifest.
    pub directory: PathBuf,
    /// The wheels of the manifest that were built.
    pub wheels: Vec<Wheel>,
    /// The directory for the rebuilt wheels that differ, which is created if there are any.
    pub output: PathBuf,
    /// Called when the work on a wheel begins, and with its result.
    pub progress: Arc<dyn Fn(RebuildProgress<'_>) + Send + Sync>,
}

/// The progress of a rebuild.
pub enum RebuildProgress<'a> {
    /// A build begins; the file name of its wheel.
    Started(&'a str),
    /// A wheel was compared.
    Finished(&'a RebuiltWheel),
}

/// The result for one wheel.
#[derive(Clone, Debug, Serialize)]
pub struct RebuiltWheel {
    /// The file name of the original.
    pub filename: String,
    /// The comparison.
    #[serde(flatten)]
    pub outcome: RebuildOutcome,
}

/// The result of rebuilding a wheel.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RebuildOutcome {
    /// The wheels are the same, bit by bit.
    Identical,
    /// The wheels differ.
    Different {
        /// The differences. Empty if the archives differ in a way that is not recognized.
        differences: Vec<WheelDifference>,
        /// The path of the rebuilt wheel.
        rebuilt: PathBuf,
    },
    /// The wheel could not be built again.
    Failed {
        /// The reason.
        reason: String,
        /// The end of the output of the build.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The manifest does not have what is needed, or the original is missing.
    NotChecked {
        /// The reason.
        reason: String,
    },
}

/// Rebuilds the wheels of `job`. Returns the results in the order of the wheels.
///
/// # Errors
/// When no temporary directory can be created, or the run is interrupted. A failed build is a result.
#[instrument(name = "rebuild", skip_all, fields(wheels = job.wheels.len()))]
pub async fn rebuild(job: RebuildJob) -> Result<Vec<RebuiltWheel>> {
    let scratch = Scratch::new()?;
    let store = Store::open(scratch.path().join("store"))?;
    let jobs = job.inputs.request.building.jobs.max(1);
    let wheels = stream::iter(job.wheels.iter().enumerate()).map(async |(number, wheel)| {
        (job.progress)(RebuildProgress::Started(&wheel.filename));
        let place = scratch.path().join(number.to_string());
        let outcome = match Box::pin(job.rebuild_wheel(wheel, &place, &store)).await {
            Ok(outcome) => outcome,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => RebuildOutcome::Failed {
                reason: error.display_chain(),
                detail: error.detail().map(str::to_owned),
            },
        };
        let rebuilt = RebuiltWheel {
            filename: wheel.filename.clone(),
            outcome,
        };
        // The rest is removed at the end. All sources of a large set take much space.
        let _ = blocking(move || Ok(fs_err::remove_dir_all(place))).await?;
        (job.progress)(RebuildProgress::Finished(&rebuilt));
        Ok((number, rebuilt))
    });
    let results: Vec<Result<_>> = wheels.buffer_unordered(jobs).collect().await;
    let mut results = results.into_iter().collect::<Result<Vec<_>>>()?;
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, rebuilt)| rebuilt).collect())
}

/// A wheel that can be rebuilt.
struct Recipe<'a> {
    wheel: &'a Wheel,
    name: PackageName,
    inputs: &'a BuildInputs,
}

impl<'a> Recipe<'a> {
    /// Finds what the manifest records of the build of `wheel`. Returns a reason if that is not enough.
    fn of(wheel: &'a Wheel) -> Result<Self, String> {
        let built = wheel.built.as_ref();
        let Some(inputs) = built.and_then(|built| built.inputs.as_deref()) else {
            return Err("the manifest does not record what its build used".to_owned());
        };
        let is_repository = wheel.source.starts_with("git+");
        if inputs.sdist.is_none() && !is_repository {
            return Err(format!("it was built from the local tree {}", wheel.source));
        }
        let invalid = |_| format!("its name `{}` is not valid", wheel.name.escape_debug());
        Ok(Self {
            wheel,
            name: PackageName::from_str(&wheel.name).map_err(invalid)?,
            inputs,
        })
    }

    /// Returns the requirement for the source; `files` are those that are at hand.
    fn requirement(&self, files: &CollectedFiles) -> Result<Requirement> {
        let Wheel {
            source, version, ..
        } = self.wheel;
        let name = &self.name;
        let sdist = self.inputs.sdist.as_ref();
        let at_hand = sdist.and_then(|sdist| files.paths.get(&sdist.sha256));
        let text = match at_hand {
            Some(path) => {
                let url = Url::from_file_path(path).map_err(|()| {
                    Error::new(Kind::Input, format!("{} is not absolute", path.display()))
                })?;
                format!("{name} @ {url}")
            }
            None if self.wheel.origin == Origin::Direct => format!("{name} @ {source}"),
            None => format!("{name}=={version}"),
        };
        Ok(Requirement {
            text,
            hashes: sdist
                .map(|sdist| format!("sha256:{}", sdist.sha256))
                .into_iter()
                .collect(),
            origin: MANIFEST_NAME.to_owned(),
            base: files.directory.clone(),
            ..Requirement::default()
        })
    }

    /// Returns the pinned build requirements of the wheel, and of those that are built themselves.
    fn builds(&self) -> Result<Vec<Build>> {
        let (filename, inputs) = (&self.wheel.filename, self.inputs);
        let mut builds = Vec::new();
        add_builds(filename, &inputs.requirements, &inputs.crates, &mut builds)?;
        Ok(builds)
    }

    /// Returns the settings of the build backend as options are.
    fn settings(&self) -> Vec<(String, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let pairs = self.inputs.settings.iter().flat_map(|(key, value)| {
            let values = match value {
                Value::Array(values) => values.iter().map(text).collect(),
                value => vec![text(value)],
            };
            values.into_iter().map(|value| (key.clone(), value))
        });
        pairs.collect()
    }

    fn request(&self, template: &Request, files: &CollectedFiles) -> Result<Request> {
        let mut building = template.building.clone();
        let path = building.environment.remove_entry("PATH");
        building.environment = self.inputs.environment.clone();
        building.environment.extend(path);
        building.config_settings = Vec::new();
        building.package_settings = BTreeMap::from([(self.name.clone(), self.settings())]);
        building.isolated = true;
        building.is_varied = true;
        building.jobs = 1;
        let mut find_links = template.indexes.find_links.clone();
        find_links.insert(0, files.directory.display().to_string());
        Ok(Request {
            requirements: vec![self.requirement(files)?],
            builds: self.builds()?,
            python: template.python.clone(),
            indexes: if files.is_complete {
                Indexes {
                    find_links: vec![files.directory.display().to_string()],
                    no_index: true,
                    ..Indexes::default()
                }
            } else {
                Indexes {
                    find_links,
                    ..template.indexes.clone()
                }
            },
            formats: Formats::default(),
            network: template.network.clone(),
            resolution: Resolution {
                prereleases: Prereleases {
                    others: Some(true),
                    ..Prereleases::default()
                },
                no_dependencies: true,
                hashes: HashPolicy::Optional,
                ..Resolution::default()
            },
            building,
            ..Request::default()
        })
    }
}

/// Adds the pins for the build of the wheel `filename` with `requirements` and `crates` to `builds`, and those of its requirements.
fn add_builds(
    filename: &str,
    requirements: &[InputFile],
    crates: &[LockedCrate],
    builds: &mut Vec<Build>,
) -> Result<()> {
    let parse = |filename: &str| {
        let invalid = || format!("`{}` is not the name of a wheel", filename.escape_debug());
        WheelFilename::from_str(filename).context(Kind::Input, invalid)
    };
    let wheel = parse(filename)?;
    let known = builds.iter();
    let mut known = known.map(|build| (&build.name, &build.version));
    if known.any(|known| known == (&wheel.name, &wheel.version)) {
        return Ok(());
    }
    let mut closure = Vec::new();
    for input in requirements {
        let required = parse(&input.filename)?;
        let digests = [Some(input.sha256), input.built_from];
        let digests = digests.into_iter().flatten();
        closure.push(Pin {
            requirement: format!("{}=={}", required.name, required.version),
            hashes: digests.map(|sha256| format!("sha256:{sha256}")).collect(),
        });
    }
    closure.sort();
    builds.push(Build {
        name: wheel.name,
        version: wheel.version,
        requires: Vec::new(),
        crates: crates.to_vec(),
        closure,
    });
    let built = requirements
        .iter()
        .filter(|input| input.built_from.is_some());
    for input in built {
        add_builds(&input.filename, &input.requirements, &input.crates, builds)?;
    }
    Ok(())
}

/// The files that a run needs, in a directory for `--find-links`.
struct CollectedFiles {
    directory: PathBuf,
    /// The paths by digest.
    paths: BTreeMap<Sha256, PathBuf>,
    /// True if no file is missing, so that no index is needed.
    is_complete: bool,
}

impl CollectedFiles {
    /// Links the files of `inputs`, as a download has them, that `store` or the wheelhouse has into `directory`; `published` are the files of the
    /// wheelhouse by digest.
    fn collect(
        inputs: &BuildInputs,
        directory: PathBuf,
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<Self> {
        let failed = || format!("failed to create {}", directory.display());
        fs_err::create_dir_all(&directory).context(Kind::Publish, failed)?;
        let mut files = Self {
            directory,
            paths: BTreeMap::new(),
            is_complete: true,
        };
        let all = inputs.sdist.iter().chain(&inputs.requirements);
        for input in all {
            files.is_complete &= files.add_input(input, store, published)?;
        }
        files.is_complete &= files.add_crates(&inputs.crates, store, published)?;
        files.is_complete &= inputs.sdist.is_some();
        Ok(files)
    }

    /// Adds the files of `crates`. Returns whether none is missing.
    fn add_crates(
        &mut self,
        crates: &[LockedCrate],
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<bool> {
        let mut is_complete = true;
        for locked in crates {
            let path = wheelhouse_cargo::download_path(locked);
            is_complete &= match locked.sha256 {
                Some(sha256) => self.add(&path, sha256, store, published)?,
                None => false,
            };
        }
        Ok(is_complete)
    }

    /// Adds a file, or the sdist that it is built from with what that build needs. Returns whether it is certain that nothing is
    /// missing.
    fn add_input(
        &mut self,
        input: &InputFile,
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<bool> {
        if self.add(Path::new(&input.filename), input.sha256, store, published)? {
            return Ok(true);
        }
        let Some(sdist) = input.built_from else {
            return Ok(false);
        };
        let filename = file_name(&input.source);
        let mut is_complete = self.add(Path::new(filename), sdist, store, published)?;
        for requirement in &input.requirements {
            is_complete &= self.add_input(requirement, store, published)?;
        }
        is_complete &= self.add_crates(&input.crates, store, published)?;
        // Earlier versions did not record the crates of a build requirement.
        Ok(is_complete && !input.crates.is_empty())
    }

    fn add(
        &mut self,
        name: &Path,
        sha256: Sha256,
        store: &Store,
        published: &BTreeMap<Sha256, PathBuf>,
    ) -> Result<bool> {
        if self.paths.contains_key(&sha256) {
            return Ok(true);
        }
        // The manifest may name anything.
        let mut parts = name.components();
        let is_inside = parts.all(|part| matches!(part, Component::Normal(_)));
        let path = self.directory.join(name);
        if !is_inside || path == self.directory || path.exists() {
            return Ok(false);
        }
        if let Some(parent) = path.parent() {
            let failed = || format!("failed to create {}", parent.display());
            fs_err::create_dir_all(parent).context(Kind::Publish, failed)?;
        }
        if let Lookup::Hit(stored) = store.find(&sha256)? {
            let options = LinkOptions {
                mode: LinkMode::Auto,
                linked_before: false,
            };
            store.link(&stored, &path, options)?;
        } else if let Some(published) = published.get(&sha256) {
            let failed = || format!("failed to copy {}", published.display());
            fs_err::copy(published, &path).context(Kind::Fetch, failed)?;
        } else {
            return Ok(false);
        }
        self.paths.insert(sha256, path);
        Ok(true)
    }
}

/// Returns the last component of a URL or path.
fn file_name(source: &str) -> &str {
    let path = source.split(['#', '?']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

impl RebuildJob {
    async fn rebuild_wheel(
        &self,
        wheel: &Wheel,
        place: &Path,
        store: &Store,
    ) -> Result<RebuildOutcome> {
        let not_checked = |reason: String| Ok(RebuildOutcome::NotChecked { reason });
        let recipe = match Recipe::of(wheel) {
            Ok(recipe) => recipe,
            Err(reason) => return not_checked(reason),
        };
        let original = self.directory.join(&wheel.filename);
        let (path, expected) = (original.clone(), wheel.sha256);
        let is_intact = blocking(move || {
            let digest = fs_err::File::open(path).and_then(|mut file| digest::sha256(&mut file));
            Ok(digest.is_ok_and(|(sha256, _)| sha256 == expected))
        });
        if !is_intact.await? {
            return not_checked("the file is missing or is not that of the manifest".to_owned());
        }
        let published = self.published();
        let (inputs, cache) = (recipe.inputs.clone(), self.inputs.store.clone());
        let directory = place.join("files");
        let collecting = move || CollectedFiles::collect(&inputs, directory, &cache, &published);
        let files = blocking(collecting).await?;
        debug!(
            filename = wheel.filename,
            files = files.paths.len(),
            complete = files.is_complete,
            "rebuilding a wheel"
        );
        let output = place.join("wheelhouse");
        let job = BuildJob {
            inputs: RunInputs {
                request: recipe.request(&self.inputs.request, &files)?,
                python: self.inputs.python.clone(),
                store: store.clone(),
                lock_policy: LockPolicy::Prefer,
                keep_going: false,
                // A wheel from there would not show that a build is reproducible.
                shared: Arc::new(SharedCaches::none()),
                farm: self.inputs.farm.clone(),
            },
            additional_sets: Vec::new(),
            output: output.clone(),
            platform: None,
            warn_new_systems: false,
            link_mode: LinkMode::Copy,
            attestations: false,
        };
        Box::pin(build::build(job, Arc::new(Unobserved))).await?;
        let bytes = wheelhouse_fs::input::read(&output.join(MANIFEST_NAME));
        let manifest = bytes.context(Kind::Build, || "the build published nothing".to_owned())?;
        let manifest = Manifest::parse(&manifest)
            .context(Kind::Build, || "the build published no manifest".to_owned())?;
        let [rebuilt] = &manifest.wheels[..] else {
            return Err(Error::new(
                Kind::Build,
                "the build published several wheels",
            ));
        };
        if rebuilt.sha256 == wheel.sha256 {
            return Ok(RebuildOutcome::Identical);
        }
        let python = |wheel: &Wheel| wheel.built.as_ref().map(|built| built.python.clone());
        let (before, now) = (python(wheel), python(rebuilt));
        if before != now {
            let (before, now) = (before.unwrap_or_default(), now.unwrap_or_default());
            return not_checked(format!("it was built by {before}, and this is {now}"));
        }
        let kept = self.output.join(&rebuilt.filename);
        let path = output.join(&rebuilt.filename);
        let comparing = move || {
            let differences = compare_wheels(&original, &path, &Limits::default())?;
            let failed = || format!("failed to write {}", kept.display());
            let directory = kept.parent().unwrap_or(Path::new(""));
            fs_err::create_dir_all(directory).context(Kind::Publish, failed)?;
            fs_err::copy(&path, &kept).context(Kind::Publish, failed)?;
            Ok(RebuildOutcome::Different {
                differences,
                rebuilt: kept,
            })
        };
        blocking(comparing).await
    }

    /// Returns the files of the wheelhouse by digest.
    fn published(&self) -> BTreeMap<Sha256, PathBuf> {
        let bytes = wheelhouse_fs::input::read(&self.directory.join(MANIFEST_NAME));
        let manifest = bytes.ok().and_then(|bytes| Manifest::parse(&bytes).ok());
        let manifest = manifest.unwrap_or_default();
        let files = manifest.distributions();
        files
            .map(|file| (file.sha256, self.directory.join(file.filename)))
            .collect()
    }
}

/// Ignores all events.
struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _event: &Event) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(filename: &str, requirements: Vec<InputFile>) -> InputFile {
        InputFile {
            filename: filename.to_owned(),
            sha256: Sha256::of(filename.as_bytes()),
            source: format!("https://index.example/{filename}"),
            built_from: (!requirements.is_empty()).then(|| Sha256::of(b"sdist")),
            requirements,
            crates: Vec::new(),
        }
    }

    #[test]
    fn pins_requirements_of_built_requirements() {
        let backend = input("flit_core-3.9.0-py3-none-any.whl", Vec::new());
        let mut built = input("wheel-0.43.0-py3-none-any.whl", vec![backend]);
        let locked = |name: &str| LockedCrate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            source: "registry+https://index.example".to_owned(),
            sha256: Some(Sha256::of(name.as_bytes())),
        };
        built.crates = vec![locked("nested")];
        let mut builds = Vec::new();
        add_builds(
            "a-1.0-py3-none-any.whl",
            &[built],
            &[locked("own")],
            &mut builds,
        )
        .unwrap();
        let crates = builds.iter().map(|build| build.crates.clone());
        assert_eq!(
            crates.collect::<Vec<_>>(),
            [vec![locked("own")], vec![locked("nested")]]
        );
        let pins: Vec<_> = builds
            .iter()
            .map(|build| {
                let pins = build.closure.iter();
                let pins: Vec<_> = pins
                    .map(|pin| (pin.requirement.as_str(), pin.hashes.len()))
                    .collect();
                (build.name.to_string(), pins)
            })
            .collect();
        assert_eq!(
            pins,
            [
                ("a".to_owned(), vec![("wheel==0.43.0", 2)]),
                ("wheel".to_owned(), vec![("flit-core==3.9.0", 1)]),
            ]
        );
    }

    #[test]
    fn file_name_is_the_last_component() {
        assert_eq!(
            file_name("https://a.example/b/c-1.tar.gz#sha256=0"),
            "c-1.tar.gz"
        );
        assert_eq!(file_name("/a/c-1.tar.gz"), "c-1.tar.gz");
    }
}
