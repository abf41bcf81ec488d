//! Faults of pods, nodes, the API server and the command while a farm builds.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{Farm, PYTHON, slow};
use crate::support::{Sdist, tree};

#[test]
#[cfg_attr(not(feature = "test-kubernetes"), ignore = "requires Kubernetes")]
fn each_fault_repeats_its_step_or_ends_in_one_message() {
    let farm = Farm::start(&[PYTHON]);
    killed_and_evicted_pods(&farm);
    exceeded_memory(&farm);
    exceeded_disk(&farm);
    missing_image(&farm);
    lost_node(&farm);
}

fn killed_and_evicted_pods(farm: &Farm) {
    let machine = farm.machine("pods", "memory = '256Mi'");
    machine.index.add_sdist(&slow("alpha", 8));
    machine.index.add_sdist(&Sdist::new("beta", "1.0"));
    let mut run = machine.start(&["alpha", "beta"]);
    let alpha = || {
        let cluster = farm.cluster.borrow();
        let pods = cluster.objects(machine.namespace, "pods");
        let running = pods.into_iter().find(|pod| {
            let package = &pod["metadata"]["annotations"]["wheelhouse/package"];
            pod["status"]["phase"] == "Running" && package == "alpha==1.0"
        });
        running.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
    };
    let mut wait_for_alpha = || loop {
        if let Some(name) = alpha() {
            break name;
        }
        assert!(!run.is_over(), "{}", run.output());
        std::thread::sleep(Duration::from_millis(100));
    };
    let first = wait_for_alpha();
    let force = ["--grace-period=0", "--force"];
    let delete = ["delete", "pod", &first, "--namespace", machine.namespace];
    farm.cluster
        .borrow()
        .kubectl(&[&delete[..], &force].concat());
    let second = loop {
        let name = wait_for_alpha();
        if name != first {
            break name;
        }
    };
    let eviction = json!({
        "apiVersion": "policy/v1beta1",
        "kind": "Eviction",
        "metadata": {"name": second, "namespace": machine.namespace},
    });
    let file = machine
        .sandbox
        .write("eviction.json", &eviction.to_string());
    let path = format!(
        "/api/v1/namespaces/{}/pods/{second}/eviction",
        machine.namespace
    );
    let create = ["create", "--raw", &path, "-f", file.to_str().unwrap()];
    farm.cluster.borrow().kubectl(&create);
    run.finish().assert_success();
    let wheels = ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"];
    assert_eq!(tree::wheels(&machine.sandbox.out()), wheels);
    // The step of beta was not repeated.
    let jobs = farm.cluster.borrow().created(machine.namespace, "pods");
    let beta = jobs
        .iter()
        .filter(|pod| pod["metadata"]["annotations"]["wheelhouse/package"] == "beta==1.0");
    assert_eq!(beta.count(), 1);
    machine.assert_empty();
}

fn exceeded_memory(farm: &Farm) {
    let machine = farm.machine("memory", "memory = '128Mi'\nmemory-limit = '512Mi'");
    let script = "block = bytearray(300 << 20)";
    machine
        .index
        .add_sdist(&Sdist::new("greedy", "1.0").script(script));
    let result = machine.build(&["greedy"]);
    result.assert_success();
    let repeated =
        "256Mi of memory were too little for greedy==1.0; the step is repeated with 512Mi";
    assert!(result.stderr.contains(repeated), "{}", result.stderr);
    assert_eq!(machine.created("jobs"), 3);

    let script = "block = bytearray(700 << 20)";
    machine
        .index
        .add_sdist(&Sdist::new("greedier", "1.0").script(script));
    let result = machine.build(&["greedier"]);
    result.assert_exit(5).assert_error_names(&[
        "512Mi of memory were too little for greedier==1.0",
        "memory-limit",
    ]);
    machine.assert_empty();
}

fn exceeded_disk(farm: &Farm) {
    let machine = farm.machine("disk", "memory = '256Mi'\ndisk = '50Mi'\nretries = 0");
    let script = "open('large', 'wb').write(bytes(100 << 20))\ntime.sleep(60)";
    machine
        .index
        .add_sdist(&Sdist::new("large", "1.0").script(script));
    let result = machine.build(&["large"]);
    result.assert_exit(5).assert_error_names(&[
        "large==1.0",
        "lost once",
        "Evicted",
        "50Mi",
        "retries",
    ]);
    machine.assert_empty();
}

fn missing_image(farm: &Farm) {
    let image = "[[images]]\nimage = '127.0.0.1:1/missing:1'\n";
    let machine = farm.machine("image", &format!("image-timeout = 8\n{image}"));
    machine.index.add_sdist(&Sdist::new("alpha", "1.0"));
    let result = machine.build(&["alpha"]);
    result.assert_exit(5).assert_error_names(&[
        "127.0.0.1:1/missing:1",
        "alpha==1.0",
        "cannot be pulled",
    ]);
    machine.assert_empty();
}

/// Loses the only node while a step runs there. The step waits for it: Kubernetes evicts no pods when all nodes are lost.
fn lost_node(farm: &Farm) {
    let machine = farm.machine("node", "memory = '256Mi'");
    machine.index.add_sdist(&slow("alpha", 5));
    let mut run = machine.start(&["alpha", "--verbose"]);
    machine.running_pod(&mut run);
    farm.cluster.borrow_mut().control("stop", "kubelet");
    let end = Instant::now() + Duration::from_mins(1);
    while !run.output().contains("the node localhost does not report") {
        assert!(!run.is_over(), "{}", run.output());
        assert!(Instant::now() < end, "{}", run.output());
        std::thread::sleep(Duration::from_millis(200));
    }
    farm.cluster.borrow_mut().control("start", "kubelet");
    run.finish().assert_success();
    machine.assert_once();
    machine.assert_empty();
}

#[test]
#[cfg_attr(not(feature = "test-kubernetes"), ignore = "requires Kubernetes")]
fn no_step_runs_twice_after_lost_api_server_and_killed_command() {
    let farm = Farm::start(&[PYTHON]);
    let machine = farm.machine("restarts", "memory = '256Mi'");
    machine.index.add_sdist(&slow("alpha", 6));
    let mut run = machine.start(&["alpha"]);
    machine.running_pod(&mut run);
    {
        let mut cluster = farm.cluster.borrow_mut();
        cluster.control("kill", "kube-apiserver");
        cluster.control("start", "kube-apiserver");
    }
    run.finish().assert_success();
    assert_eq!((machine.created("jobs"), machine.created("pods")), (1, 1));
    machine.assert_empty();

    machine.index.add_sdist(&slow("beta", 10));
    let mut run = machine.start(&["beta"]);
    machine.running_pod(&mut run);
    run.kill();
    run.finish();
    machine.build(&["beta"]).assert_success();
    assert_eq!((machine.created("jobs"), machine.created("pods")), (2, 2));
    machine.assert_once();

    // What a killed command leaves goes by itself.
    let killed = farm.machine("killed", "memory = '256Mi'\nrun-ttl = 5");
    killed.index.add_sdist(&slow("delta", 60));
    let mut run = killed.start(&["delta"]);
    killed.running_pod(&mut run);
    run.kill();
    run.finish();
    killed.assert_empty();

    // After an interruption, the command removes its Jobs.
    machine.index.add_sdist(&slow("gamma", 60));
    let mut run = machine.start(&["gamma"]);
    machine.running_pod(&mut run);
    run.signal(Signal::INT);
    run.finish().assert_exit(130);
}
