//! The sandbox of hooks: which paths and variables the hooks of a build have.
//!
//! The directory of a build is mounted at [`BUILD`], so that hooks see the same paths on every machine:
//!
//! | path | contents |
//! | --- | --- |
//! | `/build/environment` | the build environment |
//! | `/build/source` | the source tree, unless it is a copy of a local tree |
//! | `/build/wheels` | the directory for the wheel |
//! | `/build/home`, `/tmp` | empty directories |
//!
//! Without mount namespaces, the hooks use the paths outside.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use uv_python::Interpreter;
use wheelhouse_fs::remove::remove_all;
use wheelhouse_sandbox::{
    LayeredDirectory, Mechanism, NetworkRequests, PathAccess, PathMount, Profile, SandboxSupport,
    system_paths,
};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::request::{Building, SandboxMode, SandboxOptions};
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{Event, Kind, Observer, PackageName, Result};

use crate::python::interpreter_paths;

/// Where hooks see the directory of their build.
const BUILD: &str = "/build";

/// Where hooks see the source tree, with what is beside it.
const SOURCE: &str = "/build/source";

/// The sandboxes of a run.
pub(super) struct BuildSandboxes {
    options: SandboxOptions,
    /// The paths that all hooks can read.
    readable: Vec<PathBuf>,
    support: OnceLock<SandboxSupport>,
    observer: Arc<dyn Observer>,
}

/// The part of a sandbox that differs between the builds of a run.
pub(super) struct BuildSandboxRequest<'a> {
    pub(super) package: Option<&'a PackageName>,
    /// The directory for the files of the sandbox, which hooks cannot see.
    pub(super) outer: &'a Path,
    /// The directory that hooks see as [`BUILD`].
    pub(super) scratch: &'a Path,
    /// The directory that hooks see as [`SOURCE`], unless it is below `scratch` or a copy of `original`.
    pub(super) source: &'a Path,
    /// The local tree that `source` is a copy of.
    pub(super) original: Option<&'a Path>,
}

/// The sandbox of one build.
pub(super) struct BuildSandbox {
    profile: Profile,
    launcher: PathBuf,
    /// The directory for the profile and the report.
    outer: PathBuf,
    scratch: PathBuf,
    /// Variables besides those of the environment.
    variables: Vec<(OsString, OsString)>,
    /// The protections that are enforced, sorted.
    protections: Vec<Protection>,
    /// True if directories may have layers.
    has_layers: bool,
}

impl BuildSandboxes {
    pub(super) fn new(
        building: &Building,
        interpreter: &Interpreter,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let mut readable = system_paths::of_programs(
            building.environment.values(),
            interpreter_paths(interpreter),
            &building.sandbox.hidden,
        );
        readable.extend(building.sandbox.readable.iter().cloned());
        Self {
            options: building.sandbox.clone(),
            readable: readable.into_iter().collect(),
            support: OnceLock::new(),
            observer,
        }
    }

    /// Prepares the sandbox of a build. Returns `None` if hooks have none.
    ///
    /// # Errors
    /// If the machine does not permit what is required, or `outer` cannot be written.
    pub(super) fn prepare(
        &self,
        request: &BuildSandboxRequest<'_>,
    ) -> Result<Option<BuildSandbox>> {
        if self.options.mode == SandboxMode::Off {
            return Ok(None);
        }
        let support = self.support(request.outer)?;
        let failed = || "failed to prepare the sandbox".to_owned();
        let [staging, home, temporary] = [
            request.outer.join("root"),
            request.scratch.join("home"),
            request.scratch.join("tmp"),
        ];
        for directory in [&staging, &home, &temporary] {
            fs_err::create_dir_all(directory).context(Kind::Build, failed)?;
        }
        let network = request
            .package
            .is_some_and(|name| self.options.network.contains(name));
        let mut profile = Profile {
            mounts: self.mounts(request, &temporary),
            hidden: self
                .options
                .hidden
                .iter()
                .cloned()
                .chain(system_paths::secret())
                .collect(),
            staging,
            network,
            mechanism: support.mechanism,
            report: (!network).then(|| match support.mechanism {
                Mechanism::Namespaces => request.outer.join("network"),
                Mechanism::Landlock | Mechanism::None => request.scratch.join("network"),
            }),
            ..Profile::default()
        };
        profile.home = profile.inside(&home);
        let temporary = match profile.mechanism {
            Mechanism::Namespaces => PathBuf::from("/tmp"),
            Mechanism::Landlock | Mechanism::None => temporary,
        };
        let mut variables: Vec<(OsString, OsString)> = [
            ("HOME", profile.home.as_os_str()),
            ("TMPDIR", temporary.as_os_str()),
            ("USER", OsStr::new("build")),
            ("LOGNAME", OsStr::new("build")),
        ]
        .map(|(name, value)| (name.into(), value.to_owned()))
        .into();
        let of_network = network.then_some(&self.options.network_environment);
        let inherited = self
            .options
            .environment
            .iter()
            .chain(of_network.into_iter().flatten());
        variables.extend(inherited.map(|(name, value)| (name.into(), value.into())));
        let mut protections = support.protections.clone();
        protections.retain(|protection| !network || *protection != Protection::Network);
        Ok(Some(BuildSandbox {
            profile,
            launcher: self.options.launcher.clone(),
            outer: request.outer.to_owned(),
            scratch: request.scratch.to_owned(),
            variables,
            protections,
            has_layers: support.layers,
        }))
    }

    fn mounts(&self, request: &BuildSandboxRequest<'_>, temporary: &Path) -> Vec<PathMount> {
        let mount = |inside: &str, outside: &Path| PathMount {
            inside: inside.into(),
            outside: outside.to_owned(),
            access: PathAccess::Write,
        };
        let readable = self
            .readable
            .iter()
            .map(PathBuf::as_path)
            .chain(request.original);
        let writable = request
            .package
            .and_then(|name| self.options.writable.get(name));
        let mut mounts: Vec<PathMount> = readable
            .map(|path| PathMount::same(path, PathAccess::Read))
            .collect();
        mounts.extend([
            mount(BUILD, request.scratch),
            mount("/tmp", temporary),
            mount("/var/tmp", temporary),
        ]);
        if request.original.is_some() {
            mounts.push(PathMount::same(request.source, PathAccess::Write));
        } else if !request.source.starts_with(request.scratch) {
            mounts.push(mount(SOURCE, request.source));
        }
        let writable = writable.into_iter().flatten();
        mounts.extend(writable.map(|path| PathMount::same(path, PathAccess::Write)));
        mounts
    }

    /// Returns what this machine can enforce, and warns once of what it cannot.
    fn support(&self, scratch: &Path) -> Result<&SandboxSupport> {
        let mut is_new = false;
        let support = self.support.get_or_init(|| {
            is_new = true;
            SandboxSupport::probe(&self.options.launcher, scratch)
        });
        if let Some(shortfall) = support.shortfall(self.options.mode)?
            && is_new
        {
            let message = format!("builds are sandboxed in part; not protected: {shortfall}");
            self.observer.observe(&Event::warning(message));
        }
        Ok(support)
    }
}

impl BuildSandbox {
    /// Lets hooks read `paths`.
    pub(super) fn add_readable(&mut self, paths: Vec<PathBuf>) {
        let mounts = paths
            .into_iter()
            .map(|path| PathMount::same(path, PathAccess::Read));
        self.profile.mounts.extend(mounts);
    }

    /// Lets hooks see the files of `layer` in `directory`, too, so that they need not be copied. Returns false if that is not
    /// possible.
    pub(super) fn add_layer(&mut self, directory: &Path, layer: &Path) -> bool {
        if !self.has_layers || !self.is_without_links(directory) {
            return false;
        }
        let layered = &mut self.profile.layered;
        let number = layered.len();
        let known = layered.iter_mut().find(|known| known.upper == directory);
        if let Some(known) = known {
            return known.add(layer);
        }
        let mut new = LayeredDirectory {
            inside: self.profile.inside(directory),
            upper: directory.to_owned(),
            layers: Vec::new(),
            work: self.outer.join(format!("work-{number}")),
        };
        let is_added = new.add(layer);
        if is_added {
            self.profile.layered.push(new);
        }
        is_added
    }

    /// Returns whether no part of `directory` below that of the build is a symbolic link.
    fn is_without_links(&self, directory: &Path) -> bool {
        let (real, scratch) = (
            fs_err::canonicalize(directory),
            fs_err::canonicalize(&self.scratch),
        );
        match (real, scratch, directory.strip_prefix(&self.scratch)) {
            (Ok(real), Ok(scratch), Ok(below)) => real == scratch.join(below),
            _ => false,
        }
    }

    /// Removes all layers.
    pub(super) fn remove_layers(&mut self) {
        self.profile.layered.clear();
    }

    /// Returns where hooks see `path`.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        self.profile.inside(path)
    }

    /// Replaces the directory of the build in `value` by that which hooks see.
    pub(super) fn inside_text(&self, value: &OsStr) -> OsString {
        match (value.to_str(), self.scratch.to_str()) {
            (Some(text), Some(scratch)) => {
                let inside = self.inside(&self.scratch);
                text.replace(scratch, &inside.to_string_lossy()).into()
            }
            _ => value.to_owned(),
        }
    }

    /// Returns the launcher and its arguments for a program in `directory`, which can write `wheels` too.
    ///
    /// # Errors
    /// If the profile cannot be written.
    pub(super) fn launcher(
        &self,
        directory: &Path,
        wheels: Option<&Path>,
    ) -> std::io::Result<(&Path, Vec<OsString>)> {
        let mut profile = self.profile.clone();
        profile.mounts.extend(wheels.map(wheels_mount));
        profile.directory = profile.inside(directory);
        for layered in &profile.layered {
            remove_all(&layered.work)?;
            fs_err::create_dir(&layered.work)?;
        }
        let words = profile.launcher_words(&self.outer.join("profile.json"))?;
        Ok((&self.launcher, words))
    }

    pub(super) fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    pub(super) fn protections(&self) -> &[Protection] {
        &self.protections
    }

    /// Returns the file in which hooks themselves record hosts: without a network namespace, the sandbox sees none.
    pub(super) fn hook_report(&self) -> Option<&Path> {
        let has_namespace = self.profile.mechanism == Mechanism::Namespaces;
        self.profile.report.as_deref().filter(|_| !has_namespace)
    }

    /// Returns the hosts that hooks looked up, without getting an address.
    pub(super) fn network_requests(&self) -> NetworkRequests {
        self.profile
            .report
            .as_deref()
            .map(NetworkRequests::read)
            .unwrap_or_default()
    }

    /// Returns where hooks see the directory `wheels` for the wheel.
    pub(super) fn wheels_inside(&self, wheels: &Path) -> PathBuf {
        match self.profile.mechanism {
            Mechanism::Namespaces => wheels_mount(wheels).inside,
            Mechanism::Landlock | Mechanism::None => wheels.to_owned(),
        }
    }
}

fn wheels_mount(wheels: &Path) -> PathMount {
    PathMount {
        inside: Path::new(BUILD).join("wheels"),
        outside: wheels.to_owned(),
        access: PathAccess::Write,
    }
}
