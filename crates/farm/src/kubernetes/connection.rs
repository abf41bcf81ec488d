//! The API server: how it is found, and how long it may be lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tracing::debug;
use wheelhouse_types::error::{Context as _, display_chain};
use wheelhouse_types::{Error, Event, Kind, Observer, Result};

use crate::config::FarmConfig;

/// The pauses between attempts to reach the API server: doubled up to the greatest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The time after a loss in which a refusal counts as part of it: an API server that was just started answers before it has read
/// the roles and tokens.
const STARTING: Duration = Duration::from_mins(1);

const KUBECONFIG: &str = "Log in to the cluster, for example with `oc login`, or name a kubeconfig with the variable KUBECONFIG.";

const ROLE: &str = "Give the user of the coordinator the role that docs/how-to/farm.md describes, in the namespace of the farm.";

/// The way to an API server, by the rules of kubectl.
#[derive(Clone, Debug)]
pub struct Connection {
    config: Config,
    /// The pod that this process runs in, if it does.
    pub(super) pod: Option<String>,
}

impl Connection {
    /// Reads the kubeconfig: the files of `KUBECONFIG`, or `~/.kube/config`; in a pod without one, its service account.
    /// `context` selects a context other than the current one, and `pod` is the name of the pod that this process runs in.
    ///
    /// # Errors
    /// `Input` if there is no kubeconfig, it is not valid, or it does not have the context.
    pub async fn read(context: Option<&str>, pod: Option<String>) -> Result<Self> {
        let config = if let Some(context) = context {
            let options = KubeConfigOptions {
                context: Some(context.to_owned()),
                ..KubeConfigOptions::default()
            };
            let failed = || format!("failed to read the context `{context}` of the kubeconfig");
            let config = Config::from_kubeconfig(&options).await;
            config.context(Kind::Input, failed)
        } else {
            let failed = || "failed to read the kubeconfig".to_owned();
            Config::infer().await.context(Kind::Input, failed)
        };
        let config = config.map_err(|error| error.with_hint(KUBECONFIG))?;
        Ok(Self { config, pod })
    }

    /// Creates the way to the API server that `config` describes.
    #[must_use]
    pub fn of_config(config: Config) -> Self {
        Self { config, pod: None }
    }

    /// Returns a client on the current runtime.
    ///
    /// # Errors
    /// `Input` if a certificate or the proxy is not usable.
    pub(super) fn client(&self) -> Result<Client> {
        let failed = || format!("failed to connect to {}", self.config.cluster_url);
        Client::try_from(self.config.clone()).context(Kind::Input, failed)
    }
}

/// The state of the API server, which all requests and watches of a run share.
#[derive(Clone)]
pub(super) struct ApiServer {
    url: String,
    /// The time for which it may be lost.
    limit: Duration,
    observer: Arc<dyn Observer>,
    /// Set while it is lost.
    lost: Arc<Mutex<Option<Instant>>>,
    /// The last time at which it did not answer.
    last_lost: Arc<Mutex<Option<Instant>>>,
    /// The reason why the server rejects a watch.
    refusal: Arc<Mutex<Option<String>>>,
}

impl ApiServer {
    pub(super) fn new(
        connection: &Connection,
        config: &FarmConfig,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            url: connection.config.cluster_url.to_string(),
            limit: Duration::from_secs(config.api_timeout.into()),
            observer,
            lost: Arc::default(),
            last_lost: Arc::default(),
            refusal: Arc::default(),
        }
    }

    /// Records that the server has answered.
    pub(super) fn note_found(&self) {
        let lost = self
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(since) = lost {
            debug!(
                seconds = since.elapsed().as_secs(),
                "the API server is back"
            );
        }
    }

    /// Records that the server has not answered, and warns once.
    pub(super) fn note_lost(&self, error: &dyn std::error::Error) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        debug!(error = display_chain(error), "the API server is lost");
        let last = self.last_lost.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if lost.is_none() {
            *lost = Some(Instant::now());
            self.observer.observe(&Event::warning(format!(
                "the API server {} is not reached, and is tried again for {} seconds: {}",
                self.url,
                self.limit.as_secs(),
                display_chain(error)
            )));
        }
    }

    /// Returns whether the server was lost so recently that it may be starting.
    fn may_be_starting(&self) -> bool {
        let last = self.last_lost.lock();
        let last = *last.unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < STARTING)
    }

    /// Records that the server rejects a watch, which ends the run unless the server may be starting.
    pub(super) fn note_refused(&self, message: &str) {
        if self.may_be_starting() {
            debug!(message, "the API server rejects a watch after its start");
            return;
        }
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.get_or_insert_with(|| message.to_owned());
    }

    /// Checks that the server is not lost for too long, and does not reject the watches.
    ///
    /// # Errors
    /// When it is or does.
    pub(super) fn check(&self) -> Result<()> {
        let refusal = self
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(reason) = refusal {
            let message = format!(
                "the API server {} does not permit watching Jobs and pods: {reason}",
                self.url
            );
            return Err(Error::new(Kind::Build, message).with_hint(ROLE));
        }
        let lost = *self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        match lost {
            Some(since) if since.elapsed() >= self.limit => {
                let seconds = self.limit.as_secs();
                let message = format!(
                    "the API server {} was not reached for {seconds} seconds",
                    self.url
                );
                let hint = "Start the command again: finished steps are in the shared cache, and running ones are adopted.";
                Err(Error::new(Kind::Build, message).with_hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// Awaits `work`, which waits for the server, until the server is lost for too long.
    pub(super) async fn within_limit<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(Duration::from_secs(1), &mut work).await {
                return Ok(done);
            }
            self.check()?;
        }
    }

    /// Sends a request, and repeats it while the server is lost or overloaded.
    ///
    /// # Errors
    /// Other errors of the request; and as [`ApiServer::check`].
    pub(super) async fn request<T, F>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<Result<T, kube::Error>>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match request().await {
                Err(error) if is_transient(&error) => self.note_lost(&error),
                Err(error) if is_refused(&error) && self.may_be_starting() => {
                    debug!(%error, "the API server rejects a request after its start");
                }
                answer => {
                    self.note_found();
                    return Ok(answer);
                }
            }
            self.check()?;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Creates the error of a request that the server has rejected.
    pub(super) fn rejected(&self, action: &str, error: kube::Error) -> Error {
        let hint = match &error {
            kube::Error::Api(status) if status.code == 401 => {
                Some("Log in again, for example with `oc login`, or check the kubeconfig.")
            }
            kube::Error::Api(status) if status.is_forbidden() => Some(ROLE),
            _ => None,
        };
        let message = format!("{action} failed at the API server {}", self.url);
        let message = match &error {
            kube::Error::Api(status) => format!("{message}: {}", status.message),
            _ => message,
        };
        let rejected = match error {
            kube::Error::Api(_) => Error::new(Kind::Build, message),
            error => Error::new(Kind::Build, message).caused_by(error),
        };
        match hint {
            Some(hint) => rejected.with_hint(hint),
            None => rejected,
        }
    }
}

/// Returns whether the server rejects a request for lack of a permission.
pub(super) fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

/// Returns whether the same request may succeed later: the server was not reached, or says that it is not ready.
pub(super) fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn server() -> ApiServer {
        let config = Config::new("https://127.0.0.1:1/".parse().unwrap());
        let config = Connection::of_config(config);
        ApiServer::new(
            &config,
            &FarmConfig::default(),
            Arc::new(super::super::logs::Silent),
        )
    }

    fn refused() -> kube::Error {
        kube::Error::Api(Box::new(
            Status::failure("no role", "Forbidden").with_code(403),
        ))
    }

    #[tokio::test]
    async fn refusal_ends_a_run() {
        let server = server();
        server.note_refused("no role");
        let error = server.check().unwrap_err();
        assert!(error.to_string().contains("no role"), "{error}");
        let answer = self::server()
            .request(async || Err::<(), _>(refused()))
            .await;
        assert!(is_refused(&answer.unwrap().unwrap_err()));
    }

    #[tokio::test]
    async fn refusal_of_a_server_that_starts_is_repeated() {
        let server = server();
        server.note_lost(&std::io::Error::other("connection refused"));
        server.note_refused("no role");
        assert!(server.check().is_ok());
        let requests = std::cell::Cell::new(0);
        let answer = server.request(async || {
            requests.set(requests.get() + 1);
            if requests.get() < 2 {
                Err(refused())
            } else {
                Ok(())
            }
        });
        assert!(answer.await.unwrap().is_ok());
        assert_eq!(requests.get(), 2);
    }
}
