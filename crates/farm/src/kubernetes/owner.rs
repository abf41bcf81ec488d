//! The Job without pods that owns the Jobs of a run.
//!
//! A Job of zero pods is complete when it is created. When it is removed, Kubernetes removes the Jobs that no other run owns. The
//! run removes it at its end, and postpones its removal by the TTL controller until then. So what a killed run leaves goes by
//! itself, within the `run-ttl` of the configuration.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinHandle;
use tracing::debug;
use wheelhouse_types::{Event, Observer, Result};

use super::connection::ApiServer;
use super::jobs::{QUOTA_PAUSE, is_quota};
use crate::config::FarmConfig;
use crate::job::{CONTAINER, RUN, container_security, labels, pod_security, some};

/// The longest time between renewals.
const RENEWAL: Duration = Duration::from_mins(1);

/// The Job of a run.
#[derive(Clone, Debug)]
pub(super) struct RunOwner {
    reference: OwnerReference,
    /// The time of the API server at which the run started.
    started: Option<Time>,
    lifetime: Lifetime,
}

/// The time that the Job of a run has left, whose TTL counts from its creation.
#[derive(Clone, Copy, Debug)]
struct Lifetime {
    created: Timestamp,
    created_here: Instant,
    /// The time after the last renewal.
    limit: Duration,
}

impl Lifetime {
    /// Returns the TTL in seconds with which the Job has its full time left.
    fn ttl(&self, now: Timestamp) -> u64 {
        // The monotonic clock stands still while the machine sleeps, and the other may be set.
        let slept = now.duration_since(self.created).unsigned_abs();
        let passed = self.created_here.elapsed().max(slept);
        (passed + self.limit).as_secs()
    }

    /// Returns the time between renewals: several may fail.
    fn renewal(&self) -> Duration {
        (self.limit / 4).clamp(Duration::from_secs(1), RENEWAL)
    }
}

impl RunOwner {
    /// Creates the Job, as soon as a quota admits it. If this process runs in the pod `pod` of the same namespace, the pod owns
    /// it.
    pub(super) async fn create(
        jobs: &Api<Job>,
        server: &ApiServer,
        config: &FarmConfig,
        pod: Option<&str>,
        client: &Client,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), jobs.namespace().unwrap_or_default());
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
        let job = run_job(config, owner);
        let (parameters, mut is_reported) = (PostParams::default(), false);
        let (lifetime, created) = loop {
            let lifetime = Lifetime {
                created: Timestamp::now(),
                created_here: Instant::now(),
                limit: Duration::from_secs(config.run_ttl.into()),
            };
            match server.request(|| jobs.create(&parameters, &job)).await? {
                Ok(created) => break (lifetime, created),
                Err(kube::Error::Api(status)) if is_quota(&status) => {
                    if !is_reported {
                        let message = format!("the run waits for a quota: {}", status.message);
                        observer.observe(&Event::warning(message));
                    }
                    is_reported = true;
                    tokio::time::sleep(QUOTA_PAUSE).await;
                }
                Err(error) => return Err(server.rejected("creating the Job of the run", error)),
            }
        };
        Ok(Self {
            started: created.metadata.creation_timestamp,
            reference: OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name: created.metadata.name.unwrap_or_default(),
                uid: created.metadata.uid.unwrap_or_default(),
                ..OwnerReference::default()
            },
            lifetime,
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

    /// Postpones the removal of the Job until the task is aborted.
    pub(super) fn renew(&self, jobs: Api<Job>) -> JoinHandle<()> {
        let (name, lifetime) = (self.reference.name.clone(), self.lifetime);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(lifetime.renewal()).await;
                let ttl = lifetime.ttl(Timestamp::now());
                let patch = Patch::Merge(json!({ "spec": { "ttlSecondsAfterFinished": ttl } }));
                let patched = jobs.patch(&name, &PatchParams::default(), &patch).await;
                if let Err(error) = patched {
                    debug!(%error, "failed to renew the Job of the run");
                }
            }
        })
    }
}

/// Returns the manifest of the Job of a run, which has no pods and so is complete at once. `owner` owns it.
fn run_job(config: &FarmConfig, owner: Option<OwnerReference>) -> Job {
    // Policies of a cluster judge the template as if there were a pod.
    let image = config.images.first().map(|rule| rule.image.clone());
    Job {
        metadata: ObjectMeta {
            generate_name: Some("wheelhouse-run-".to_owned()),
            labels: Some(labels(RUN)),
            owner_references: some(owner.into_iter()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            completions: Some(0),
            parallelism: Some(0),
            backoff_limit: Some(0),
            ttl_seconds_after_finished: i32::try_from(config.run_ttl).ok(),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(RUN)),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    service_account_name: config.service_account.clone(),
                    automount_service_account_token: Some(false),
                    restart_policy: Some("Never".to_owned()),
                    security_context: Some(pod_security()),
                    containers: vec![Container {
                        name: CONTAINER.to_owned(),
                        image: Some(image.unwrap_or_else(|| "none".to_owned())),
                        security_context: Some(container_security()),
                        ..Container::default()
                    }],
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::job::LABEL;

    #[test]
    fn renewed_job_has_its_full_time_left() {
        let created = Timestamp::now();
        let lifetime = |limit| Lifetime {
            created,
            created_here: Instant::now(),
            limit: Duration::from_secs(limit),
        };
        let after = |seconds| created + Duration::from_secs(seconds);
        assert_eq!(lifetime(3600).ttl(created), 3600);
        // The machine has slept: its monotonic clock has hardly moved.
        assert_eq!(lifetime(3600).ttl(after(5000)), 8600);
        assert_eq!(lifetime(3600).renewal(), RENEWAL);
        assert_eq!(lifetime(10).renewal(), Duration::from_millis(2500));
        assert_eq!(lifetime(1).renewal(), Duration::from_secs(1));
    }

    #[test]
    fn job_of_a_run_has_no_pods_and_is_removed() {
        let text =
            "run-ttl = 60\nservice-account = 'builder'\n[[images]]\nimage = 'builder:3.12'\n";
        let config = FarmConfig::parse(text, Path::new("farm.toml")).unwrap();
        let job = serde_json::to_value(run_job(&config, None)).unwrap();
        assert_eq!(job["metadata"]["generateName"], "wheelhouse-run-");
        // Watches of steps do not select it.
        assert_eq!(job["metadata"]["labels"][LABEL], RUN);
        let expected = json!({
            "completions": 0,
            "parallelism": 0,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 60,
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&job["spec"][key], value, "{key}");
        }
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "builder");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let container = &pod["containers"][0];
        assert_eq!(container["image"], "builder:3.12");
        let dropped = &container["securityContext"]["capabilities"]["drop"];
        assert_eq!(*dropped, json!(["ALL"]));
    }
}
