//! The compilers that builds on this machine find, for the provenance of what they compile.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use tokio::process::Command;
use wheelhouse_types::secrets::mask;

/// The commands, each with the variable that replaces it in builds.
const COMPILERS: [(&str, Option<&str>); 5] = [
    ("cc", Some("CC")),
    ("c++", Some("CXX")),
    ("gfortran", Some("FC")),
    ("rustc", None),
    ("cmake", None),
];

/// The time limit of one command: a compiler on a network file system may be slow.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The length of a version, in characters.
const LONGEST: usize = 200;

/// Returns the first line that each compiler prints for `--version`, by its command. `environment` are the variables of
/// builds, `PATH` among them.
pub(in crate::pipeline) async fn versions(
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let compilers = COMPILERS.into_iter().map(async |(name, variable)| {
        let replaced = variable.and_then(|variable| environment.get(variable));
        let command = replaced.map_or(name, String::as_str);
        Some((mask(command), version(command, environment).await?))
    });
    join_all(compilers).await.into_iter().flatten().collect()
}

async fn version(command: &str, environment: &BTreeMap<String, String>) -> Option<String> {
    // `CC` may have options, or name a wrapper such as ccache first.
    let mut words = command.split_ascii_whitespace();
    let output = Command::new(words.next()?)
        .args(words)
        .arg("--version")
        .envs(environment)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, output).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line: String = text.lines().next()?.chars().take(LONGEST).collect();
    (output.status.success() && !line.is_empty()).then(|| mask(&line))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn asks_compilers_on_path_and_in_variables() {
        let directory = tempfile::tempdir().unwrap();
        for (name, script) in [
            ("cc", "echo cc 1.0; echo more"),
            ("wrapper", "echo $1 2.0"),
            ("rustc", "exit 1"),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = directory.path().to_str().unwrap().to_owned();
        let variables = [("PATH", path), ("CXX", "wrapper other".to_owned())];
        let environment = variables.map(|(name, value)| (name.to_owned(), value));
        let found = versions(&environment.into()).await;
        let found: Vec<_> = found
            .iter()
            .map(|(name, version)| (name.as_str(), version.as_str()))
            .collect();
        assert_eq!(found, [("cc", "cc 1.0"), ("wrapper other", "other 2.0")]);
    }
}
