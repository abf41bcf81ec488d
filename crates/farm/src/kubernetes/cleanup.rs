//! The removal of what a run has created.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::DeleteParams;
use tracing::debug;

use super::ActiveJobs;
use super::connection::Connection;
use super::jobs::release;
use super::owner::RunOwner;

/// The time limit: a lost API server must not keep an interrupted run.
const LIMIT: Duration = Duration::from_secs(10);

/// Removes what a run has created: its own Job, and the Jobs of the steps that it still waits for unless another run owns them,
/// too.
#[derive(Clone)]
pub struct Cleanup {
    connection: Connection,
    namespace: String,
    owner: RunOwner,
    active: ActiveJobs,
}

impl Cleanup {
    pub(super) fn new(
        connection: Connection,
        namespace: &str,
        owner: &RunOwner,
        active: &ActiveJobs,
    ) -> Self {
        Self {
            connection,
            namespace: namespace.to_owned(),
            owner: owner.clone(),
            active: active.clone(),
        }
    }

    /// Does the work on a runtime of its own, since that of the run may have ended. What cannot be removed within ten seconds
    /// is left to the TTL of the Jobs.
    pub fn run(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else {
            return;
        };
        let result = runtime.block_on(async { tokio::time::timeout(LIMIT, self.remove()).await });
        match result {
            Ok(Ok(())) => debug!(run = self.owner.name(), "removed the Jobs of the run"),
            Ok(Err(error)) => debug!(%error, "failed to remove the Jobs of the run"),
            Err(_) => debug!("removing the Jobs of the run took too long"),
        }
    }

    async fn remove(&self) -> Result<(), Box<dyn std::error::Error>> {
        let client = self.connection.client()?;
        let jobs: Api<Job> = Api::namespaced(client, &self.namespace);
        let active: BTreeSet<String> = self
            .active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for name in active {
            if let Err(error) = release(&jobs, &name, self.owner.reference()).await {
                debug!(name, %error, "failed to release a Job");
            }
        }
        // Its finished Jobs go with it.
        jobs.delete(self.owner.name(), &DeleteParams::background())
            .await?;
        Ok(())
    }
}
