//! The `ConfigMap` that owns the Jobs of a run.
//!
//! When it is removed, Kubernetes removes the Jobs that no other run owns. It says when its run was last alive, so that a later
//! run can remove those of runs that were killed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinHandle;
use tracing::debug;
use wheelhouse_types::Result;

use super::connection::Server;
use crate::job::LABEL;

/// The value of the label of the `ConfigMap` objects.
pub(super) const RUN: &str = "wheelhouse-run";

/// The annotation with the last time at which the run was alive.
pub(super) const RENEWED: &str = "wheelhouse/renewed";

/// The time between renewals.
const RENEWAL: Duration = Duration::from_mins(1);

/// The `ConfigMap` of a run.
#[derive(Clone, Debug)]
pub(super) struct RunOwner {
    reference: OwnerReference,
    /// The time of the API server at which the run started.
    started: Option<Time>,
}

impl RunOwner {
    /// Creates the `ConfigMap`. If this process runs in the pod `pod` of the same namespace, the pod owns it.
    pub(super) async fn create(
        maps: &Api<ConfigMap>,
        server: &Server,
        pod: Option<&str>,
        client: &Client,
    ) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), maps.namespace().unwrap_or_default());
        let owner = match pod {
            // A coordinator in another namespace, or that may not read its pod, has no owner.
            Some(name) => pods.get_opt(name).await.ok().flatten(),
            None => None,
        };
        let owner = owner.and_then(|pod| {
            Some(OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: pod.metadata.name?,
                uid: pod.metadata.uid?,
                ..OwnerReference::default()
            })
        });
        let map = ConfigMap {
            metadata: ObjectMeta {
                generate_name: Some("wheelhouse-run-".to_owned()),
                labels: Some(BTreeMap::from([
                    (LABEL.to_owned(), RUN.to_owned()),
                    (
                        "app.kubernetes.io/managed-by".to_owned(),
                        "wheelhouse".to_owned(),
                    ),
                ])),
                annotations: Some(BTreeMap::from([(RENEWED.to_owned(), now())])),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let parameters = PostParams::default();
        let created = server.request(|| maps.create(&parameters, &map)).await?;
        let created =
            created.map_err(|error| server.rejected("creating the ConfigMap of the run", error))?;
        Ok(Self {
            started: created.metadata.creation_timestamp,
            reference: OwnerReference {
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                name: created.metadata.name.unwrap_or_default(),
                uid: created.metadata.uid.unwrap_or_default(),
                ..OwnerReference::default()
            },
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.reference.name
    }

    pub(super) fn reference(&self) -> &OwnerReference {
        &self.reference
    }

    /// Returns whether `job` was completed after the run started. Then its record was stored after the run may have looked for
    /// it. The record of a Job that was completed before is gone if the run did not find it.
    pub(super) fn is_completed_since(&self, job: &Job) -> bool {
        let status = job.status.as_ref();
        let completed = status.and_then(|status| status.completion_time.as_ref());
        match (completed, &self.started) {
            (Some(completed), Some(started)) => completed.0 >= started.0,
            _ => false,
        }
    }

    /// Renews the `ConfigMap` until the task is aborted.
    pub(super) fn renew(&self, maps: Api<ConfigMap>) -> JoinHandle<()> {
        let name = self.reference.name.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                let patch = json!({ "metadata": { "annotations": { RENEWED: now() } } });
                let patched = maps
                    .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                    .await;
                if let Err(error) = patched {
                    debug!(%error, "failed to renew the ConfigMap of the run");
                }
            }
        })
    }
}

/// Returns whether the run of `map` was last alive longer than `limit` ago.
pub(super) fn is_abandoned(map: &ConfigMap, now: Timestamp, limit: Duration) -> bool {
    let annotations = map.metadata.annotations.as_ref();
    let renewed = annotations.and_then(|annotations| annotations.get(RENEWED));
    let renewed = renewed.and_then(|text| text.parse::<Timestamp>().ok());
    renewed
        .is_some_and(|renewed| now.duration_since(renewed).unsigned_abs() > limit && renewed < now)
}

fn now() -> String {
    Timestamp::now().to_string()
}
