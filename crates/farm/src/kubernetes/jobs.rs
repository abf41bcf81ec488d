//! The Jobs of steps at the API server: created or adopted for an attempt, and released by the runs that own them.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tracing::debug;
use wheelhouse_types::{Observer, Result};

use super::reported::Reported;
use super::{Kubernetes, TICK, millis};
use crate::job::Attempt;

/// The pause before a Job is created again that a quota did not admit.
pub(super) const QUOTA_PAUSE: Duration = millis(5000, 50);

impl Kubernetes {
    /// Creates the Job, or becomes an owner of the one that there is. Waits while a quota does not admit it.
    pub(super) async fn create_or_adopt(
        &self,
        attempt: &Attempt<'_>,
        observer: &Arc<dyn Observer>,
    ) -> Result<()> {
        let job = attempt.job(&self.config, vec![self.owner.reference().clone()])?;
        let name = attempt.name();
        let mut reported = Reported::default();
        loop {
            let parameters = PostParams::default();
            let created = self.server.request(|| self.jobs.create(&parameters, &job));
            match created.await? {
                Ok(_) => {
                    debug!(name, "created a Job");
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    if self.adopt(&name).await? {
                        debug!(name, "adopted a Job");
                        return Ok(());
                    }
                }
                Err(kube::Error::Api(status)) if is_quota(&status) => {
                    let package = attempt.step.to_string();
                    reported.waiting(&package, status.message, &**observer);
                    tokio::time::sleep(QUOTA_PAUSE).await;
                }
                Err(error) => {
                    let action = format!("creating the Job of {}", attempt.step);
                    return Err(self.server.rejected(&action, error));
                }
            }
        }
    }

    /// Adds this run to the owners of a Job. Returns false if the Job is gone.
    async fn adopt(&self, name: &str) -> Result<bool> {
        let own = self.owner.reference();
        loop {
            let found = self.server.request(|| self.jobs.get_opt(name)).await?;
            let found = found.map_err(|error| self.server.rejected("reading a Job", error))?;
            let Some(job) = found else {
                return Ok(false);
            };
            if job.metadata.deletion_timestamp.is_some() {
                tokio::time::sleep(TICK).await;
                continue;
            }
            let mut owners = job.metadata.owner_references.unwrap_or_default();
            if owners.iter().any(|owner| owner.uid == own.uid) {
                return Ok(true);
            }
            owners.push(own.clone());
            let patch = owners_patch(&owners, job.metadata.resource_version.as_deref());
            let parameters = PatchParams::default();
            let patched = self
                .server
                .request(|| self.jobs.patch(name, &parameters, &patch));
            match patched.await? {
                Ok(_) => return Ok(true),
                // The Job has changed since it was read, or is gone.
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
                Err(error) => return Err(self.server.rejected("adopting a Job", error)),
            }
        }
    }

    /// Removes a Job and its pod.
    pub(super) async fn delete(&self, job: &str) {
        let parameters = DeleteParams::background();
        let deleted = self.jobs.delete(job, &parameters).await;
        if let Err(error) = deleted {
            debug!(job, %error, "failed to delete a Job");
        }
    }
}

/// Removes the Job of a step, or the run whose Job is `own` from its owners if there are others.
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

/// Returns the patch that sets the owners of a Job, which is rejected if the Job has changed since `version`.
fn owners_patch(owners: &[OwnerReference], version: Option<&str>) -> Patch<serde_json::Value> {
    Patch::Merge(json!({
        "metadata": { "ownerReferences": owners, "resourceVersion": version },
    }))
}

/// Returns whether a request was rejected by a quota, which admits it later. The API server says so in its message only.
pub(super) fn is_quota(status: &kube::core::Status) -> bool {
    status.is_forbidden() && status.message.contains("exceeded quota")
}
