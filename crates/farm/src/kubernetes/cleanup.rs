//! The removal of what a run has created, and of what killed runs have left.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PatchParams};
use tracing::debug;

use super::ActiveJobs;
use super::attempts::owners_patch;
use super::connection::Connection;
use super::owner::{RUN, RunOwner, is_abandoned};
use crate::config::FarmConfig;
use crate::job::LABEL;

/// The time limit: a lost API server must not keep an interrupted run.
const LIMIT: Duration = Duration::from_secs(10);

/// The time for which the run of a `ConfigMap` must have been silent before it counts as killed, at least: longer than a
/// coordinator sleeps, and than a lost API server is waited for.
const ABANDONED: Duration = Duration::from_hours(1);

/// Removes what a run has created: its `ConfigMap`, and the Jobs that it still waits for unless another run owns them, too.
#[derive(Clone)]
pub struct Cleanup {
    connection: Connection,
    namespace: String,
    owner: RunOwner,
    active: ActiveJobs,
    abandoned: Duration,
}

impl Cleanup {
    pub(super) fn new(
        connection: Connection,
        namespace: &str,
        config: &FarmConfig,
        owner: &RunOwner,
        active: &ActiveJobs,
    ) -> Self {
        Self {
            connection,
            namespace: namespace.to_owned(),
            owner: owner.clone(),
            active: active.clone(),
            abandoned: ABANDONED.max(Duration::from_secs(config.ttl.into())),
        }
    }

    /// Does the work on a runtime of its own, since that of the run may have ended. What cannot be removed within ten seconds
    /// is left to the TTL of the Jobs and to later runs.
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
        let jobs: Api<Job> = Api::namespaced(client.clone(), &self.namespace);
        let maps: Api<ConfigMap> = Api::namespaced(client, &self.namespace);
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
        maps.delete(self.owner.name(), &DeleteParams::background())
            .await?;
        let selection = ListParams::default().labels(&format!("{LABEL}={RUN}"));
        for map in maps.list(&selection).await?.items {
            let name = map.metadata.name.clone().unwrap_or_default();
            if is_abandoned(&map, Timestamp::now(), self.abandoned) {
                debug!(name, "removing the ConfigMap of a killed run");
                maps.delete(&name, &DeleteParams::background()).await?;
            }
        }
        Ok(())
    }
}

/// Removes a Job, or the run with the `ConfigMap` `own` from its owners if there are others.
pub(super) async fn release(
    jobs: &Api<Job>,
    name: &str,
    own: &OwnerReference,
) -> Result<(), kube::Error> {
    loop {
        let Some(job) = jobs.get_opt(name).await? else {
            return Ok(());
        };
        let version = job.metadata.resource_version;
        let mut owners = job.metadata.owner_references.unwrap_or_default();
        owners.retain(|owner| owner.uid != own.uid);
        let result = if owners.is_empty() {
            let mut parameters = DeleteParams::background();
            parameters.preconditions = Some(kube::api::Preconditions {
                resource_version: version,
                uid: job.metadata.uid,
            });
            jobs.delete(name, &parameters).await.map(drop)
        } else {
            let patch = owners_patch(&owners, version.as_deref());
            let patched = jobs.patch(name, &PatchParams::default(), &patch).await;
            patched.map(drop)
        };
        match result {
            // It has changed since it was read: a run may have adopted it.
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            result => return result,
        }
    }
}
