//! The server: its options, and what is served under which path.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Error, Kind, Result};

use crate::auth::Users;
use crate::fallback::{Fallback, FallbackOptions, PullThrough};
use crate::listener::{Connections, Listener};
use crate::metrics::Metrics;
use crate::observe::{AccessLog, Observers};
use crate::router::{self, ClientPermissions, Mount};
use crate::scope::{Filter, Scope};
use crate::served_file::OpenFiles;
use crate::upload::UploadTarget;
use crate::web::{Verifier, Web, WebPage};
use crate::wheelhouse::Wheelhouse;

/// First segments of paths that have a meaning of their own.
const RESERVED: [&str; 9] = [
    "before", "health", "healthz", "metrics", "only", "package", "readyz", "simple", "static",
];

/// The number of descriptors for everything that is neither a served file nor a connection.
const OTHER_DESCRIPTORS: usize = 64;

/// The least number of connections, however few descriptors there are.
const LEAST_CONNECTIONS: usize = 8;

/// The descriptors that are assumed if the limit is unknown.
const DEFAULT_DESCRIPTORS: u64 = 1024;

/// A wheelhouse and the name under which it is served.
#[derive(Clone, Debug)]
pub struct ServedDirectory {
    /// The preferred first segment of its path; characters that are not unreserved in a URL are replaced.
    pub name: String,
    /// The directory.
    pub directory: PathBuf,
}

/// A filtered index of all wheelhouses under its own path.
#[derive(Clone, Debug)]
pub struct View {
    /// Begins with `/`, such as `/before/2026-01-31`.
    pub path: String,
    /// Selects the distributions.
    pub filter: Filter,
}

/// The wheelhouse that accepts uploads.
#[derive(Clone, Debug)]
pub struct UploadOptions {
    /// The path segment of the wheelhouse; `None` is the first one.
    pub wheelhouse: Option<String>,
    /// The size of the largest accepted file in bytes.
    pub max_size: u64,
}

/// The options of a server.
pub struct ServeOptions {
    /// The wheelhouses; the first one that has a file serves it in the merged index.
    pub directories: Vec<ServedDirectory>,
    /// The views.
    pub views: Vec<View>,
    /// The path below which everything is served: empty, or begins with `/` and does not end with one.
    pub base_path: String,
    /// Encrypts TCP connections, if present.
    pub tls: Option<Arc<ServerConfig>>,
    /// The users that are admitted; `None` admits all.
    pub users: Option<Users>,
    /// Admits everyone to reading even if there are users.
    pub anonymous_read: bool,
    /// Accepts uploads, if present. Needs [`users`](Self::users).
    pub upload: Option<UploadOptions>,
    /// Fetches what the wheelhouses lack into the first one, if present.
    pub fallback: Option<FallbackOptions>,
    /// Verifies wheelhouses whose page is requested, if present.
    pub verifier: Option<Verifier>,
    /// Receives a record of each request.
    pub access_log: Option<AccessLog>,
    /// The time after which a client that does not read is dropped.
    pub stalled: Duration,
    /// The time for requests to finish after the server is stopped.
    pub stopping: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            directories: Vec::new(),
            views: Vec::new(),
            base_path: String::new(),
            tls: None,
            users: None,
            anonymous_read: false,
            upload: None,
            fallback: None,
            verifier: None,
            access_log: None,
            stalled: Duration::from_secs(30),
            // Kubernetes kills a process 30 s after stopping it.
            stopping: Duration::from_secs(25),
        }
    }
}

/// A server whose wheelhouses have been read.
pub struct Server {
    connections: Connections,
    /// The path of each wheelhouse, in order.
    paths: Vec<String>,
}

impl Server {
    /// Reads the wheelhouses and prepares to serve them.
    ///
    /// # Errors
    /// [`Kind::Input`] if a directory cannot be read, if the wheelhouse for uploads is not served, or if the URL of the
    /// fallback is not valid.
    pub fn new(options: ServeOptions) -> Result<Self> {
        let descriptors = raise_descriptor_limit().saturating_sub(OTHER_DESCRIPTORS);
        let kept_files = descriptors / 4;
        let open_files = OpenFiles::new(kept_files);
        let mut names: Vec<String> = Vec::new();
        let mut wheelhouses = Vec::new();
        for served in options.directories {
            let name = path_segment(&served.name, &names);
            names.push(name.clone());
            let failed = || format!("failed to read `{}`", served.directory.display());
            let wheelhouse = Wheelhouse::open(name, served.directory.clone(), &open_files);
            wheelhouses.push(Arc::new(wheelhouse.context(Kind::Input, failed)?));
        }
        let upload = options
            .upload
            .map(|upload| upload_target(&upload, &wheelhouses));
        let upload = upload.transpose()?;
        let all = Arc::new(Scope::new(wheelhouses.clone(), None));
        let pull_through = match options.fallback.zip(wheelhouses.first()) {
            Some((fallback, first)) => {
                let fallback = Fallback::new(fallback, first.directory.clone())?;
                Some(Arc::new(PullThrough::new(fallback, Arc::clone(&all))))
            }
            None => None,
        };
        let mut mounts = vec![Mount {
            path: String::new(),
            scope: all,
            page: Some(WebPage::Home),
            upload: upload.as_ref().map(|(_, target)| Arc::clone(target)),
            pull_through: pull_through.clone(),
        }];
        mounts.extend(wheelhouses.iter().enumerate().map(|(number, wheelhouse)| {
            Mount {
                pull_through: pull_through.clone().filter(|_| number == 0),
                path: format!("/{}", wheelhouse.name),
                scope: Arc::new(Scope::new(vec![Arc::clone(wheelhouse)], None)),
                page: Some(WebPage::Wheelhouse(wheelhouse.name.clone())),
                upload: upload
                    .as_ref()
                    .filter(|(name, _)| *name == wheelhouse.name)
                    .map(|(_, target)| Arc::clone(target)),
            }
        }));
        mounts.extend(options.views.into_iter().map(|view| Mount {
            path: view.path,
            scope: Arc::new(Scope::new(wheelhouses.clone(), Some(view.filter))),
            page: None,
            upload: None,
            pull_through: None,
        }));
        let metrics = Arc::new(Metrics::new());
        let access = ClientPermissions {
            users: options.users.map(Arc::new),
            anonymous_read: options.anonymous_read,
        };
        let observers = Observers {
            metrics: Arc::clone(&metrics),
            access_log: options.access_log,
        };
        let base = options.base_path;
        let web = Web::new(
            wheelhouses.clone(),
            &base,
            options.tls.is_some(),
            pull_through,
            options.verifier,
        );
        let paths = names.iter().map(|name| format!("{base}/{name}/")).collect();
        Ok(Self {
            connections: Connections {
                router: router::router(
                    &base,
                    mounts,
                    wheelhouses,
                    &Arc::new(web),
                    access,
                    &metrics,
                ),
                observers,
                tls: options.tls,
                limit: (descriptors - kept_files).max(LEAST_CONNECTIONS),
                stalled: options.stalled,
                stopping: options.stopping,
            },
            paths,
        })
    }

    /// Returns the path of each wheelhouse, in the order of the options.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Serves on `listeners` until `stop` completes, and then finishes the requests in progress. A failed connection does not
    /// affect others.
    pub async fn run(self, listeners: Vec<Listener>, stop: impl Future<Output = ()>) {
        self.connections.run(listeners, stop).await;
    }
}

/// Returns the wheelhouse that accepts uploads, with its path segment.
fn upload_target(
    options: &UploadOptions,
    wheelhouses: &[Arc<Wheelhouse>],
) -> Result<(String, Arc<UploadTarget>)> {
    let named = |wheelhouse: &&Arc<Wheelhouse>| {
        let name = options.wheelhouse.as_ref();
        name.is_none_or(|name| *name == wheelhouse.name)
    };
    let Some(wheelhouse) = wheelhouses.iter().find(named) else {
        let name = options.wheelhouse.as_deref().unwrap_or_default();
        let names: Vec<&str> = wheelhouses.iter().map(|one| &*one.name).collect();
        let message = format!("there is no wheelhouse `{name}` to upload to");
        let hint = format!("Name one that is served: {}.", names.join(", "));
        return Err(Error::new(Kind::Input, message).with_hint(hint));
    };
    let target = UploadTarget::new(wheelhouse.directory.clone(), options.max_size);
    Ok((wheelhouse.name.clone(), Arc::new(target)))
}

/// Raises the limit of open files as far as permitted, and returns it.
fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        Err(_) => limits.current,
    };
    usize::try_from(limit.unwrap_or(DEFAULT_DESCRIPTORS)).unwrap_or(usize::MAX)
}

/// Returns `name` as one segment of a path, with `-` in place of characters that are not unreserved in a URL.
#[must_use]
pub fn safe_segment(name: &str) -> String {
    let safe = |character: char| {
        let is_safe = character.is_ascii_alphanumeric() || "-._~".contains(character);
        if is_safe { character } else { '-' }
    };
    let segment: String = name.chars().map(safe).collect();
    match segment.trim_matches('.') {
        "" => "wheelhouse".to_owned(),
        segment => segment.to_owned(),
    }
}

/// Returns `name` as a path segment that is neither reserved nor in `taken`: with a number if necessary.
fn path_segment(name: &str, taken: &[String]) -> String {
    let segment = safe_segment(name);
    let is_free =
        |name: &str| !RESERVED.contains(&name) && !taken.iter().any(|other| other == name);
    if is_free(&segment) {
        return segment;
    }
    let mut numbered = (2..).map(|number| format!("{segment}-{number}"));
    numbered
        .find(|name| is_free(name))
        .expect("there are more numbers than wheelhouses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wheelhouse_has_a_path_of_its_own() {
        let taken = ["wheels".to_owned()];
        for (name, expected) in [
            ("blog", "blog"),
            ("my wheels", "my-wheels"),
            ("wheels", "wheels-2"),
            ("simple", "simple-2"),
            ("..", "wheelhouse"),
            ("a/{b}", "a--b-"),
        ] {
            assert_eq!(path_segment(name, &taken), expected);
        }
    }
}
