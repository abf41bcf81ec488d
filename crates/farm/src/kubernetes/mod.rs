//! Steps as Jobs of Kubernetes.
//!
//! 1. [`Kubernetes::connect`] reads the kubeconfig, creates the Job without pods that owns those of the run, and starts to watch the
//!    Jobs and pods of all runs in the namespace.
//! 2. A step becomes a Job whose name is derived from its digest. If a Job of the step exists already, from a coordinator
//!    that has died or that runs at the same time, it is adopted: the run becomes its second owner.
//! 3. Each end of a Job that is not a failure of the build leads to the next attempt, which is a Job of its own.
//! 4. [`Cleanup`] removes what only this run owns, also after an interruption. What a killed coordinator leaves goes when
//!    its own Job is no longer renewed, by the TTL of that.

mod attempts;
mod cleanup;
mod connection;
mod jobs;
mod logs;
mod owner;
mod reported;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as KubernetesEvent, Pod};
use kube::Api;
use tokio::task::JoinHandle;
use tracing::debug;
use wheelhouse_types::step::BuildStep;
use wheelhouse_types::{Observer, Result, Target};

use crate::config::FarmConfig;
use crate::runner::StepRunner;
pub use cleanup::Cleanup;
use connection::ApiServer;
pub use connection::Connection;
use owner::RunOwner;
use watch::Watched;

/// Returns a duration in milliseconds, which is another one in unit tests.
const fn millis(usual: u64, in_tests: u64) -> Duration {
    Duration::from_millis(if cfg!(test) { in_tests } else { usual })
}

/// The time after which the state of a Job is judged again without a change.
const TICK: Duration = millis(2000, 50);

/// The names of the Jobs that a run waits for.
type ActiveJobs = Arc<Mutex<BTreeSet<String>>>;

/// Carries out steps as Jobs.
pub struct Kubernetes {
    config: FarmConfig,
    /// The location of the shared cache, as `--cache-to` names it.
    cache: String,
    server: ApiServer,
    jobs: Api<Job>,
    pods: Api<Pod>,
    events: Api<KubernetesEvent>,
    owner: RunOwner,
    watched: Watched,
    active: ActiveJobs,
    cleanup: Cleanup,
    renewal: JoinHandle<()>,
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Kubernetes {
    /// Starts a run of the farm: creates its Job, and reads the Jobs and pods that there are.
    ///
    /// # Errors
    /// When the API server rejects a request, or is not reached within the `api-timeout` of `config`.
    pub async fn connect(
        connection: Connection,
        config: FarmConfig,
        cache: String,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let client = connection.client()?;
        let namespace = config.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let server = ApiServer::new(&connection, &config, Arc::clone(&observer));
        let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
        let pods = Api::namespaced(client.clone(), &namespace);
        let pod = connection.pod.as_deref();
        let owner = RunOwner::create(&jobs, &server, &config, pod, &client, &*observer).await?;
        let active = ActiveJobs::default();
        let cleanup = Cleanup::new(connection, &namespace, &owner, &active);
        let watched = Watched::start(&jobs, &pods, &server);
        server.within_limit(watched.ready()).await?;
        debug!(namespace, run = owner.name(), "connected to the farm");
        Ok(Self {
            renewal: owner.renew(jobs.clone()),
            events: Api::namespaced(client, &namespace),
            config,
            cache,
            server,
            jobs,
            pods,
            owner,
            watched,
            active,
            cleanup,
        })
    }

    /// Returns the work that removes what this run has created. It must be done after the run, however that ends.
    #[must_use]
    pub fn cleanup(&self) -> Cleanup {
        self.cleanup.clone()
    }

    fn set_active(&self, name: &str, is_active: bool) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if is_active {
            active.insert(name.to_owned());
        } else {
            active.remove(name);
        }
    }
}

impl StepRunner for Kubernetes {
    fn serves(&self, target: &Target) -> bool {
        self.config.image(target).is_ok()
    }

    fn run<'a>(
        &'a self,
        step: &'a BuildStep,
        observer: &'a Arc<dyn Observer>,
    ) -> LocalBoxFuture<'a, Result<()>> {
        self.carry_out(step, observer).boxed_local()
    }
}
