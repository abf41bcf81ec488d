//! Checks that pip installs the requirements from the directory alone, into a temporary environment.
//!
//! The pip of the interpreter is used if it can install into another environment, otherwise the pip that the
//! interpreter installs into new environments. Nothing is installed for the user.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use walkdir::WalkDir;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result, Target, Version};

use super::super::report::{Check, CheckBuilder, CheckName, Finding};
use super::super::requirements::RequiredPackages;
use super::super::sandbox::{ProgramOutput, Sandbox};

/// The limit for creating an environment, and for queries to pip.
const SHORT: Duration = Duration::from_mins(5);
/// The limit for an installation, which may include builds.
const LONG: Duration = Duration::from_hours(1);

/// The arguments of pip before the directory.
const INSTALL: [&str; 6] = [
    "install",
    "--isolated",
    "--disable-pip-version-check",
    "--no-cache-dir",
    "--no-index",
    "--find-links",
];

/// The first version of pip that can install into the environment of another Python.
const PYTHON_OPTION: [u64; 2] = [22, 3];

/// The first version of pip that supports all platform tags (PEP 600).
const PLATFORM_TAGS: [u64; 2] = [20, 3];

/// The first version of pip that ignores legacy sdist formats in a directory.
const NO_LEGACY_SDISTS: [u64; 1] = [24];

/// The installation of requirements into a temporary environment.
pub(crate) struct PipInstallation<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) required: &'a RequiredPackages,
    pub(crate) target: &'a Target,
    /// Source distributions that pip 24 and newer ignore in this directory.
    pub(crate) ignored_sdists: Vec<&'a str>,
    /// A directory for the environment and other temporary files.
    pub(crate) scratch: &'a Path,
    pub(crate) sandbox: &'a Sandbox,
}

/// An environment with installed distributions.
pub(crate) struct InstalledEnvironment {
    pub(crate) python: PathBuf,
    /// The `dist-info` directories of the installed distributions.
    pub(crate) distributions: Vec<PathBuf>,
}

/// An environment without the requirements, and the command of a pip that installs into it.
struct PipEnvironment {
    root: PathBuf,
    pip: Vec<OsString>,
}

impl PipInstallation<'_> {
    /// Installs the requirements and runs `pip check`. Returns the environment if the check passes.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub(crate) async fn check(&self) -> Result<(Check, Option<InstalledEnvironment>)> {
        match self.attempt().await {
            // A program failed to start, or exceeded its limit.
            Err(error) if error.kind() == Kind::Verification => {
                let mut check = CheckBuilder::new(CheckName::Installation)
                    .target(&self.required.label(self.target));
                check.fail(Finding::new("pip", error.display_chain()));
                Ok((check.finish(), None))
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self) -> Result<(Check, Option<InstalledEnvironment>)> {
        let mut check =
            CheckBuilder::new(CheckName::Installation).target(&self.required.label(self.target));
        let (requirements, constraints) = self.required.files();
        if requirements.is_empty() {
            return Ok((check.skipped("there is nothing to install"), None));
        }
        let fresh = match self.environment().await? {
            Ok(fresh) => fresh,
            Err(reason) => return Ok((check.skipped(reason), None)),
        };
        if !self.sandbox.is_offline() {
            let message =
                "used no index, but had network access: it ran without a sandbox that prevents it";
            check.warn(Finding::new("pip", message));
        }
        let before = distributions(&fresh.root);
        self.install(&fresh, &requirements, &constraints, &mut check)
            .await?;
        let mut after = distributions(&fresh.root);
        after.retain(|path| !before.contains(path));
        check.count(after.len(), "package");
        let installed = (!check.has_failed()).then(|| InstalledEnvironment {
            python: python_of(&fresh.root),
            distributions: after.into_iter().collect(),
        });
        Ok((check.finish(), installed))
    }

    async fn install(
        &self,
        fresh: &PipEnvironment,
        requirements: &str,
        constraints: &str,
        check: &mut CheckBuilder,
    ) -> Result<()> {
        let mut command = fresh.pip.clone();
        command.extend(INSTALL.map(OsString::from));
        command.push(self.directory.into());
        for (option, name, text) in [
            ("--requirement", "requirements.txt", requirements),
            ("--constraint", "constraints.txt", constraints),
        ] {
            let path = self.scratch.join(name);
            let written = fs_err::write(&path, text);
            written.context(Kind::Publish, || {
                "failed to write a temporary file".to_owned()
            })?;
            command.extend([option.into(), path.into()]);
        }
        let output = self.sandbox.run(&command, LONG).await?;
        if output.status.success() {
            return self.pip_check(fresh, check).await;
        }
        report_errors(&output, check);
        self.report_age(fresh, check).await
    }

    /// Warns if the version of pip may be the reason of a failure.
    async fn report_age(&self, fresh: &PipEnvironment, check: &mut CheckBuilder) -> Result<()> {
        let version = self.pip_version(&fresh.pip).await?;
        if let Some(version) = version
            .as_ref()
            .filter(|version| *version.release() < PLATFORM_TAGS[..])
        {
            let message = format!("is {version}, which does not support the newer platform tags");
            check.warn(Finding::new("pip", message));
        }
        let ignores_sdists =
            version.is_some_and(|version| *version.release() >= NO_LEGACY_SDISTS[..]);
        if ignores_sdists && !self.ignored_sdists.is_empty() {
            let message = format!(
                "24 and newer accept only `.tar.gz` and `.zip` in a directory, and ignore {}",
                self.ignored_sdists.join(", ")
            );
            let hint = "Make the directory with `wheelhouse download`, which adds a page that lists them for pip, or use pip 23.3.";
            check.warn(Finding::new("pip", message).hint(hint));
        }
        Ok(())
    }

    async fn pip_check(&self, fresh: &PipEnvironment, check: &mut CheckBuilder) -> Result<()> {
        let mut command = fresh.pip.clone();
        command.extend(["check".into(), "--disable-pip-version-check".into()]);
        let output = self.sandbox.run(&command, SHORT).await?;
        if !output.status.success() {
            let lines = output.text.lines().filter(|line| !line.trim().is_empty());
            for line in lines.filter(|line| !line.starts_with("WARNING")) {
                check.fail(Finding::new("pip check", format!("reports: {line}")));
            }
            if !check.has_failed() {
                let message = format!("exited with {}", output.status);
                check.fail(Finding::new("pip check", message));
            }
        }
        Ok(())
    }

    /// Creates an environment with a pip for it. Returns the reason if that is not possible.
    async fn environment(&self) -> Result<std::result::Result<PipEnvironment, String>> {
        let Some(python) = &self.target.interpreter else {
            return Ok(Err("no Python of the target was found".to_owned()));
        };
        let root = self.scratch.join("environment");
        let python = python.clone().into_os_string();
        let is_old = self.target.python_version.starts_with("2.");
        let module = if is_old { "virtualenv" } else { "venv" };
        let mut venv = vec![
            python.clone(),
            "-m".into(),
            module.into(),
            root.clone().into(),
        ];
        let mut pip = vec![python_of(&root).into(), "-m".into(), "pip".into()];
        if self.has_python_option(&python).await? {
            venv.push("--without-pip".into());
            pip = vec![python, "-m".into(), "pip".into(), "--python".into()];
            pip.push(python_of(&root).into());
        }
        let output = self.sandbox.run(&venv, SHORT).await?;
        if output.status.success() {
            return Ok(Ok(PipEnvironment { root, pip }));
        }
        let last = output.text.lines().rfind(|line| !line.trim().is_empty());
        let label = self.target.label();
        Ok(Err(format!(
            "{label} cannot create an environment with pip (install its {module} module, or pip 22.3 or newer): {}",
            last.unwrap_or_default()
        )))
    }

    /// Returns whether the pip of `python` can install into the environment of another Python.
    async fn has_python_option(&self, python: &OsString) -> Result<bool> {
        let pip = [python.clone(), "-m".into(), "pip".into()];
        let version = self.pip_version(&pip).await?;
        Ok(version.is_some_and(|version| *version.release() >= PYTHON_OPTION[..]))
    }

    /// Returns the version of the pip that the command `pip` runs.
    async fn pip_version(&self, pip: &[OsString]) -> Result<Option<Version>> {
        let command = [pip, &["--version".into()]].concat();
        let output = self.sandbox.run(&command, SHORT).await?;
        let version = output.text.split_whitespace().nth(1);
        let version = version.and_then(|version| version.parse().ok());
        Ok(version.filter(|_| output.status.success()))
    }
}

fn python_of(root: &Path) -> PathBuf {
    root.join("bin").join("python")
}

/// Returns the `dist-info` directories of an environment.
fn distributions(root: &Path) -> BTreeSet<PathBuf> {
    let entries = WalkDir::new(root).max_depth(4).into_iter().flatten();
    let paths = entries.filter(|entry| entry.file_type().is_dir());
    paths
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|end| end == "dist-info"))
        .collect()
}

/// Reports the errors of pip, or else its exit status. The first finding has the end of the output.
fn report_errors(output: &ProgramOutput, check: &mut CheckBuilder) {
    let errors = output
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("ERROR: "));
    let mut errors: Vec<String> = errors.map(|error| format!("reports: {error}")).collect();
    if errors.is_empty() {
        errors.push(format!("exited with {}", output.status));
    }
    for (position, error) in errors.into_iter().enumerate() {
        let finding = Finding::new("pip install", error);
        let detail = if position == 0 {
            output.tail()
        } else {
            String::new()
        };
        check.fail(finding.detail(detail));
    }
}
