//! The state of a step, judged by its Job and its pod: the one place that tells why a Job ended.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

/// The state of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// The Job is missing at the API server.
    Missing,
    /// The pod cannot start yet, or its node is lost.
    Waiting {
        /// The reason, as Kubernetes states it; empty while nothing is known.
        reason: String,
        /// Set if waiting longer will probably not help.
        problem: Option<StartProblem>,
    },
    /// The pod runs.
    Running(Place),
    /// The Job has ended.
    Ended(JobOutcome),
}

/// The reason why a container cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartProblem {
    /// The image cannot be pulled now.
    Image,
    /// The name of the image is not valid, or the image may not be pulled.
    ImageName,
    /// The pod refers to something that is missing, such as a Secret.
    Configuration,
}

/// The place of a running step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: String,
    /// The name of the pod.
    pub pod: String,
}

/// The reason why a Job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// The worker has written the wheel and its record.
    Done,
    /// The worker reported an error, with its exit code.
    WorkerFailed(i32),
    /// The pod ended for a reason that lies outside of the step.
    Lost(String),
    /// The memory of the container was too small.
    OutOfMemory,
    /// The time limit of the Job was exceeded.
    Deadline,
}

/// Judges a step by its Job and its pod, if it has one.
#[must_use]
pub fn state(job: Option<&Job>, pod: Option<&Pod>) -> StepState {
    let Some(job) = job else {
        return StepState::Missing;
    };
    if has_condition(job, "Complete") || has_condition(job, "SuccessCriteriaMet") {
        return StepState::Ended(JobOutcome::Done);
    }
    if let Some(reason) = failure(job) {
        return StepState::Ended(match reason {
            "DeadlineExceeded" => JobOutcome::Deadline,
            _ => ended(pod),
        });
    }
    if job.metadata.deletion_timestamp.is_some() {
        return StepState::Missing;
    }
    let Some(pod) = pod else {
        return waiting("", None);
    };
    let status = pod.status.as_ref();
    match status.and_then(|status| status.phase.as_deref()) {
        Some("Running") if is_on_lost_node(pod) => {
            let reason = format!("the node {} does not report", place(pod).node);
            waiting(&reason, None)
        }
        // The Job controller notices the end of a pod a moment later.
        Some("Running" | "Succeeded") => StepState::Running(place(pod)),
        Some("Failed") => StepState::Ended(ended(Some(pod))),
        _ => pending(pod),
    }
}

fn has_condition(job: &Job, name: &str) -> bool {
    let status = job.status.as_ref();
    let mut conditions = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten();
    conditions.any(|condition| condition.type_ == name && condition.status == "True")
}

/// Returns the reason of a failed Job. Newer API servers report `FailureTarget` before all pods have ended.
fn failure(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions.iter().find(|condition| {
        matches!(&*condition.type_, "Failed" | "FailureTarget") && condition.status == "True"
    })?;
    Some(failed.reason.as_deref().unwrap_or_default())
}

/// Returns whether the control plane has marked a running pod as not ready, because its node does not report. The node has
/// reported last that the container is ready.
fn is_on_lost_node(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let is_unready = conditions.any(|it| it.type_ == "Ready" && it.status == "False");
    is_unready && container(pod).is_some_and(|container| container.ready)
}

/// Returns why a pod ended, which was not well.
fn ended(pod: Option<&Pod>) -> JobOutcome {
    let Some(pod) = pod else {
        return JobOutcome::Lost("its pod was removed".to_owned());
    };
    let status = pod.status.as_ref();
    // The kubelet or the scheduler ended the pod; what the container reported last is not the cause.
    if let Some(reason) = status.and_then(|status| status.reason.as_deref()) {
        let message = status.and_then(|status| status.message.as_deref());
        return JobOutcome::Lost(join(reason, message));
    }
    let reason = terminated(pod).and_then(|terminated| terminated.reason.as_deref());
    if reason == Some("OOMKilled") {
        return JobOutcome::OutOfMemory;
    }
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let disruption = conditions
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    if let Some(disruption) = disruption {
        let reason = disruption.reason.as_deref().unwrap_or("DisruptionTarget");
        return JobOutcome::Lost(join(reason, disruption.message.as_deref()));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return JobOutcome::Lost("its pod was deleted".to_owned());
    }
    match terminated(pod) {
        // A signal from outside: the worker itself ends with codes below, or 130 after SIGINT and SIGTERM.
        Some(state) if state.exit_code >= 128 || state.exit_code < 0 => {
            let reason = state.reason.as_deref().unwrap_or("Error");
            JobOutcome::Lost(format!("{reason}, exit code {}", state.exit_code))
        }
        Some(state) if state.exit_code > 0 => match state.reason.as_deref() {
            // The container runtime could not start the program.
            Some(reason @ ("StartError" | "ContainerCannotRun")) => {
                JobOutcome::Lost(join(reason, state.message.as_deref()))
            }
            _ => JobOutcome::WorkerFailed(state.exit_code),
        },
        Some(_) => JobOutcome::Done,
        None => JobOutcome::Lost("its container has no status".to_owned()),
    }
}

/// Returns why a pod has not started.
fn pending(pod: &Pod) -> StepState {
    if let Some(state) = container(pod).and_then(|status| status.state.as_ref()?.waiting.as_ref()) {
        let reason = state.reason.as_deref().unwrap_or_default();
        if matches!(reason, "ContainerCreating" | "PodInitializing") {
            // Every pod starts so.
            return waiting("", None);
        }
        let problem = match reason {
            "InvalidImageName" | "ErrImageNeverPull" => Some(StartProblem::ImageName),
            "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => {
                Some(StartProblem::Image)
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                Some(StartProblem::Configuration)
            }
            _ => None,
        };
        return waiting(&join(reason, state.message.as_deref()), problem);
    }
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let scheduled = conditions.find(|condition| condition.type_ == "PodScheduled");
    match scheduled {
        Some(condition) if condition.status == "False" => {
            let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
            waiting(&join(reason, condition.message.as_deref()), None)
        }
        _ => waiting("", None),
    }
}

fn waiting(reason: &str, problem: Option<StartProblem>) -> StepState {
    StepState::Waiting {
        reason: reason.to_owned(),
        problem,
    }
}

fn place(pod: &Pod) -> Place {
    let spec = pod.spec.as_ref();
    Place {
        node: spec
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default(),
        pod: pod.metadata.name.clone().unwrap_or_default(),
    }
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first()
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    container(pod)?.state.as_ref()?.terminated.as_ref()
}

fn join(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) if reason.is_empty() => message.to_owned(),
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(conditions: &Value) -> Job {
        serde_json::from_value(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": "wheelhouse-1-0" },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    fn failed(reason: &str) -> Job {
        job(&json!([{ "type": "Failed", "status": "True", "reason": reason }]))
    }

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": "wheelhouse-1-0-x" },
            "spec": { "nodeName": "node-1", "containers": [] },
            "status": status,
        }))
        .unwrap()
    }

    fn terminated(exit_code: i32, reason: &str) -> Value {
        json!([{
            "name": "worker", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": { "terminated": { "exitCode": exit_code, "reason": reason } },
        }])
    }

    fn waiting_for(reason: &str, message: &str) -> Pod {
        pod(&json!({ "phase": "Pending", "containerStatuses": [{
            "name": "worker", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": { "waiting": { "reason": reason, "message": message } },
        }] }))
    }

    #[track_caller]
    fn assert_ended(job: &Job, pod: Option<&Pod>, outcome: JobOutcome) {
        assert_eq!(state(Some(job), pod), StepState::Ended(outcome));
    }

    #[test]
    fn completed_job_is_done() {
        let complete = job(&json!([{ "type": "Complete", "status": "True" }]));
        assert_ended(&complete, None, JobOutcome::Done);
        assert_eq!(state(None, None), StepState::Missing);
    }

    #[test]
    fn exit_code_of_the_worker_is_its_failure() {
        let pod = pod(&json!({ "phase": "Failed", "containerStatuses": terminated(5, "Error") }));
        let job = failed("BackoffLimitExceeded");
        assert_ended(&job, Some(&pod), JobOutcome::WorkerFailed(5));
    }

    #[test]
    fn exceeded_memory_is_told_from_other_kills() {
        let job = failed("BackoffLimitExceeded");
        let memory =
            pod(&json!({ "phase": "Failed", "containerStatuses": terminated(137, "OOMKilled") }));
        assert_ended(&job, Some(&memory), JobOutcome::OutOfMemory);
        let killed =
            pod(&json!({ "phase": "Failed", "containerStatuses": terminated(137, "Error") }));
        let reason = "Error, exit code 137".to_owned();
        assert_ended(&job, Some(&killed), JobOutcome::Lost(reason));
    }

    #[test]
    fn disruptions_are_losses_whatever_the_exit_code() {
        let job = failed("BackoffLimitExceeded");
        let evicted = pod(&json!({
            "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
            "containerStatuses": terminated(5, "Error"),
        }));
        let reason = "Evicted: The node was low on resource: memory.".to_owned();
        assert_ended(&job, Some(&evicted), JobOutcome::Lost(reason));
        let drained = pod(&json!({
            "phase": "Failed",
            "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" }],
            "containerStatuses": terminated(130, "Error"),
        }));
        let reason = "EvictionByEvictionAPI".to_owned();
        assert_ended(&job, Some(&drained), JobOutcome::Lost(reason));
        let reason = "its pod was removed".to_owned();
        assert_ended(&job, None, JobOutcome::Lost(reason));
    }

    #[test]
    fn exceeded_time_is_the_deadline() {
        assert_ended(&failed("DeadlineExceeded"), None, JobOutcome::Deadline);
    }

    #[test]
    fn reasons_for_waiting_are_those_of_kubernetes() {
        let job = job(&json!([]));
        let image = waiting_for("ImagePullBackOff", "Back-off pulling image");
        let expected = StepState::Waiting {
            reason: "ImagePullBackOff: Back-off pulling image".to_owned(),
            problem: Some(StartProblem::Image),
        };
        assert_eq!(state(Some(&job), Some(&image)), expected);
        let secret = waiting_for("CreateContainerConfigError", "secret \"a\" not found");
        let StepState::Waiting { problem, .. } = state(Some(&job), Some(&secret)) else {
            panic!("not waiting");
        };
        assert_eq!(problem, Some(StartProblem::Configuration));
        let starting = waiting_for("ContainerCreating", "");
        let expected = StepState::Waiting {
            reason: String::new(),
            problem: None,
        };
        assert_eq!(state(Some(&job), Some(&starting)), expected);
        let unscheduled = pod(&json!({ "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient memory.",
        }] }));
        let reason = "Unschedulable: 0/3 nodes are available: 3 Insufficient memory.".to_owned();
        let expected = StepState::Waiting {
            reason,
            problem: None,
        };
        assert_eq!(state(Some(&job), Some(&unscheduled)), expected);
    }

    #[test]
    fn running_pod_names_its_node() {
        let job = job(&json!([]));
        let pod = pod(&json!({ "phase": "Running" }));
        let place = Place {
            node: "node-1".to_owned(),
            pod: "wheelhouse-1-0-x".to_owned(),
        };
        assert_eq!(state(Some(&job), Some(&pod)), StepState::Running(place));
    }

    #[test]
    fn pod_on_a_lost_node_waits_for_it() {
        let job = job(&json!([]));
        let state = |is_ready: &str, container: bool| {
            let pod = pod(&json!({
                "phase": "Running",
                "conditions": [{ "type": "Ready", "status": is_ready }],
                "containerStatuses": [{
                    "name": "worker", "ready": container, "restartCount": 0, "image": "", "imageID": "",
                    "state": { "running": {} },
                }],
            }));
            state(Some(&job), Some(&pod))
        };
        let lost = StepState::Waiting {
            reason: "the node node-1 does not report".to_owned(),
            problem: None,
        };
        assert_eq!(state("False", true), lost);
        for running in [state("True", true), state("False", false)] {
            assert!(matches!(running, StepState::Running(_)), "{running:?}");
        }
    }
}
