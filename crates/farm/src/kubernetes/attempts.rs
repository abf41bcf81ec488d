//! The attempts at a step: each is a Job that is created or adopted, and watched until it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Event as KubernetesEvent;
use kube::ResourceExt as _;
use kube::api::ListParams;
use tracing::{debug, instrument};
use wheelhouse_types::step::BuildStep;
use wheelhouse_types::{Error, Event, Kind, Observer, Result, Sha256};

use super::jobs::release;
use super::reported::Reported;
use super::watch::pods_of;
use super::{Kubernetes, TICK, millis};
use crate::job::Attempt;
use crate::outcome::{JobOutcome, StartProblem, StepState, state};
use crate::quantity::Memory;

/// The time after which a Job without a pod is probably refused by a quota.
const WITHOUT_POD: Duration = millis(5000, 200);

/// The end of an attempt that was not a failure of the build.
enum End {
    Done,
    Lost(String),
    OutOfMemory,
}

impl Kubernetes {
    /// Carries out `step` in as many attempts as it takes.
    #[instrument(name = "step", skip_all, fields(%step))]
    pub(super) async fn carry_out(
        &self,
        step: &BuildStep,
        observer: &Arc<dyn Observer>,
    ) -> Result<()> {
        let digest = step.digest();
        let mut memory = self.config.resources(&step.name).memory;
        let (mut number, mut lost) = (0, 0);
        if let Some((found, job)) = self.last_attempt(digest) {
            memory = memory_of(&job).unwrap_or(memory);
            number = match state(Some(&job), self.watched.pod(&job.name_any()).as_deref()) {
                // A failure of an earlier run may have had a cause that the user has removed since.
                StepState::Ended(JobOutcome::OutOfMemory) => {
                    memory = self.more_memory(memory, step)?;
                    found + 1
                }
                StepState::Ended(JobOutcome::Done) if self.owner.is_completed_since(&job) => {
                    debug!(found, "a Job of another run has finished the step");
                    return Ok(());
                }
                StepState::Ended(_) => found + 1,
                _ => found,
            };
            debug!(found, number, "found Jobs of the step");
        }
        loop {
            let attempt = Attempt {
                step,
                digest,
                number,
                memory,
                cache: &self.cache,
            };
            let name = attempt.name();
            self.set_active(&name, true);
            let end = Box::pin(self.attempt(&attempt, observer)).await;
            if end.is_ok() {
                // After an error, the Job is removed with what the run leaves.
                self.set_active(&name, false);
            }
            match end? {
                End::Done => {
                    // A finished Job counts towards quotas. Its result is in the shared cache.
                    if let Err(error) = release(&self.jobs, &name, self.owner.reference()).await {
                        debug!(name, %error, "failed to remove a finished Job");
                    }
                    return Ok(());
                }
                End::Lost(reason) => {
                    lost += 1;
                    if lost > self.config.retries {
                        let times = match lost {
                            1 => "once".to_owned(),
                            times => format!("{times} times"),
                        };
                        let message =
                            format!("the pod of {step} was lost {times}, at last: {reason}");
                        let hint = "Allow more attempts with `retries` in farm.toml.";
                        return Err(Error::new(Kind::Build, message).with_hint(hint));
                    }
                    observer.observe(&Event::warning(format!(
                        "the pod of {step} was lost and the step is repeated: {reason}"
                    )));
                }
                End::OutOfMemory => {
                    let more = self.more_memory(memory, step)?;
                    observer.observe(&Event::warning(format!(
                        "{memory} of memory were too little for {step}; the step is repeated with {more}"
                    )));
                    memory = more;
                }
            }
            number += 1;
        }
    }

    fn more_memory(&self, memory: Memory, step: &BuildStep) -> Result<Memory> {
        memory.doubled(self.config.memory_limit).ok_or_else(|| {
            let message = format!("{memory} of memory were too little for {step}");
            let hint = "Raise `memory-limit` in farm.toml, or lower the parallelism of the build with a variable of --build-env.";
            Error::new(Kind::Build, message).with_hint(hint)
        })
    }

    /// Returns the number of the last attempt at the step of which there is a Job.
    fn last_attempt(&self, digest: Sha256) -> Option<(u32, Arc<Job>)> {
        let jobs = self.watched.jobs_of_step(&digest.to_string());
        let numbered = jobs.into_iter().filter_map(|job| {
            let name = job.name_any();
            let (_, number) = name.rsplit_once('-')?;
            Some((number.parse().ok()?, job))
        });
        numbered.max_by_key(|(number, _)| *number)
    }

    async fn attempt(&self, attempt: &Attempt<'_>, observer: &Arc<dyn Observer>) -> Result<End> {
        let name = attempt.name();
        let package = attempt.step.to_string();
        self.create_or_adopt(attempt, observer).await?;
        let mut changes = self.watched.changes();
        let mut reported = Reported::default();
        let started = Instant::now();
        let mut problem_since = None;
        loop {
            let (job, pod) = (self.watched.job(&name), self.watched.pod(&name));
            let mut problem_now = None;
            match state(job.as_deref(), pod.as_deref()) {
                StepState::Ended(JobOutcome::Done) => return Ok(End::Done),
                StepState::Missing => {
                    // The watch may not have seen the Job yet.
                    let found = self.server.request(|| self.jobs.get_opt(&name)).await?;
                    let found =
                        found.map_err(|error| self.server.rejected("reading a Job", error))?;
                    if found.is_none_or(|job| job.metadata.deletion_timestamp.is_some()) {
                        return Ok(End::Lost("its Job was removed".to_owned()));
                    }
                }
                StepState::Ended(_) => return self.ended(attempt, observer).await,
                StepState::Running(place) => {
                    if reported.place.as_ref() != Some(&place) {
                        observer.observe(&Event::BuildPlaced {
                            package: package.clone(),
                            place: format!("{} (pod {})", place.node, place.pod),
                            step: attempt.digest,
                        });
                        if observer.wants_output() {
                            reported.follow(&place.pod, || self.follow(&place.pod, observer));
                        }
                        reported.running(place);
                    }
                }
                StepState::Waiting {
                    mut reason,
                    problem,
                } => {
                    problem_now = problem;
                    if let Some(problem) = problem {
                        let since = *problem_since.get_or_insert_with(Instant::now);
                        self.check_start(attempt, problem, since, &reason).await?;
                    }
                    if reason.is_empty() && pod.is_none() && started.elapsed() > WITHOUT_POD {
                        reason = self.refusal(&name).await.unwrap_or_default();
                    }
                    reported.waiting(&package, reason, &**observer);
                }
            }
            if problem_now.is_none() {
                problem_since = None;
            }
            self.server.check()?;
            // A lost sender means that the watch has ended; the next judgment then reads the server.
            let _ = tokio::time::timeout(TICK, changes.changed()).await;
        }
    }

    /// Fails if a pod that cannot start had enough time.
    async fn check_start(
        &self,
        attempt: &Attempt<'_>,
        problem: StartProblem,
        since: Instant,
        reason: &str,
    ) -> Result<()> {
        let limit = Duration::from_secs(self.config.image_timeout.into());
        if problem != StartProblem::ImageName && since.elapsed() < limit {
            return Ok(());
        }
        let target = attempt.step.target.parse()?;
        let image = &self.config.image(&target)?.image;
        // Otherwise the pod would wait until the deadline of the Job.
        self.delete(&attempt.name()).await;
        let (message, hint) = match problem {
            StartProblem::Image | StartProblem::ImageName => (
                format!(
                    "the image {image} for {} cannot be pulled: {reason}",
                    attempt.step
                ),
                "Check `images` and `image-pull-secrets` in farm.toml, and that the nodes reach the registry.",
            ),
            StartProblem::Configuration => (
                format!("the pod of {} cannot start: {reason}", attempt.step),
                "Check `cache-secret` and `service-account` in farm.toml.",
            ),
        };
        Err(Error::new(Kind::Build, message).with_hint(hint))
    }

    /// Judges a Job that has ended without success, with its pod as the server knows it now: the watches of Jobs and pods are
    /// independent of each other.
    async fn ended(&self, attempt: &Attempt<'_>, observer: &Arc<dyn Observer>) -> Result<End> {
        let name = attempt.name();
        let selection = ListParams::default().labels(&pods_of(&name));
        let pods = self.server.request(|| self.pods.list(&selection)).await?;
        let pods = pods.map_err(|error| self.server.rejected("reading pods", error))?;
        let newest = pods
            .items
            .into_iter()
            .max_by_key(|pod| pod.metadata.creation_timestamp.clone());
        let job = self.watched.job(&name);
        let StepState::Ended(outcome) = state(job.as_deref(), newest.as_ref()) else {
            return Ok(End::Lost("its pod has changed".to_owned()));
        };
        debug!(name, ?outcome, "a Job has ended");
        let pod = newest.and_then(|pod| pod.metadata.name).unwrap_or_default();
        match outcome {
            JobOutcome::Done => Ok(End::Done),
            JobOutcome::Lost(reason) => Ok(End::Lost(reason)),
            JobOutcome::OutOfMemory => Ok(End::OutOfMemory),
            JobOutcome::Deadline => {
                let seconds = self.config.deadline;
                let message = format!("{} was not finished within {seconds} seconds", attempt.step);
                let hint = "Raise `deadline` in farm.toml.";
                Err(Error::new(Kind::Build, message).with_hint(hint))
            }
            JobOutcome::WorkerFailed(code) => {
                let error = self.worker_error(&pod, observer).await;
                Err(error.unwrap_or_else(|reason| {
                    let message =
                        format!("the worker of {} ended with exit code {code}", attempt.step);
                    Error::new(Kind::Build, message).with_detail(reason)
                }))
            }
        }
    }

    /// Returns why the Job controller does not create the pod of a Job, such as an exceeded quota.
    async fn refusal(&self, job: &str) -> Option<String> {
        let selection = ListParams::default().fields(&format!(
            "involvedObject.kind=Job,involvedObject.name={job}"
        ));
        let events = self.server.request(|| self.events.list(&selection)).await;
        let events = events.ok()?.ok()?;
        let failed = |event: &KubernetesEvent| event.reason.as_deref() == Some("FailedCreate");
        let newest = events
            .items
            .into_iter()
            .filter(failed)
            .max_by_key(|event| event.last_timestamp.clone());
        newest?.message
    }
}

fn memory_of(job: &Job) -> Option<Memory> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let limits = pod
        .containers
        .first()?
        .resources
        .as_ref()?
        .limits
        .as_ref()?;
    limits.get("memory")?.0.parse().ok()
}
