//! The local files that declare requirements: their digests, and similar files that are not used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use wheelhouse_types::{Error, Kind, Result, Sha256};

use super::inputs::InputReader;
use crate::file_source::FileSource;
use crate::lockfile::LOCK_NAMES;
use crate::project_discovery::DEFAULT_REQUIREMENTS;

const PROJECT: &str = "pyproject.toml";

/// The tables of a `pyproject.toml` that affect the requirements of a project.
const PROJECT_TABLES: [&str; 3] = ["project", "dependency-groups", "build-system"];

impl InputReader<'_> {
    /// Records a local file that declares requirements.
    pub(super) fn record_file(&mut self, path: &Path) {
        let path: PathBuf = self
            .context
            .working_directory
            .join(path)
            .components()
            .collect();
        let is_noted = self.inputs.files.contains_key(&path);
        if !is_noted && let Some(digest) = self.digest_of(&path) {
            self.inputs.files.insert(path, digest);
        }
    }

    /// Records a file that is named by a line, a lock or the user.
    pub(super) fn record_source(&mut self, source: &FileSource) {
        match source {
            FileSource::File(path) if path.as_os_str() != "-" => self.record_file(path),
            FileSource::File(_) => {}
            FileSource::Url(_) => {
                let url = source.to_string();
                if !self.inputs.from.contains(&url) {
                    self.inputs.from.push(url);
                }
            }
        }
    }

    /// Returns the digest of the requirements in the file at `path`; `None` if it cannot be read.
    fn digest_of(&self, path: &Path) -> Option<Sha256> {
        let bytes = self
            .context
            .reader
            .read(&FileSource::File(path.to_owned()))
            .ok()?;
        Some(digest(path, &String::from_utf8_lossy(&bytes)))
    }

    /// Checks the lock `name` against the `files` that it was created from, if they exist.
    ///
    /// # Errors
    /// The requirements of a file have changed.
    pub(super) fn check_files(&self, name: &str, files: &BTreeMap<PathBuf, Sha256>) -> Result<()> {
        for (path, known) in files {
            if self.digest_of(path).is_none_or(|digest| digest == *known) {
                continue;
            }
            let file = self.name(path);
            let message = format!("the lock `{name}` is outdated: `{file}` has changed since");
            return Err(Error::new(Kind::Input, message).with_hint(format!(
                "Update it with `wheelhouse lock`, or build from the file with -r {file}."
            )));
        }
        Ok(())
    }

    /// Completes the names of the files that were read, and of those next to them that could have
    /// been.
    pub(super) fn finish_files(&mut self, project_of_lock: Option<&'static str>) {
        let paths: Vec<&PathBuf> = self.inputs.files.keys().collect();
        let directories: BTreeSet<PathBuf> = match paths.as_slice() {
            [] => [self.root()].into(),
            paths => paths
                .iter()
                .filter_map(|path| path.parent())
                .map(Path::to_owned)
                .collect(),
        };
        let names = paths.iter().map(|path| self.name(path)).collect::<Vec<_>>();
        let mut unused = Vec::new();
        for directory in directories {
            let candidates = [DEFAULT_REQUIREMENTS].into_iter().chain(LOCK_NAMES);
            for candidate in candidates {
                let path = directory.join(candidate);
                let is_output = self.raw.passes_over_locks && candidate == LOCK_NAMES[0];
                if !is_output
                    && self.context.reader.exists(&path)
                    && !self.inputs.files.contains_key(&path)
                {
                    unused.push(self.name(&path));
                }
            }
            unused.extend(self.unused_of_project(&directory.join(PROJECT), project_of_lock));
        }
        // Requirements on the command line are visible to the user.
        if self.inputs.files.is_empty() && self.inputs.from.is_empty() {
            unused.retain(|name| name == DEFAULT_REQUIREMENTS);
        }
        self.inputs.from.extend(names);
        self.inputs.unused = unused;
    }

    fn unused_of_project(&self, path: &Path, project_of_lock: Option<&str>) -> Option<String> {
        if !self.context.reader.exists(path) {
            return None;
        }
        let bytes = self
            .context
            .reader
            .read(&FileSource::File(path.to_owned()))
            .ok()?;
        let table: Table = String::from_utf8_lossy(&bytes).parse().ok()?;
        let name = self.name(path);
        if self.inputs.files.contains_key(path) {
            // A lock of uv includes the sources; a build from the project ignores them.
            let sources = table.get("tool")?.get("uv")?.get("sources")?;
            let has_some = sources
                .as_table()
                .is_some_and(|sources| !sources.is_empty());
            return has_some.then(|| format!("[tool.uv.sources] of {name}"));
        }
        let project = table
            .get("project")
            .and_then(|project| project.get("dependencies"));
        let poetry = table.get("tool").and_then(|tool| tool.get("poetry"));
        let poetry = poetry.and_then(|poetry| poetry.get("dependencies"));
        let requires = project.or(poetry).is_some() && project_of_lock != Some(PROJECT);
        requires.then_some(name)
    }
}

/// Digests the requirements of a file: without comments, and only the relevant tables of a project.
fn digest(path: &Path, text: &str) -> Sha256 {
    let is_project = path.file_name().is_some_and(|name| name == PROJECT);
    if let (true, Ok(table)) = (is_project, text.parse::<Table>()) {
        let mut kept: Table = PROJECT_TABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), table.get(*name)?.clone())))
            .collect();
        let poetry = table.get("tool").and_then(|tool| tool.get("poetry"));
        kept.extend(poetry.map(|poetry: &Value| ("poetry".to_owned(), poetry.clone())));
        return Sha256::of(kept.to_string().as_bytes());
    }
    let lines = text.lines().map(|line| {
        let line = if line.trim_start().starts_with('#') {
            ""
        } else {
            line
        };
        line.split(" #").next().unwrap_or_default().trim()
    });
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    Sha256::of(lines.join("\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_ignores_comments() {
        let digest = |text: &str| digest(Path::new("requirements.txt"), text);
        assert_eq!(digest("a==1\nb\n"), digest("# top\n\na==1  # why\r\n  b"));
        assert_ne!(digest("a==1\nb\n"), digest("a==1\n"));
        assert_ne!(
            digest("a @ https://x/y#sha256=0"),
            digest("a @ https://x/y#sha256=1")
        );
    }

    #[test]
    fn digest_of_project_depends_only_on_requirements() {
        let digest = |text: &str| digest(Path::new("pyproject.toml"), text);
        let project = "[project]\nname = \"a\"\ndependencies = [\"b\"]\n";
        assert_eq!(
            digest(project),
            digest(&format!("{project}[tool.ruff]\nline-length = 1\n"))
        );
        assert_ne!(digest(project), digest(&project.replace("\"b\"", "\"c\"")));
    }
}
