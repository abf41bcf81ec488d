//! The Jobs and pods of all farms in the namespace, as the API server reports their changes.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Lookup, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connection::ApiServer;
use crate::job::{LABEL, NAME, STEP};

/// The label with which the Job controller marks the pods of a Job. Clusters before Kubernetes 1.27 have only this one, newer
/// ones also `batch.kubernetes.io/job-name`.
const JOB: &str = "job-name";

/// The Jobs and pods, which two tasks keep current until this is dropped.
pub(super) struct Watched {
    namespace: String,
    jobs: Store<Job>,
    pods: Store<Pod>,
    changes: watch::Receiver<u64>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Watched {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Watched {
    /// Starts the tasks.
    pub(super) fn start(jobs: &Api<Job>, pods: &Api<Pod>, server: &ApiServer) -> Self {
        let (sender, changes) = watch::channel(0);
        let namespace = jobs.namespace().unwrap_or_default().to_owned();
        let (jobs, watching_jobs) = follow(jobs.clone(), server.clone(), sender.clone());
        let (pods, watching_pods) = follow(pods.clone(), server.clone(), sender);
        Self {
            namespace,
            jobs,
            pods,
            changes,
            tasks: [watching_jobs, watching_pods],
        }
    }

    /// Waits until all Jobs and pods are known.
    pub(super) async fn ready(&self) {
        // An error means that the task has ended, which only happens when this is dropped.
        let _ = self.jobs.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
    }

    /// Returns a receiver of changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Returns the Job with this name.
    pub(super) fn job(&self, name: &str) -> Option<Arc<Job>> {
        self.jobs.get(&ObjectRef::new(name).within(&self.namespace))
    }

    /// Returns the newest pod of the Job with this name.
    pub(super) fn pod(&self, job: &str) -> Option<Arc<Pod>> {
        let pods = self.pods.state_filter(|pod| is_pod_of(pod, job));
        pods.into_iter()
            .max_by_key(|pod| pod.metadata.creation_timestamp.clone())
    }

    /// Returns the Jobs of the step with this digest.
    pub(super) fn jobs_of_step(&self, digest: &str) -> Vec<Arc<Job>> {
        self.jobs.state_filter(|job| {
            let annotations = job.metadata.annotations.as_ref();
            annotations
                .and_then(|all| all.get(STEP))
                .map(String::as_str)
                == Some(digest)
        })
    }
}

/// Returns the label selector of the pods of a Job.
pub(super) fn pods_of(job: &str) -> String {
    format!("{JOB}={job}")
}

fn is_pod_of(pod: &Pod, job: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(JOB))
        .map(String::as_str)
        == Some(job)
}

/// Watches `api`, and repeats with growing pauses when the server is lost.
fn follow<K>(
    api: Api<K>,
    server: ApiServer,
    changes: watch::Sender<u64>,
) -> (Store<K>, JoinHandle<()>)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone + Default,
{
    let (reader, mut writer) = reflector::store();
    let selection = watcher::Config::default().labels(&format!("{LABEL}={NAME}"));
    let task = tokio::spawn(async move {
        let mut stream = watcher(api, selection).default_backoff().boxed();
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    writer.apply_watcher_event(&event);
                    server.note_found();
                }
                // The server ends watches from time to time; the library lists the objects again.
                Err(watcher::Error::WatchError(_)) => {}
                Err(
                    watcher::Error::InitialListFailed(kube::Error::Api(status))
                    | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
                ) if matches!(status.code, 401 | 403) => server.note_refused(&status.message),
                Err(error) => server.note_lost(&error),
            }
            changes.send_modify(|count| *count += 1);
        }
    });
    (reader, task)
}
