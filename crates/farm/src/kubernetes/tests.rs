//! Tests against a scripted API server.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use kube::Config;
use wheelhouse_types::{Kind, Observer};

use super::*;
use crate::testing::{self, Recorder};
use fake::{FakeServer, Life};

async fn connect(server: &FakeServer, more: &str, recorder: &Arc<Recorder>) -> Kubernetes {
    let text = format!("namespace = 'builds'\n{more}\n[[images]]\nimage = 'builder:3.12'\n");
    let config = FarmConfig::parse(&text, std::path::Path::new("farm.toml")).unwrap();
    let connection = Connection::of_config(Config::new(server.url.parse().unwrap()));
    let observer = Arc::clone(recorder) as Arc<dyn Observer>;
    Kubernetes::connect(connection, config, "s3://wheels".to_owned(), observer)
        .await
        .unwrap()
}

/// Runs one step within a time limit.
async fn run(farm: &Kubernetes, recorder: &Arc<Recorder>) -> Result<()> {
    let observer = Arc::clone(recorder) as Arc<dyn Observer>;
    let step = testing::step();
    let running = farm.run(&step, &observer);
    tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .expect("the step ends")
}

fn job(number: u32) -> String {
    let digest = testing::step().digest().to_string();
    format!("wheelhouse-{}-{number}", &digest[..40])
}

async fn clean_up(farm: &Kubernetes) {
    let cleanup = farm.cleanup();
    let cleaning = tokio::task::spawn_blocking(move || cleanup.run());
    cleaning.await.unwrap();
}

/// Waits until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the condition does not hold after ten seconds");
}

#[tokio::test]
async fn step_becomes_one_job_and_its_place_is_reported() {
    let server = FakeServer::start([Life::Done]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "", &recorder).await;
    run(&farm, &recorder).await.unwrap();
    assert_eq!(server.created("jobs"), [job(0)]);
    // A finished Job counts towards quotas.
    assert!(server.names("jobs").is_empty());
    assert_eq!(server.names("runs").len(), 1);
    let placed = recorder.events("build-placed");
    assert!(placed[0].contains("node-1 (pod "), "{placed:?}");
    clean_up(&farm).await;
    assert!(server.names("runs").is_empty());
}

#[tokio::test]
async fn error_of_the_worker_is_that_of_the_step() {
    let log = "starting\n{\"event\":\"error\",\"kind\":\"build\",\"code\":5,\"message\":\"failed to build example==1.0\",\
               \"detail\":\"gcc: not found\",\"hint\":\"Install gcc.\"}\n";
    let server = FakeServer::start([Life::Exit(5, log.to_owned())]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "", &recorder).await;
    let error = run(&farm, &recorder).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Build);
    assert_eq!(error.to_string(), "failed to build example==1.0");
    assert_eq!(error.detail(), Some("gcc: not found"));
    assert_eq!(error.hint(), Some("Install gcc."));
    assert_eq!(server.created("jobs"), [job(0)]);
    clean_up(&farm).await;
    assert!(server.names("jobs").is_empty());
}

#[tokio::test]
async fn lost_pods_are_repeated_up_to_the_limit() {
    let server = FakeServer::start([Life::Killed, Life::Killed, Life::Done]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "", &recorder).await;
    run(&farm, &recorder).await.unwrap();
    assert_eq!(server.created("jobs"), [job(0), job(1), job(2)]);
    assert_eq!(recorder.events("warning").len(), 2);

    let server = FakeServer::start(vec![Life::Killed; 9]).await;
    let farm = connect(&server, "retries = 1", &recorder).await;
    let error = run(&farm, &recorder).await.unwrap_err();
    assert!(error.to_string().contains("was lost 2 times"), "{error}");
    assert_eq!(server.created("jobs").len(), 2);
}

#[tokio::test]
async fn exceeded_memory_is_doubled_up_to_the_limit() {
    let server = FakeServer::start([Life::OutOfMemory, Life::OutOfMemory]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "memory = '2Gi'\nmemory-limit = '4Gi'", &recorder).await;
    let error = run(&farm, &recorder).await.unwrap_err();
    assert!(
        error.to_string().contains("4Gi of memory were too little"),
        "{error}"
    );
    let memory = |number| {
        let job = server.object("jobs", &job(number));
        job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"].clone()
    };
    assert_eq!(memory(0), "2Gi");
    assert_eq!(memory(1), "4Gi");
}

#[tokio::test]
async fn running_job_is_adopted_and_kept_for_the_other_run() {
    let server = FakeServer::start([Life::Endless]).await;
    let recorder = Arc::default();
    let (first, second) = (
        connect(&server, "", &recorder).await,
        connect(&server, "", &recorder).await,
    );
    let owners = || {
        let names = server.names("jobs");
        let job = names.first().map(|name| server.object("jobs", name));
        job.map_or(0, |job| {
            job["metadata"]["ownerReferences"].as_array().unwrap().len()
        })
    };
    let killed = async {
        tokio::select! {
            outcome = run(&first, &recorder) => panic!("it ended: {outcome:?}"),
            () = until(|| owners() == 2) => {}
        }
    };
    let adopting = async {
        until(|| owners() == 1).await;
        run(&second, &recorder).await
    };
    let finishing = async {
        killed.await;
        // The interrupted run removes itself from the owners, and not the Job.
        clean_up(&first).await;
        assert_eq!(owners(), 1);
        server.finish(&job(0));
    };
    let (outcome, ()) = futures::join!(adopting, finishing);
    outcome.unwrap();
    assert_eq!(server.created("jobs"), [job(0)]);
}

#[tokio::test]
async fn interrupted_run_removes_the_job_that_only_it_owns() {
    let server = FakeServer::start([Life::Endless]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "", &recorder).await;
    tokio::select! {
        outcome = run(&farm, &recorder) => panic!("it ended: {outcome:?}"),
        () = until(|| !recorder.events("build-placed").is_empty()) => {}
    }
    clean_up(&farm).await;
    assert!(server.names("jobs").is_empty());
}

#[tokio::test]
async fn run_postpones_the_removal_of_its_jobs_while_it_lives() {
    let server = FakeServer::start([Life::Endless]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "run-ttl = 3", &recorder).await;
    let [run] = &server.names("runs")[..] else {
        panic!("not one Job of the run");
    };
    let ttl = || {
        let job = server.object("runs", run);
        job["spec"]["ttlSecondsAfterFinished"].as_u64().unwrap()
    };
    assert_eq!(ttl(), 3);
    until(|| ttl() >= 5).await;
    // The owner of the Jobs of steps is this one.
    tokio::select! {
        outcome = self::run(&farm, &recorder) => panic!("it ended: {outcome:?}"),
        () = until(|| !server.names("jobs").is_empty()) => {}
    }
    let owner = &server.object("jobs", &job(0))["metadata"]["ownerReferences"][0];
    assert_eq!(
        (owner["kind"].as_str(), owner["name"].as_str()),
        (Some("Job"), Some(&run[..]))
    );
    // A killed command renews nothing.
    drop(farm);
    let last = ttl();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ttl(), last);
}

#[tokio::test]
async fn attempts_continue_after_those_of_earlier_runs() {
    let server = FakeServer::start([Life::Exit(5, String::new()), Life::Done]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "", &recorder).await;
    run(&farm, &recorder).await.unwrap_err();
    // The coordinator was killed: nothing is removed.
    drop(farm);
    let farm = connect(&server, "", &recorder).await;
    run(&farm, &recorder).await.unwrap();
    assert_eq!(server.created("jobs"), [job(0), job(1)]);
}

#[tokio::test]
async fn step_that_was_finished_after_the_run_started_is_not_repeated() {
    let server = FakeServer::start([Life::Endless, Life::Done]).await;
    let recorder: Arc<Recorder> = Arc::default();
    let (killed, farm) = (
        connect(&server, "", &recorder).await,
        connect(&server, "", &recorder).await,
    );
    let observer = Arc::clone(&recorder) as Arc<dyn Observer>;
    let step = testing::step();
    let running = killed.run(&step, &observer);
    let killing = tokio::time::timeout(Duration::from_millis(500), running);
    assert!(killing.await.is_err());
    drop(killed);
    server.finish(&job(0));
    run(&farm, &recorder).await.unwrap();
    assert_eq!(server.created("jobs"), [job(0)]);
    // The record of a Job that was finished before was not found: it was removed.
    server.finish_earlier(&job(0));
    let farm = connect(&server, "", &recorder).await;
    run(&farm, &recorder).await.unwrap();
    assert_eq!(server.created("jobs"), [job(0), job(1)]);
}

#[tokio::test]
async fn quota_is_waited_for_and_shown() {
    let server = FakeServer::start([Life::Refused("exceeded quota: pods".to_owned())]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "", &recorder).await;
    server.reject_jobs(2);
    run(&farm, &recorder).await.unwrap();
    let waiting = recorder.events("build-waiting");
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert!(waiting[0].contains("exceeded quota: builds"), "{waiting:?}");
    assert!(waiting[1].contains("exceeded quota: pods"), "{waiting:?}");
}

#[tokio::test]
async fn quota_that_rejects_a_run_is_waited_for_and_shown_once() {
    let server = FakeServer::start([]).await;
    server.reject_jobs(2);
    let recorder = Arc::default();
    connect(&server, "", &recorder).await;
    let warnings = recorder.events("warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("exceeded quota: builds"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn image_that_cannot_be_pulled_is_named() {
    let server = FakeServer::start([Life::NoImage]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "image-timeout = 1", &recorder).await;
    let error = run(&farm, &recorder).await.unwrap_err();
    let expected =
        "the image builder:3.12 for example==1.0 cannot be pulled: ImagePullBackOff: no such image";
    assert_eq!(error.to_string(), expected);
    assert!(server.names("jobs").is_empty());
}

#[tokio::test]
async fn lost_api_server_is_waited_for_and_warned_of_once() {
    let server = FakeServer::start([Life::Endless]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "", &recorder).await;
    let disturbing = async {
        until(|| !recorder.events("build-placed").is_empty()).await;
        server.set_down(true);
        until(|| !recorder.events("warning").is_empty()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.set_down(false);
        server.finish(&job(0));
    };
    let (outcome, ()) = futures::join!(run(&farm, &recorder), disturbing);
    outcome.unwrap();
    assert_eq!(recorder.events("warning").len(), 1);
    assert_eq!(server.created("jobs"), [job(0)]);
}

#[tokio::test]
async fn api_server_that_stays_lost_ends_the_run() {
    let server = FakeServer::start([Life::Endless]).await;
    let recorder = Arc::default();
    let farm = connect(&server, "api-timeout = 2", &recorder).await;
    let disturbing = async {
        until(|| !recorder.events("build-placed").is_empty()).await;
        server.set_down(true);
    };
    let (outcome, ()) = futures::join!(run(&farm, &recorder), disturbing);
    let error = outcome.unwrap_err();
    assert!(
        error.to_string().contains("was not reached for 2 seconds"),
        "{error}"
    );
}
