//! Each kind of location: one machine builds, the others build nothing.

use super::{BUILDS, Site, builds, warnings};
use crate::support::fault_proxy::FaultProxy;
use crate::support::{Sandbox, tree};

#[track_caller]
fn assert_second_machine_builds_nothing(site: &Site) {
    let wheels = site.fill();
    let from = ["--cache-from", &site.location];
    let second = site.build("second", &from);
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    assert_eq!(warnings(&second), Vec::<String>::new());
    tree::assert_same(&site.wheels("second"), &wheels);
    // The local cache has them from then on.
    let again = site.build("second", &[]);
    again.assert_success();
    assert_eq!(builds(&again), 0, "{}", again.stdout);
}

#[test]
fn directory_is_shared() {
    assert_second_machine_builds_nothing(&Site::directory());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires docker-registry")]
fn registry_is_shared() {
    assert_second_machine_builds_nothing(&Site::registry());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires Apache")]
fn web_dav_server_is_shared() {
    assert_second_machine_builds_nothing(&Site::web_dav());
}

#[test]
#[cfg_attr(not(feature = "test-clients"), ignore = "requires moto")]
fn bucket_is_shared() {
    assert_second_machine_builds_nothing(&Site::s3());
}

/// Several machines build the same and write it to the same location at the same time.
#[track_caller]
fn assert_concurrent_writers_agree(site: &Site) {
    let to = ["--cache-to", &site.location];
    let machines = ["one", "two", "three"];
    let runs = machines.map(|machine| site.start(machine, &to));
    for run in runs {
        let run = run.finish();
        run.assert_success();
        assert_eq!(warnings(&run), Vec::<String>::new());
    }
    let last = site.build("last", &["--cache-from", &site.location]);
    last.assert_success();
    assert_eq!(builds(&last), 0, "{}", last.stdout);
    assert_eq!(warnings(&last), Vec::<String>::new());
    for machine in machines {
        tree::assert_same(&site.wheels("last"), &site.wheels(machine));
    }
}

#[test]
fn concurrent_writers_share_directory() {
    assert_concurrent_writers_agree(&Site::directory());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires docker-registry")]
fn concurrent_writers_share_registry() {
    assert_concurrent_writers_agree(&Site::registry());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires Apache")]
fn concurrent_writers_share_web_dav_server() {
    assert_concurrent_writers_agree(&Site::web_dav());
}

#[test]
#[cfg_attr(not(feature = "test-clients"), ignore = "requires moto")]
fn concurrent_writers_share_bucket() {
    assert_concurrent_writers_agree(&Site::s3());
}

#[test]
fn first_location_with_record_is_used() {
    let site = Site::directory();
    let wheels = site.fill();
    let empty = format!("file://{}", site.sandbox.path("empty").display());
    std::fs::create_dir(site.sandbox.path("empty")).unwrap();
    let second = site.build(
        "second",
        &["--cache-from", &empty, "--cache-from", &site.location],
    );
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    tree::assert_same(&site.wheels("second"), &wheels);
}

#[test]
fn fetched_files_are_shared() {
    let site = Site::directory();
    let to = ["--cache-to", &site.location, "--cache-fetched"];
    site.build("first", &to).assert_success();
    site.index.forget_requests();
    let from = ["--cache-from", &site.location, "--cache-fetched"];
    let second = site.build("second", &from);
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    let fetched = site.index.requests(".whl");
    assert!(fetched.is_empty(), "{fetched:?}");
    tree::assert_same(&site.wheels("second"), &site.wheels("first"));
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires docker-registry")]
fn record_in_registry_is_one_request() {
    let site = Site::registry();
    site.fill();
    let port = site.location.split([':', '/']).nth(4).unwrap();
    let proxy = FaultProxy::start(port.parse().unwrap());
    let location = site.location.replace(port, &proxy.port.to_string());
    let second = site.build("second", &["--cache-from", &location]);
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    let requests = proxy.requests();
    let count = |part: &str| {
        let of_part = requests.iter().filter(|(_, path)| path.contains(part));
        of_part.count()
    };
    assert_eq!(count("/manifests/ac-"), BUILDS, "{requests:?}");
    assert_eq!(count("/blobs/"), BUILDS, "{requests:?}");
    // One more finds out whether the registry uses TLS.
    assert_eq!(requests.len(), 2 * BUILDS + 1, "{requests:?}");
}

#[test]
fn other_settings_are_another_key() {
    let site = Site::directory();
    site.fill();
    let second = site.build(
        "second",
        &["--cache-from", &site.location, "-C", "option=value"],
    );
    second.assert_success();
    assert_eq!(builds(&second), BUILDS, "{}", second.stdout);
}

#[test]
fn location_of_another_kind_is_usage_error() {
    let sandbox = Sandbox::new();
    let run = sandbox.wheelhouse(&["build", "alpha", "--cache-from", "ftp://host/cache"]);
    run.assert_exit(2);
    assert!(run.stderr.contains("docker://HOST/NAME"), "{}", run.stderr);
}
