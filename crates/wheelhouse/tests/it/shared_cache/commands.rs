//! `wheelhouse cache push`, `pull`, `ls` and `prune` at each kind of location.

use serde_json::Value;

use super::{BUILDS, Site, builds, warnings};
use crate::support::{RunResult, tree};

#[track_caller]
fn document(run: &RunResult) -> Value {
    run.assert_success();
    serde_json::from_str(&run.stdout).unwrap()
}

/// Pushes the wheels of one machine, pulls them on another, and removes them.
#[track_caller]
fn assert_commands_work(site: &Site) {
    let location = site.location.as_str();
    site.build("first", &[]).assert_success();
    let pushed = document(&site.run("first", &["push", location, "--json"]));
    assert_eq!(
        (&pushed["pushed"], &pushed["present"]),
        (&2.into(), &0.into())
    );
    let again = document(&site.run("first", &["push", location, "--json"]));
    assert_eq!(
        (&again["pushed"], &again["present"]),
        (&0.into(), &2.into())
    );

    let listed = document(&site.run("first", &["ls", location, "--json"]));
    let records = listed["records"].as_array().unwrap();
    let packages: Vec<_> = records.iter().map(|record| &record["package"]).collect();
    assert_eq!(packages, ["alpha==1.0", "beta==2.0"]);
    assert_eq!(records[0]["platform"], "any");
    assert_eq!(records[0]["signed"], false);
    assert_eq!(listed["files"], 2);

    let pulled = document(&site.run("second", &["pull", location, "--json"]));
    assert_eq!(
        (&pulled["pulled"], &pulled["present"]),
        (&2.into(), &0.into())
    );
    let again = document(&site.run("second", &["pull", location, "--json"]));
    assert_eq!(
        (&again["pulled"], &again["present"]),
        (&0.into(), &2.into())
    );
    let second = site.build("second", &[]);
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    assert_eq!(warnings(&second), Vec::<String>::new());
    tree::assert_same(&site.wheels("second"), &site.wheels("first"));

    let key = records[0]["key"].as_str().unwrap();
    let one = document(&site.run("third", &["pull", location, key, "--json"]));
    assert_eq!(one["pulled"], 1);
    let third = site.build("third", &[]);
    assert_eq!(builds(&third), BUILDS - 1, "{}", third.stdout);

    let prune = ["prune", location, "--max-size", "0", "--json"];
    let planned = document(&site.run("first", &[&prune[..], &["--dry-run"]].concat()));
    assert_eq!(
        (&planned["records"], &planned["files"]),
        (&2.into(), &2.into())
    );
    let kept = document(&site.run(
        "first",
        &["prune", location, "--older-than", "1d", "--json"],
    ));
    assert_eq!((&kept["records"], &kept["files"]), (&0.into(), &0.into()));
    let removed = document(&site.run("first", &prune));
    assert_eq!(removed["entries"], planned["entries"]);
    let listed = document(&site.run("first", &["ls", location, "--json"]));
    assert_eq!(
        (&listed["records"], &listed["files"]),
        (&Value::Array(Vec::new()), &0.into())
    );
}

#[test]
fn commands_work_with_directory() {
    assert_commands_work(&Site::directory());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires docker-registry")]
fn commands_work_with_registry() {
    assert_commands_work(&Site::registry());
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires Apache")]
fn commands_work_with_web_dav_server() {
    assert_commands_work(&Site::web_dav());
}

#[test]
#[cfg_attr(not(feature = "test-clients"), ignore = "requires moto")]
fn commands_work_with_bucket() {
    assert_commands_work(&Site::s3());
}

#[test]
fn push_with_option_has_downloads() {
    let site = Site::directory();
    site.build("first", &[]).assert_success();
    let pushed = document(&site.run("first", &["push", &site.location, "--fetched", "--json"]));
    assert_eq!(pushed["pushed"], 2);
    // The wheel of gamma, and the sdists of the others.
    assert_eq!(pushed["files"], 3);
    site.index.forget_requests();
    let from = ["--cache-from", &site.location, "--cache-fetched"];
    let second = site.build("second", &from);
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    let fetched = site.index.requests(".whl");
    assert!(fetched.is_empty(), "{fetched:?}");
}

#[test]
fn pull_rejects_wrong_files() {
    let site = Site::directory();
    site.fill();
    for entry in std::fs::read_dir(site.sandbox.path("shared/cas")).unwrap() {
        std::fs::write(entry.unwrap().path(), b"not a wheel").unwrap();
    }
    let pulled = document(&site.run("second", &["pull", &site.location, "--json"]));
    assert_eq!(
        (&pulled["pulled"], &pulled["rejected"]),
        (&0.into(), &2.into())
    );
    let second = site.build("second", &[]);
    assert_eq!(builds(&second), BUILDS, "{}", second.stdout);
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires docker-registry")]
fn registry_without_deletion_is_one_error() {
    let sandbox = crate::support::Sandbox::new();
    let options = crate::support::services::RegistryOptions::default();
    let registry = crate::support::services::Registry::start(&sandbox.path("registry"), &options);
    let location = format!("docker://{}/acme/cache", registry.host());
    let site = Site::new(sandbox, location, None);
    site.fill();
    let run = site.run("first", &["prune", &site.location, "--max-size", "0"]);
    run.assert_exit(7)
        .assert_error_names(&["does not allow the deletion", "expiry"]);
}

#[test]
#[cfg_attr(not(feature = "test-containers"), ignore = "requires Apache")]
fn server_that_cannot_list_is_one_error() {
    use crate::support::fault_proxy::{FaultProxy, ProxyFault};
    let sandbox = crate::support::Sandbox::new();
    let server = crate::support::services::WebDav::start(&sandbox.path("dav"));
    let proxy = FaultProxy::start(server.port);
    proxy.fail(|method, _| (method == "PROPFIND").then_some(ProxyFault::Status(405)));
    let location = format!("http://127.0.0.1:{}/cache", proxy.port);
    let site = Site::new(sandbox, location, None);
    // Reading and writing need no list.
    site.fill();
    let second = site.build("second", &["--cache-from", &site.location]);
    second.assert_success();
    assert_eq!(builds(&second), 0, "{}", second.stdout);
    for command in [
        &["ls", &site.location][..],
        &["prune", &site.location, "--unreferenced"],
    ] {
        let run = site.run("first", command);
        run.assert_error_names(&["failed to list", "WebDAV"]);
    }
}
