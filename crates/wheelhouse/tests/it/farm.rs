//! The farm on a Kubernetes cluster with real parts, whose pods are admitted as by the `restricted-v2` of `OpenShift`.

mod examples;
mod faults;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::containers::{Buildah, repository};
use crate::support::kubernetes::Cluster;
use crate::support::put_server::PutServer;
use crate::support::sandbox::RunningProcess;
use crate::support::{Index, RunResult, Sandbox, Sdist, Wheel};

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

    /// Checks that nothing of the runs is left in the namespace but pods that are being deleted: the kubelet takes up to a
    /// minute for those without an image.
    #[track_caller]
    fn assert_empty(&self) {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let cluster = self.farm.cluster.borrow();
            let mut left = cluster.objects(self.namespace, "jobs,pods");
            left.retain(|object| object["metadata"]["deletionTimestamp"].is_null());
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
    let farm = Farm::start(&[PYTHON, "3.13"]);
    one_target(&farm);
    two_targets(&farm);
}

fn one_target(farm: &Farm) {
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

/// Builds for two targets, each with its image.
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
    images.sort_by_key(ToString::to_string);
    // The build requirement is a step for each, since its wheel is known only when it is built.
    let expected = [image(PYTHON), image(PYTHON), image("3.13"), image("3.13")];
    assert_eq!(images, expected.iter().collect::<Vec<_>>());
    machine.assert_empty();
}
