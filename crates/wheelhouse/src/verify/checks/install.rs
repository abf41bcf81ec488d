//! Installability: pip itself installs from the directory alone, into an environment of its own.
//!
//! The Python's own pip does it if it can install for another environment; else the one that
//! Python brings along for new environments. Never installs anything for the user.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use walkdir::WalkDir;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result, Target, Version};

use super::super::report::{Check, Examination, Finding, Name};
use super::super::requirements::Wanted;
use super::super::sandbox::{Ended, Surroundings};

/// Making an environment, and asking pip, takes no longer.
const SHORT: Duration = Duration::from_mins(5);
/// Installing takes no longer; it may have to build.
const LONG: Duration = Duration::from_hours(1);

/// How pip installs; the directory follows.
const INSTALL: [&str; 6] = [
    "install",
    "--isolated",
    "--disable-pip-version-check",
    "--no-cache-dir",
    "--no-index",
    "--find-links",
];

/// The first version of pip that can install for another Python.
const FOR_ANOTHER: [u64; 2] = [22, 3];

/// The first version of pip that knows all platform tags (PEP 600).
const KNOWING: [u64; 2] = [20, 3];

/// The first version of pip that takes only the formats of today from a directory.
const NARROW: [u64; 1] = [24];

/// What is to be installed, and where.
pub(crate) struct Installation<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) wanted: &'a Wanted,
    pub(crate) target: &'a Target,
    /// Source distributions that pip 24 and newer pass over in this directory, unless a page there lists them.
    pub(crate) unseen: Vec<&'a str>,
    /// A directory for the environment and all that goes with it.
    pub(crate) scratch: &'a Path,
    pub(crate) surroundings: &'a Surroundings,
}

/// An environment that something was installed into.
pub(crate) struct Installed {
    pub(crate) python: PathBuf,
    /// The `dist-info` directories of what was installed.
    pub(crate) distributions: Vec<PathBuf>,
}

/// An environment, and the command of a pip that installs into it.
struct Fresh {
    root: PathBuf,
    pip: Vec<OsString>,
}

impl Installation<'_> {
    /// Installs, and has pip check what it installed. The environment is returned if all went well.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub(crate) async fn check(&self) -> Result<(Check, Option<Installed>)> {
        match self.attempt().await {
            // A program did not start, or did not end.
            Err(error) if error.kind() == Kind::Verification => {
                let mut check =
                    Examination::of(Name::Installation).target(&self.wanted.label(self.target));
                check.fail(Finding::new("pip", error.sentence()));
                Ok((check.finish(), None))
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self) -> Result<(Check, Option<Installed>)> {
        let mut check = Examination::of(Name::Installation).target(&self.wanted.label(self.target));
        let (requirements, constraints) = self.wanted.files();
        if requirements.is_empty() {
            return Ok((check.left_out("there is nothing to install"), None));
        }
        let fresh = match self.environment().await? {
            Ok(fresh) => fresh,
            Err(reason) => return Ok((check.left_out(reason), None)),
        };
        if !self.surroundings.is_cut_off() {
            let message = "was told to use no index, but was not kept from the network: network \
                           namespaces are not permitted here";
            check.warn(Finding::new("pip", message));
        }
        let before = distributions(&fresh.root);
        self.install(&fresh, &requirements, &constraints, &mut check)
            .await?;
        let mut after = distributions(&fresh.root);
        after.retain(|path| !before.contains(path));
        check.count(after.len(), "package");
        let installed = (!check.has_failed()).then(|| Installed {
            python: python_of(&fresh.root),
            distributions: after.into_iter().collect(),
        });
        Ok((check.finish(), installed))
    }

    async fn install(
        &self,
        fresh: &Fresh,
        requirements: &str,
        constraints: &str,
        check: &mut Examination,
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
        let ended = self.surroundings.run(&command, LONG).await?;
        if ended.status.success() {
            return self.ask_pip_check(fresh, check).await;
        }
        tell_errors(&ended, check);
        self.tell_age(fresh, check).await
    }

    /// Tells if pip is so old that it may have failed for that reason.
    async fn tell_age(&self, fresh: &Fresh, check: &mut Examination) -> Result<()> {
        let version = self.pip_version(&fresh.pip).await?;
        if let Some(version) = version
            .as_ref()
            .filter(|version| *version.release() < KNOWING[..])
        {
            let message = format!("is {version}, which does not know the newer platform tags");
            check.warn(Finding::new("pip", message));
        }
        let is_blind = version.is_some_and(|version| *version.release() >= NARROW[..]);
        if is_blind && !self.unseen.is_empty() {
            let message = format!(
                "24 and newer take only `.tar.gz` and `.zip` from a directory, and pass over {}",
                self.unseen.join(", ")
            );
            let hint = "Make the directory with `wheelhouse download`, which adds a page that pip reads, or use pip 23.3.";
            check.warn(Finding::new("pip", message).hint(hint));
        }
        Ok(())
    }

    async fn ask_pip_check(&self, fresh: &Fresh, check: &mut Examination) -> Result<()> {
        let mut command = fresh.pip.clone();
        command.extend(["check".into(), "--disable-pip-version-check".into()]);
        let ended = self.surroundings.run(&command, SHORT).await?;
        if !ended.status.success() {
            let said = ended.output.lines().filter(|line| !line.trim().is_empty());
            for line in said.filter(|line| !line.starts_with("WARNING")) {
                check.fail(Finding::new("pip check", format!("says: {line}")));
            }
            if !check.has_failed() {
                let message = format!("ended with {}", ended.status);
                check.fail(Finding::new("pip check", message));
            }
        }
        Ok(())
    }

    /// Makes an environment with a pip for it, or says why there is none.
    async fn environment(&self) -> Result<std::result::Result<Fresh, String>> {
        let Some(python) = &self.target.interpreter else {
            return Ok(Err("there is no Python of the target".to_owned()));
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
        if self.has_pip_for_another(&python).await? {
            venv.push("--without-pip".into());
            pip = vec![python, "-m".into(), "pip".into(), "--python".into()];
            pip.push(python_of(&root).into());
        }
        let ended = self.surroundings.run(&venv, SHORT).await?;
        if ended.status.success() {
            return Ok(Ok(Fresh { root, pip }));
        }
        let said = ended.output.lines().rfind(|line| !line.trim().is_empty());
        let label = self.target.label();
        Ok(Err(format!(
            "{label} can make no environment with pip (install its {module} module, or pip 22.3 or newer): {}",
            said.unwrap_or_default()
        )))
    }

    /// Whether `python` has a pip that can install for another Python.
    async fn has_pip_for_another(&self, python: &OsString) -> Result<bool> {
        let pip = [python.clone(), "-m".into(), "pip".into()];
        let version = self.pip_version(&pip).await?;
        Ok(version.is_some_and(|version| *version.release() >= FOR_ANOTHER[..]))
    }

    /// The version of the pip that `pip` runs, if it is one.
    async fn pip_version(&self, pip: &[OsString]) -> Result<Option<Version>> {
        let command = [pip, &["--version".into()]].concat();
        let ended = self.surroundings.run(&command, SHORT).await?;
        let version = ended.output.split_whitespace().nth(1);
        let version = version.and_then(|version| version.parse().ok());
        Ok(version.filter(|_| ended.status.success()))
    }
}

fn python_of(root: &Path) -> PathBuf {
    root.join("bin").join("python")
}

/// The `dist-info` directories of an environment.
fn distributions(root: &Path) -> BTreeSet<PathBuf> {
    let entries = WalkDir::new(root).max_depth(4).into_iter().flatten();
    let paths = entries.filter(|entry| entry.file_type().is_dir());
    paths
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|end| end == "dist-info"))
        .collect()
}

/// Tells each error that pip names, or else how it ended; the first has the end of the output.
fn tell_errors(ended: &Ended, check: &mut Examination) {
    let errors = ended
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("ERROR: "));
    let mut errors: Vec<String> = errors.map(|error| format!("says: {error}")).collect();
    if errors.is_empty() {
        errors.push(format!("ended with {}", ended.status));
    }
    for (position, error) in errors.into_iter().enumerate() {
        let finding = Finding::new("pip install", error);
        let detail = if position == 0 {
            ended.tail()
        } else {
            String::new()
        };
        check.fail(finding.detail(detail));
    }
}
