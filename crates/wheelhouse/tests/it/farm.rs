//! The farm on a Kubernetes cluster with real parts, whose pods are admitted as by the `restricted-v2` of `OpenShift`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::containers::{Buildah, output_text, repository};
use crate::support::kubernetes::Cluster;
use crate::support::put_server::PutServer;
use crate::support::sandbox::RunningProcess;
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel, test_python, tree};

/// The Python of the host.
const PYTHON: &str = "3.11";

/// A cluster with a shared cache.
struct Farm {
    /// The Pythons of the images.
    pythons: &'static [&'static str],
    cluster: RefCell<Cluster>,
    cache: PutServer,
}

/// A machine that uses the farm, in a namespace of its own.
struct Machine<'a> {
    farm: &'a Farm,
    namespace: &'static str,
    index: Index,
    sandbox: Sandbox,
}

fn image(python: &str) -> String {
    format!("localhost/worker:{python}")
}

impl Farm {
    fn start(pythons: &'static [&'static str]) -> Self {
        let tree = |python: &&'static str| Buildah::with_python(python).base_archive();
        let names: Vec<String> = pythons.iter().map(|python| image(python)).collect();
        let names = names.iter().map(String::as_str);
        let images: Vec<(&str, PathBuf)> = names.zip(pythons.iter().map(tree)).collect();
        Self {
            pythons,
            cluster: RefCell::new(Cluster::start(&images)),
            cache: PutServer::start(),
        }
    }

    /// Creates a namespace and a machine whose kubeconfig is that of the account of the examples. The farm has
    /// `settings` besides its images.
    fn machine(&self, namespace: &'static str, settings: &str) -> Machine<'_> {
        let cluster = self.cluster.borrow();
        cluster.kubectl(&["create", "namespace", namespace]);
        apply_examples(&cluster, namespace);
        let mut sandbox = Sandbox::new();
        sandbox.set("KUBECONFIG", cluster.account(namespace, "wheelhouse"));
        let machine = Machine {
            farm: self,
            namespace,
            index: Index::start(),
            sandbox,
        };
        machine.configure(settings);
        machine
    }
}

impl Machine<'_> {
    fn configure(&self, settings: &str) {
        let images = self.farm.pythons.iter().map(|python| {
            let image = image(python);
            format!("[[images]]\nimage = '{image}'\npython = '{python}'\n")
        });
        let images: String = images.collect();
        let text = format!(
            "service-account = 'wheelhouse-step'\ncache-secret = 'wheelhouse-cache'\ncpu = '100m'\n{settings}\n{images}"
        );
        self.sandbox.write("farm.toml", &text);
    }

    /// Returns the options of every command.
    fn options(&self) -> [String; 4] {
        let cache = self.farm.cache.url(self.namespace);
        ["--workers", "kubernetes", "--cache-to", &cache].map(str::to_owned)
    }

    fn start(&self, arguments: &[&str]) -> RunningProcess {
        let options = self.options();
        let options = options.iter().map(String::as_str);
        let arguments: Vec<&str> = options.chain(arguments.iter().copied()).collect();
        self.sandbox.start(&self.index, &arguments)
    }

    fn build(&self, arguments: &[&str]) -> RunResult {
        self.start(arguments).finish()
    }

    fn download(&self, arguments: &[&str]) -> RunResult {
        let options = self.options();
        let options = options.iter().map(String::as_str);
        let arguments: Vec<&str> = options.chain(arguments.iter().copied()).collect();
        self.sandbox.download(&self.index, &arguments)
    }

    /// Returns another machine with an empty cache that builds the same without the farm.
    fn build_elsewhere(&self, arguments: &[&str]) -> (Sandbox, RunResult) {
        let sandbox = Sandbox::new();
        let result = sandbox.build(&self.index, arguments);
        (sandbox, result)
    }

    /// Waits until a pod runs, and returns its name.
    #[track_caller]
    fn running_pod(&self, run: &mut RunningProcess) -> String {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let pods = self.farm.cluster.borrow().objects(self.namespace, "pods");
            let running = pods.iter().find(|pod| pod["status"]["phase"] == "Running");
            if let Some(pod) = running {
                return pod["metadata"]["name"].as_str().unwrap().to_owned();
            }
            assert!(!run.is_over(), "{}", run.output());
            assert!(Instant::now() < end, "no pod runs: {pods:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Counts the objects of steps that were ever created.
    fn created(&self, resource: &str) -> usize {
        self.steps(resource).len()
    }

    /// Returns the objects of steps that were ever created.
    fn steps(&self, resource: &str) -> Vec<Value> {
        let cluster = self.farm.cluster.borrow();
        let mut created = cluster.created(self.namespace, resource);
        created.retain(|object| {
            object["metadata"]["labels"]["app.kubernetes.io/name"] == "wheelhouse-step"
        });
        created
    }

    /// Checks that each step was carried out once: its record was put once under its key and once under the ordinary one.
    #[track_caller]
    fn assert_once(&self) {
        let puts = self.farm.cache.puts(&format!("/{}/ac/", self.namespace));
        assert!(!puts.is_empty());
        assert!(puts.iter().all(|(_, count)| *count == 1), "{puts:?}");
    }

    /// Checks that nothing of the runs is left in the namespace.
    #[track_caller]
    fn assert_empty(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let left = self
                .farm
                .cluster
                .borrow()
                .objects(self.namespace, "jobs,pods");
            let names = left.iter().map(|object| &object["metadata"]["name"]);
            let names: Vec<&Value> = names.collect();
            if names.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left: {names:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn apply_examples(cluster: &Cluster, namespace: &str) {
    let examples = repository().join("examples/farm");
    let directory = examples.to_str().unwrap();
    cluster.kubectl(&["apply", "--namespace", namespace, "-k", directory]);
    let secret = examples.join("cache-secret.yaml");
    let secret = secret.to_str().unwrap();
    cluster.kubectl(&["apply", "--namespace", namespace, "-f", secret]);
}

/// Returns an sdist whose build takes some seconds.
fn slow(name: &str, seconds: u32) -> Sdist {
    Sdist::new(name, "1.0").script(&format!("time.sleep({seconds})"))
}

#[test]
#[cfg_attr(not(feature = "test-kubernetes"), ignore = "requires Kubernetes")]
fn steps_become_jobs_and_nothing_is_left() {
    let farm = Farm::start(&[PYTHON]);
    let machine = farm.machine("steps", "memory = '256Mi'");
    let index = &machine.index;
    index.add_sdist(&Sdist::new("app", "1.0").requires("tool").reports("extra"));
    index.add_sdist(&Sdist::new("tool", "1.0").requires("base"));
    index.add(&Wheel::new("base", "1.0"));
    index.add(&Wheel::new("extra", "1.0"));
    machine.build(&["app"]).assert_success();
    let (elsewhere, result) = machine.build_elsewhere(&["app"]);
    result.assert_success();
    let name = "app-1.0-py3-none-any.whl";
    let wheel = |sandbox: &Sandbox| std::fs::read(sandbox.out().join(name)).unwrap();
    assert!(
        wheel(&machine.sandbox) == wheel(&elsewhere),
        "another wheel"
    );
    assert_eq!((machine.created("jobs"), machine.created("pods")), (2, 2));
    machine.assert_once();
    machine.assert_empty();

    // Another machine finds the steps in the shared cache.
    std::fs::remove_dir_all(machine.sandbox.cache()).unwrap();
    machine.build(&["app"]).assert_success();
    assert_eq!(machine.created("jobs"), 2);

    let script = "print('compiling'); raise SystemExit('gcc: command not found')";
    index.add_sdist(&Sdist::new("broken", "1.0").script(script));
    let (_, local) = machine.build_elsewhere(&["broken"]);
    let remote = machine.build(&["broken"]);
    remote.assert_exit(5);
    let error = |result: &RunResult| -> Vec<String> {
        let lines = result.error().lines();
        let lines = lines.filter(|line| !line.contains("the whole log: "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(error(&remote), error(&local));
    // A failed build is not repeated.
    assert_eq!(machine.created("jobs"), 3);
    machine.assert_empty();

    let cache = machine.sandbox.cache();
    let (out, cache) = (machine.sandbox.out(), cache.to_str().unwrap());
    let options = machine.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let url = index.url();
    let out = out.to_str().unwrap();
    let rebuild = ["rebuild", out, "--cache-dir", cache, "--index-url", &url];
    let result = machine
        .sandbox
        .wheelhouse(&[&rebuild, &options[..]].concat());
    result.assert_success();
    // Neither the wheel nor its build requirement comes from the cache.
    assert_eq!(machine.created("jobs"), 5, "{}", result.stderr);
    machine.assert_empty();
}

#[test]
#[cfg_attr(not(feature = "test-kubernetes"), ignore = "requires Kubernetes")]
fn each_target_is_built_with_its_image() {
    let farm = Farm::start(&[PYTHON, "3.13"]);
    two_targets(&farm);
    lost_node(&farm);
}

fn two_targets(farm: &Farm) {
    let machine = farm.machine("targets", "memory = '256Mi'");
    let index = &machine.index;
    // A wheel that fits every platform would be built on the host for all targets.
    let app = Sdist::new("app", "1.0").requires("tool");
    index.add_sdist(&app.platform_wheel());
    index.add_sdist(&Sdist::new("tool", "1.0"));
    let targets = ["--build", "--verify", "--target", "host,3.13-linux"];
    let result = machine.download(&[&["app"], &targets[..]].concat());
    result.assert_success();
    let mut pythons = Vec::new();
    for directory in std::fs::read_dir(machine.sandbox.out()).unwrap() {
        let manifest = directory.unwrap().path().join("wheelhouse.json");
        let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
        let wheels = manifest["wheels"].as_array().unwrap();
        assert_eq!(wheels.len(), 1);
        assert_eq!(wheels[0]["filename"], "app-1.0-py3-none-linux_x86_64.whl");
        let python = wheels[0]["built"]["python"].as_str().unwrap();
        pythons.push(python.rsplit_once('.').unwrap().0.to_owned());
    }
    pythons.sort();
    assert_eq!(pythons, ["cpython 3.11", "cpython 3.13"]);
    let jobs = machine.steps("jobs");
    let mut images: Vec<_> = jobs
        .iter()
        .map(|job| &job["spec"]["template"]["spec"]["containers"][0]["image"])
        .collect();
    images.sort_by_key(|image| image.to_string());
    // The build requirement is a step for each, since its wheel is known only when it is built.
    let expected = [image(PYTHON), image(PYTHON), image("3.13"), image("3.13")];
    assert_eq!(images, expected.iter().collect::<Vec<_>>());
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
fn each_fault_repeats_its_step_or_ends_in_one_message() {
    let farm = Farm::start(&[PYTHON]);
    killed_and_evicted_pods(&farm);
    exceeded_memory(&farm);
    exceeded_disk(&farm);
    missing_image(&farm);
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

/// Tests the access of a service account in `namespace`.
fn may(cluster: &Cluster, namespace: &str, account: &str, action: &[&str]) -> bool {
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let mut command = cluster.command(&["auth", "can-i", "--namespace", namespace, "--as", &user]);
    let output = command.args(action).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(matches!(answer.trim(), "yes" | "no"), "{output:?}");
    output.status.success()
}

#[test]
#[cfg_attr(not(feature = "test-kubernetes"), ignore = "requires Kubernetes")]
fn api_server_accepts_examples_with_least_rights() {
    let cluster = Cluster::start_without_node();
    cluster.kubectl(&["create", "namespace", "wheels"]);
    apply_examples(&cluster, "wheels");

    let coordinator = |action: &[&str]| may(&cluster, "wheels", "wheelhouse", action);
    for action in [
        &["create", "jobs.batch"][..],
        &["patch", "jobs.batch"],
        &["watch", "pods"],
        &["get", "pods", "--subresource", "log"],
    ] {
        assert!(coordinator(action), "{action:?}");
    }
    for action in [
        &["create", "pods"][..],
        &["get", "secrets"],
        &["create", "configmaps"],
        &["get", "pods", "--subresource", "exec"],
        &["create", "rolebindings.rbac.authorization.k8s.io"],
        &["list", "nodes"],
        &["list", "pods", "--namespace", "default"],
    ] {
        assert!(!coordinator(action), "{action:?}");
    }
    for action in [
        ["get", "pods"],
        ["get", "secrets"],
        ["create", "jobs.batch"],
    ] {
        assert!(
            !may(&cluster, "wheels", "wheelhouse-step", &action),
            "{action:?}"
        );
    }
}

#[test]
#[cfg_attr(not(feature = "test-clients"), ignore = "requires hera")]
fn pipelines_have_valid_fields_and_parameters() {
    let environment = test_python();
    let python = environment.parent().unwrap().parent().unwrap();
    let python = python.join("clients/bin/python");
    let examples = repository().join("examples/farm");
    let validate = |task: &str| {
        Command::new(&python)
            .arg(repository().join("tests/kubernetes/pipelines.py"))
            .arg(task)
            .arg(examples.join("argo-workflow-template.yaml"))
            .output()
            .unwrap()
    };
    let task = examples.join("tekton-task.yaml");
    let output = validate(task.to_str().unwrap());
    assert!(output.status.success(), "{}", output_text(&output));

    let text = std::fs::read_to_string(task).unwrap();
    let wrong = text
        .replace("workingDir:", "workdir:")
        .replace("params.cache", "params.store");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wrong).unwrap();
    let output = validate(file.path().to_str().unwrap());
    let errors = output_text(&output);
    for error in [
        "spec.steps.build.workdir: unknown field",
        "the parameter store is not declared",
        "the parameter cache is not used",
    ] {
        assert!(errors.contains(error), "{errors}");
    }
}
