//! Locations that fail: each costs at most its time-out and a warning, and never gives a wrong wheel.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BUILDS, Site, builds, warnings};
use crate::support::fake_registry::{FakeRegistry, Fault};
use crate::support::fault_proxy::{FaultProxy, ProxyFault};
use crate::support::mounts::Mount;
use crate::support::{RunResult, tree};

/// The options of all runs: a server may be silent for one second.
const SHORT: [&str; 2] = ["--cache-timeout", "1"];

/// The time that a run with a failing location takes at most, on a loaded machine.
const LONGEST: Duration = Duration::from_secs(45);

/// A shared cache behind a proxy.
struct Proxied {
    site: Site,
    proxy: FaultProxy,
    /// The location through the proxy.
    location: String,
}

impl Proxied {
    fn new(site: Site) -> Self {
        let (scheme, rest) = site.location.split_once("://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let (_, port) = host.split_once(':').unwrap();
        let proxy = FaultProxy::start(port.parse().unwrap());
        let location = format!("{scheme}://127.0.0.1:{}/{path}", proxy.port);
        Self {
            site,
            proxy,
            location,
        }
    }

    fn build(&self, machine: &str, option: &str) -> RunResult {
        let options = [&[option, &self.location][..], &SHORT].concat();
        self.site.build(machine, &options)
    }

    /// Reads without failures and with the default time-out, which a loaded machine keeps.
    fn read(&self, machine: &str) -> RunResult {
        self.site.build(machine, &["--cache-from", &self.location])
    }
}

/// Checks that a run succeeded with the right wheels, one warning, and `expected` builds. Each wrong file has a warning.
#[track_caller]
fn assert_unharmed(
    site: &Site,
    machine: &str,
    run: &RunResult,
    wheels: &BTreeMap<String, Vec<u8>>,
    expected: usize,
) {
    run.assert_success();
    let warned = warnings(run);
    let is_wrong_file = |warning: &String| warning.starts_with("the entry cas/");
    let is_expected = warned.len() == 1 || (!warned.is_empty() && warned.iter().all(is_wrong_file));
    assert!(is_expected, "{warned:#?}");
    assert_eq!(builds(run), expected, "{}", run.stdout);
    tree::assert_same(&site.wheels(machine), wheels);
    assert!(run.took < LONGEST, "{:?}", run.took);
}

/// Reads through a proxy with each failure.
#[track_caller]
fn assert_failing_reads_are_harmless(site: Site) {
    let wheels = site.fill();
    let proxied = Proxied::new(site);
    let faults = [
        ("stall", ProxyFault::Stall),
        ("drip", ProxyFault::Drip),
        ("cut", ProxyFault::Cut),
        ("corrupt", ProxyFault::Corrupt),
        ("error", ProxyFault::Status(500)),
        ("forbidden", ProxyFault::Status(403)),
    ];
    for (name, fault) in faults {
        // Requests for records fail first, and then only those for files.
        for what in ["everything", "files"] {
            let is_everything = what == "everything";
            // A changed record may still be one. Signatures are for that.
            if is_everything && fault == ProxyFault::Corrupt {
                continue;
            }
            proxied.proxy.fail(move |_, path| {
                let is_file = path.contains("/cas") || path.contains("/blobs/");
                (is_everything || is_file).then_some(fault)
            });
            let machine = format!("{name}-{what}");
            let run = proxied.build(&machine, "--cache-from");
            assert_unharmed(&proxied.site, &machine, &run, &wheels, BUILDS);
        }
    }
    proxied.proxy.fail(|_, _| None);
    let run = proxied.read("recovered");
    run.assert_success();
    assert_eq!(builds(&run), 0, "{}", run.stdout);
    assert_eq!(warnings(&run), Vec::<String>::new());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires Apache")]
fn failing_reads_of_web_dav_server_are_harmless() {
    assert_failing_reads_are_harmless(Site::web_dav());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires docker-registry")]
fn failing_reads_of_registry_are_harmless() {
    assert_failing_reads_are_harmless(Site::registry());
}

/// Writes through a proxy with each failure.
#[track_caller]
fn assert_failing_writes_are_harmless(site: Site) {
    let proxied = Proxied::new(site);
    let site = &proxied.site;
    site.build("reference", &[]).assert_success();
    let wheels = site.wheels("reference");
    let faults = [
        ("full", ProxyFault::Status(507)),
        ("forbidden", ProxyFault::Status(403)),
        ("read-only", ProxyFault::Status(405)),
        ("stall", ProxyFault::Stall),
        ("cut", ProxyFault::Status(502)),
    ];
    for (name, fault) in faults {
        proxied
            .proxy
            .fail(move |method, _| (!matches!(method, "GET" | "HEAD")).then_some(fault));
        let run = proxied.build(name, "--cache-to");
        assert_unharmed(site, name, &run, &wheels, BUILDS);
        // What a failed write left behind must not harm a reader.
        proxied.proxy.fail(|_, _| None);
        let reader = format!("reader-{name}");
        let run = proxied.read(&reader);
        run.assert_success();
        assert_eq!(warnings(&run), Vec::<String>::new());
        tree::assert_same(&site.wheels(&reader), &wheels);
    }
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires Apache")]
fn failing_writes_to_web_dav_server_are_harmless() {
    assert_failing_writes_are_harmless(Site::web_dav());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires docker-registry")]
fn failing_writes_to_registry_are_harmless() {
    assert_failing_writes_are_harmless(Site::registry());
}

#[test]
fn registry_that_refuses_large_files_keeps_others() {
    let site = Site::directory();
    let registry = FakeRegistry::start();
    let location = registry.location();
    registry.fail("PUT", "uploads", Fault::Status(413, Vec::new()));
    let run = site.build("first", &["--cache-to", &location]);
    run.assert_success();
    let warned = warnings(&run);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].starts_with("large files are not written"),
        "{warned:?}"
    );
    assert!(
        run.stdout.contains("client_max_body_size"),
        "{}",
        run.stdout
    );
    let run = site.build("second", &["--cache-from", &location]);
    run.assert_success();
    assert_eq!(builds(&run), BUILDS - 1, "{}", run.stdout);
    tree::assert_same(&site.wheels("second"), &site.wheels("first"));
}

#[test]
fn unreachable_servers_are_harmless() {
    let site = Site::directory();
    site.build("reference", &[]).assert_success();
    let wheels = site.wheels("reference");
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for (number, location) in [
        format!("http://127.0.0.1:{port}/cache"),
        format!("docker://127.0.0.1:{port}/acme/cache"),
    ]
    .iter()
    .enumerate()
    {
        for option in ["--cache-from", "--cache-to"] {
            let machine = format!("{number}{option}");
            let run = site.build(&machine, &[&[option, location][..], &SHORT].concat());
            assert_unharmed(&site, &machine, &run, &wheels, BUILDS);
        }
    }
}

#[test]
fn missing_directory_is_harmless() {
    let site = Site::directory();
    site.build("reference", &[]).assert_success();
    let wheels = site.wheels("reference");
    let run = site.build("second", &["--cache-from", &site.location]);
    assert_unharmed(&site, "second", &run, &wheels, BUILDS);
}

/// Returns the files of the kind `ac` or `cas` of a directory that is a location.
fn entries(site: &Site, kind: &str) -> Vec<PathBuf> {
    let directory = site.sandbox.path("shared").join(kind);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Fills a directory, changes its entries, and reads them.
#[track_caller]
fn assert_poison_is_harmless(poison: impl Fn(&Site)) {
    let site = Site::directory();
    let wheels = site.fill();
    poison(&site);
    let run = site.build("second", &["--cache-from", &site.location]);
    run.assert_success();
    assert_eq!(builds(&run), BUILDS, "{}", run.stdout);
    assert!(!warnings(&run).is_empty(), "{}", run.stdout);
    tree::assert_same(&site.wheels("second"), &wheels);
}

fn change(paths: &[PathBuf], change: impl Fn(&Path, Vec<u8>) -> Vec<u8>) {
    for path in paths {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, change(path, bytes)).unwrap();
    }
}

#[test]
fn wrong_bytes_are_not_used() {
    assert_poison_is_harmless(|site| {
        change(&entries(site, "cas"), |_, mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        });
    });
}

#[test]
fn truncated_files_are_not_used() {
    assert_poison_is_harmless(|site| {
        change(&entries(site, "cas"), |_, mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        });
    });
}

#[test]
fn endless_files_are_not_used() {
    assert_poison_is_harmless(|site| {
        change(&entries(site, "cas"), |_, mut bytes| {
            bytes.resize(bytes.len() + 5_000_000, 0);
            bytes
        });
    });
}

#[test]
fn truncated_records_are_not_used() {
    assert_poison_is_harmless(|site| {
        change(&entries(site, "ac"), |_, mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        });
    });
}

#[test]
fn huge_records_are_not_used() {
    assert_poison_is_harmless(|site| {
        change(&entries(site, "ac"), |_, mut bytes| {
            bytes.resize(3_000_000, b' ');
            bytes
        });
    });
}

#[test]
fn records_of_another_key_are_not_used() {
    assert_poison_is_harmless(|site| {
        let records = entries(site, "ac");
        let contents: Vec<_> = records
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect();
        for (path, content) in records.iter().zip(contents.iter().rev()) {
            std::fs::write(path, content).unwrap();
        }
    });
}

#[test]
#[cfg_attr(not(feature = "test-mounts"), ignore = "requires mounts")]
fn full_directory_is_harmless() {
    let site = Site::directory();
    site.build("reference", &[]).assert_success();
    let wheels = site.wheels("reference");
    let shared = site.sandbox.path("shared");
    let _mount = Mount::memory(&shared, 4096);
    let run = site.build("second", &["--cache-to", &site.location]);
    assert_unharmed(&site, "second", &run, &wheels, BUILDS);
}
