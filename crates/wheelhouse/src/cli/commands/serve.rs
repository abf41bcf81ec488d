//! The `serve` command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wheelhouse_fs::scratch::Scratch;
use wheelhouse_serve::{
    Bind, FallbackOptions, Filter, Listener, ServeOptions, ServedDirectory, Server, UploadOptions,
    Users, View,
};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, PackageName, Result, VersionSpecifiers, names_image};

use crate::cli::access_log;
use crate::cli::args::{GlobalOptions, ListenArgs, ServeArgs, ViewArgs};
use crate::cli::commands::image_opener::ImageOpener;
use crate::cli::commands::verify;
use crate::cli::process_env::ProcessEnv;
use crate::cli::{output, signals, style};

/// Runs the command.
pub(crate) fn run(serve: ServeArgs, globals: &GlobalOptions) -> Result<()> {
    let process = ProcessEnv::read()?;
    let places = match &serve.places[..] {
        [] => vec!["wheelhouse".to_owned()],
        places => places.to_vec(),
    };
    let mut sources = Vec::new();
    for place in places {
        sources.push(if names_image(&place) {
            let image = place.parse()?;
            let opening = ImageOpener::new(&image, &serve.read_args, globals, &process)?;
            Source::Image(name_of_image(&place), Box::new(opening))
        } else {
            let fills = serve.fallback.is_some() || serve.uploads.allow_upload.is_some();
            if fills && sources.is_empty() {
                let failed = || format!("failed to create `{place}`");
                let created = fs_err::create_dir_all(process.directory.join(&place));
                created.context(Kind::Publish, failed)?;
            }
            Source::Directory(existing_directory(&process, &place)?)
        });
    }
    if let (Some(_), Some(Source::Image(name, _))) = (&serve.fallback, sources.first()) {
        let message = format!("the image `{name}` cannot keep the files of --fallback");
        let hint = "Name a directory first.";
        return Err(Error::new(Kind::Input, message).with_hint(hint));
    }
    let options = ServeOptions {
        views: views(&serve.views)?,
        users: serve
            .access
            .auth_file
            .as_deref()
            .map(Users::read)
            .transpose()?,
        anonymous_read: serve.access.anonymous_read,
        upload: serve
            .uploads
            .allow_upload
            .as_ref()
            .map(|name| UploadOptions {
                wheelhouse: Some(name.clone()).filter(|name| !name.is_empty()),
                max_size: serve
                    .uploads
                    .max_upload
                    .unwrap_or(wheelhouse_serve::DEFAULT_MAX_SIZE),
            }),
        fallback: fallback(&serve, globals, &process)?,
        verifier: Some(verify::verifier(process)),
        ..listen_options(&serve.listening)?
    };
    let quiet = globals.quiet > 0;
    let bind = serve.listening.bind;
    wheelhouse_engine::run(move || async move {
        // Dropped after the server, with the extracted images.
        let scratch = Scratch::new()?;
        let mut directories = Vec::new();
        for (number, source) in sources.into_iter().enumerate() {
            directories.push(match source {
                Source::Directory(directory) => directory,
                Source::Image(name, opening) => {
                    let directory = scratch.path().join(number.to_string());
                    opening.extract(directory.clone()).await?;
                    ServedDirectory { name, directory }
                }
            });
        }
        let options = ServeOptions {
            directories,
            ..options
        };
        serve_until_signal(options, &bind, quiet).await
    })
}

/// A wheelhouse to serve.
enum Source {
    Directory(ServedDirectory),
    /// An image with the name under which it is served.
    Image(String, Box<ImageOpener>),
}

/// Returns the last component of the name of an image, without tag and digest.
fn name_of_image(place: &str) -> String {
    let name = place.split('@').next().unwrap_or(place);
    let name = name
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(name);
    let parts: Vec<&str> = name.split(':').collect();
    let name = match parts[..] {
        // A transport without a slash: `oci:layout:1.0`.
        [transport, name, ..] if place.starts_with(&format!("{transport}:{name}")) => name,
        [name, ..] => name,
        [] => name,
    };
    name.to_owned()
}

fn existing_directory(process: &ProcessEnv, place: &str) -> Result<ServedDirectory> {
    let directory = process.directory.join(place);
    if !directory.is_dir() {
        let message = format!("the directory `{place}` does not exist");
        let hint = "Build it with `wheelhouse build`, or name another directory.";
        return Err(Error::new(Kind::Input, message).with_hint(hint));
    }
    // `.` has no name of its own.
    let absolute = fs_err::canonicalize(&directory);
    let absolute = absolute.context(Kind::Input, || format!("failed to read `{place}`"))?;
    let name = absolute.file_name().unwrap_or_default();
    Ok(ServedDirectory {
        name: name.to_string_lossy().into_owned(),
        directory,
    })
}

/// Returns the options of the fallback, unless the network is disabled.
fn fallback(
    serve: &ServeArgs,
    globals: &GlobalOptions,
    process: &ProcessEnv,
) -> Result<Option<FallbackOptions>> {
    let Some(index) = serve.fallback.clone() else {
        return Ok(None);
    };
    let settings = process.settings(&serve.read_args.raw(globals))?;
    let variable = |name| process.environment.get_nonempty(name).map(PathBuf::from);
    Ok((!settings.offline).then(|| FallbackOptions {
        index,
        certificates: settings
            .certificate
            .clone()
            .or_else(|| variable("SSL_CERT_FILE")),
        proxy: settings.proxy.clone(),
        timeout: settings.timeout,
    }))
}

fn views(arguments: &ViewArgs) -> Result<Vec<View>> {
    let mut views = Vec::new();
    for cutoff in &arguments.exclude_newer {
        views.push(View {
            path: format!("/before/{}", cutoff.text),
            filter: Filter::UploadedBefore(cutoff.before),
        });
    }
    for path in &arguments.allow {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        views.push(View {
            path: format!("/only/{}", wheelhouse_serve::safe_segment(&name)),
            filter: Filter::Allowed(allowed(path)?),
        });
    }
    for (number, view) in views.iter().enumerate() {
        if views[..number].iter().any(|other| other.path == view.path) {
            let message = format!("two views have the path `{}`", view.path);
            let hint = "Name each date once, and give the files of --allow different names.";
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        }
    }
    Ok(views)
}

/// Reads the packages in the file at `path`, one per line, with their versions.
fn allowed(path: &Path) -> Result<BTreeMap<PackageName, VersionSpecifiers>> {
    let failed = || format!("failed to read `{}`", path.display());
    let text = wheelhouse_fs::input::read_to_string(path).context(Kind::Input, failed)?;
    let mut allowed = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let end = line.find(|character: char| "<>=!~ ".contains(character));
        let (name, specifiers) = line.split_at(end.unwrap_or(line.len()));
        let invalid = || {
            format!(
                "`{}`, line {}: not a package with versions",
                path.display(),
                number + 1
            )
        };
        let name: PackageName = name.parse().context(Kind::Input, invalid)?;
        let specifiers: VersionSpecifiers = specifiers.parse().context(Kind::Input, invalid)?;
        allowed.insert(name, specifiers);
    }
    Ok(allowed)
}

/// Returns the options of the server itself.
pub(super) fn listen_options(listening: &ListenArgs) -> Result<ServeOptions> {
    let tls = listening
        .tls_cert
        .as_deref()
        .zip(listening.tls_key.as_deref());
    let tls = tls.map(|(certificate, key)| wheelhouse_serve::server_config(certificate, key));
    Ok(ServeOptions {
        base_path: listening.base_path.clone(),
        tls: tls.transpose()?,
        access_log: access_log::start(listening.access_log)?,
        stopping: listening.shutdown_timeout,
        ..ServeOptions::default()
    })
}

/// Serves until a signal arrives.
pub(super) async fn serve_until_signal(
    options: ServeOptions,
    bind: &[Bind],
    quiet: bool,
) -> Result<()> {
    let stop = signals::stop()?;
    let mut listeners = Vec::new();
    for address in bind {
        listeners.push(Listener::bind(address).await?);
    }
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let base = options.base_path.clone();
    if options.users.is_some() && options.tls.is_none() && !quiet {
        let message = "passwords are sent without encryption unless a proxy encrypts connections";
        output::status(&style::labeled(style::WARNING, "warning", message));
    }
    let directories: Vec<String> = options
        .directories
        .iter()
        .map(|served| served.directory.display().to_string())
        .collect();
    let server = tokio::task::spawn_blocking(move || Server::new(options));
    let server = Arc::new(
        server
            .await
            .context(Kind::Input, || "failed to read".to_owned())??,
    );
    let server = Arc::into_inner(server).expect("it is not shared");
    if !quiet {
        for listener in &listeners {
            let url = match listener.address() {
                Bind::Tcp(address) => format!("{scheme}://{address}{base}/simple/"),
                unix @ Bind::Unix(_) => unix.to_string(),
            };
            output::status(&format!("Serving {} at {url}", directories.join(", ")));
        }
    }
    server.run(listeners, stop).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_served_under_its_own_name() {
        for (place, expected) in [
            ("docker://registry.example/acme/wheels:1.0", "wheels"),
            ("docker://registry.example:5000/wheels", "wheels"),
            (
                "docker://registry.example/acme/wheels@sha256:0123",
                "wheels",
            ),
            ("oci:layout:1.0", "layout"),
            ("oci:some/layout", "layout"),
            ("oci-archive:/tmp/wheels.tar", "wheels.tar"),
            ("docker-daemon:acme/wheels:1.0", "wheels"),
        ] {
            assert_eq!(name_of_image(place), expected, "{place}");
        }
    }
}
