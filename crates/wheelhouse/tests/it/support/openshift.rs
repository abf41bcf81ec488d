//! Builds like those of `OpenShift` 4: both strategies end in `buildah build --layers=false` with a Dockerfile.
//!
//! The Source strategy writes the Dockerfile of `s2i build --as-dockerfile --copy --keep-symlinks`, so it ignores
//! `/tmp/.s2i/image_metadata.json`. The Docker strategy edits the Dockerfile of the source. It asserts nothing about
//! an image.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use super::containers::{Buildah, Network, index_variables, output_text, succeed};
use super::s2i_builds::{SCRIPTS, prepare_upload};

/// The capabilities that the controller drops from builds of the Source strategy that do not run as root.
const DROPPED_CAPABILITIES: [&str; 4] = ["KILL", "MKNOD", "SETGID", "SETUID"];

/// A path in an image and the directory of the source that it is copied into.
#[derive(Clone, Copy)]
pub(crate) struct ImageSource<'a> {
    pub(crate) image: &'a str,
    pub(crate) path: &'a str,
    pub(crate) destination: &'a str,
}

/// The parts of a `BuildConfig` that affect a build.
#[derive(Clone, Copy)]
pub(crate) struct BuildConfig<'a> {
    pub(crate) buildah: &'a Buildah,
    pub(crate) source: &'a Path,
    pub(crate) image_sources: &'a [ImageSource<'a>],
    /// `env` of the strategy.
    pub(crate) variables: &'a [(&'a str, &'a str)],
    /// `sourceStrategy.incremental`.
    pub(crate) incremental: bool,
    /// `spec.output.imageLabels`.
    pub(crate) labels: &'a [(&'a str, &'a str)],
    pub(crate) network: Network,
    /// `spec.output.to`.
    pub(crate) output: &'a str,
}

impl<'a> BuildConfig<'a> {
    pub(crate) fn new(buildah: &'a Buildah, source: &'a Path, output: &'a str) -> Self {
        Self {
            buildah,
            source,
            image_sources: &[],
            variables: &[],
            incremental: false,
            labels: &[],
            network: Network::Host,
            output,
        }
    }

    /// Builds with the Docker strategy, whose `dockerStrategy.from` replaces only the last `FROM`.
    pub(crate) fn docker_strategy(&self, from: &str) -> Output {
        let context = tempfile::tempdir().unwrap();
        self.copy_input(context.path());
        let path = context.path().join("Dockerfile");
        let text = std::fs::read_to_string(&path).unwrap();
        let is_from = |line: &str| line.to_uppercase().starts_with("FROM ");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let last = lines.iter().rposition(|line| is_from(line));
        let last = &mut lines[last.expect("a FROM")];
        *last = last.replace(last.split(' ').nth(1).unwrap(), from);
        for line in lines.iter_mut().filter(|line| is_from(line)) {
            line.push('\n');
            line.push_str(&env(&self.all_variables()));
        }
        lines.push(env(&build_variables()));
        lines.push(self.label());
        std::fs::write(path, lines.join("\n")).unwrap();
        self.build(context.path(), &[])
    }

    /// Builds with the Source strategy; `from` is the builder.
    pub(crate) fn source_strategy(&self, from: &str) -> Output {
        let context = tempfile::tempdir().unwrap();
        let path = |name: &str| context.path().join(name);
        self.copy_input(&path("input"));
        let provided = prepare_upload(&path("input"), &path("upload"));
        let environment = std::fs::read_to_string(path("upload/src/.s2i/environment"));
        let dockerfile = self.dockerfile(from, provided, &environment.unwrap_or_default());
        std::fs::write(path("Dockerfile"), dockerfile).unwrap();
        self.build(context.path(), &DROPPED_CAPABILITIES)
    }

    /// Writes the Dockerfile that `s2i build --as-dockerfile` writes.
    fn dockerfile(&self, from: &str, provided: [bool; 3], environment: &str) -> String {
        let label = |name: &str| {
            self.buildah.inspect(
                from,
                &format!("{{{{index .OCIv1.Config.Labels {name:?}}}}}"),
            )
        };
        let user = Some(label("io.openshift.s2i.assemble-user")).filter(|user| !user.is_empty());
        let user = user.unwrap_or_else(|| "1001".to_owned());
        let url = label("io.openshift.s2i.scripts-url");
        let image_scripts = url.strip_prefix("image://").unwrap_or("/usr/libexec/s2i");
        let [assemble, run, save_artifacts] = [0, 1, 2].map(|index| {
            let directory = if provided[index] {
                "/tmp/scripts"
            } else {
                image_scripts
            };
            format!("{directory}/{}", SCRIPTS[index])
        });
        let mut text = String::new();
        if self.incremental {
            let _ = writeln!(text, "FROM {} as cached", self.output);
            if provided[2] {
                let _ = writeln!(
                    text,
                    "COPY --chown={user}:0 upload/scripts/save-artifacts {save_artifacts}"
                );
            }
            let _ = writeln!(
                text,
                "USER {user}\n\
                 RUN if [ -s {save_artifacts} ]; then {save_artifacts} > /tmp/artifacts.tar; else touch /tmp/artifacts.tar; fi"
            );
        }
        let _ = writeln!(text, "FROM {from}");
        text += &self.label();
        let lines = environment.lines().filter(|line| !line.starts_with('#'));
        let own: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
        let variables = owned(&own)
            .chain(build_variables())
            .chain(self.all_variables());
        text += &env(&variables.collect::<Vec<_>>());
        if self.incremental {
            let _ = writeln!(
                text,
                "COPY --chown={user}:0 --from=cached /tmp/artifacts.tar /tmp/artifacts.tar"
            );
        }
        if provided.contains(&true) {
            let _ = writeln!(text, "COPY --chown={user}:0 upload/scripts /tmp/scripts");
        }
        let _ = writeln!(
            text,
            "COPY --chown={user}:0 upload/src /tmp/src\nUSER {user}"
        );
        if self.incremental {
            text += "RUN if [ -s /tmp/artifacts.tar ]; then mkdir -p /tmp/artifacts; tar -xf /tmp/artifacts.tar -C /tmp/artifacts; fi && \\\n    \
                 rm /tmp/artifacts.tar\n";
        }
        let _ = writeln!(text, "RUN {assemble}\nCMD {run}");
        text
    }

    /// Copies the source and the image sources into `directory`, like the init containers of a build.
    fn copy_input(&self, directory: &Path) {
        std::fs::create_dir_all(directory).unwrap();
        succeed(
            Command::new("cp")
                .arg("-a")
                .arg(self.source.join("."))
                .arg(directory),
        );
        for source in self.image_sources {
            let container = self.buildah.container(source.image);
            let destination = directory.join(source.destination);
            std::fs::create_dir_all(&destination).unwrap();
            let path = format!("{}{}", container.mount().display(), source.path);
            succeed(
                Command::new("cp")
                    .args(["-r", "-p", &path])
                    .arg(destination),
            );
        }
    }

    /// Returns the variables that builds require on this host, followed by those of the strategy.
    fn all_variables(&self) -> Vec<(String, String)> {
        index_variables().chain(owned(self.variables)).collect()
    }

    fn label(&self) -> String {
        let mut text = "LABEL \"io.openshift.build.name\"=\"build-1\" \"io.openshift.build.namespace\"=\"test\"".to_owned();
        for (name, value) in self.labels {
            let _ = write!(text, " {name:?}={value:?}");
        }
        text + "\n"
    }

    fn build(&self, context: &Path, dropped: &[&str]) -> Output {
        let mut command = self.buildah.buildah([
            "build",
            "--layers=false",
            "--format",
            "docker",
            "--tag",
            self.output,
        ]);
        command.args(
            dropped
                .iter()
                .flat_map(|capability| ["--cap-drop", capability]),
        );
        command.args(self.network.arguments()).arg(context);
        command.output().unwrap()
    }
}

fn build_variables() -> Vec<(String, String)> {
    owned(&[
        ("OPENSHIFT_BUILD_NAME", "build-1"),
        ("OPENSHIFT_BUILD_NAMESPACE", "test"),
    ])
    .collect()
}

fn owned(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// Writes variables like s2i, without expansion of their values.
fn env(variables: &[(String, String)]) -> String {
    let mut text = "ENV".to_owned();
    for (name, value) in variables {
        let value = value
            .replace('\\', "\\\\")
            .replace('$', "\\$")
            .replace('"', "\\\"");
        let _ = write!(text, " {name}=\"{value}\"");
    }
    text + "\n"
}

/// Returns the output of a build, which must have succeeded.
#[track_caller]
pub(crate) fn succeeded(output: &Output) -> String {
    let text = output_text(output);
    assert!(output.status.success(), "{text}");
    text
}
