//! The farm on a Kubernetes cluster with real parts, whose pods are admitted as by OpenShift's restricted-v2.

use crate::support::containers::repository;
use crate::support::kubernetes::Cluster;

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
    let examples = repository().join("examples/farm");
    let directory = examples.to_str().unwrap();
    cluster.kubectl(&["apply", "--namespace", "wheels", "-k", directory]);
    let secret = examples.join("cache-secret.yaml");
    cluster.kubectl(&[
        "apply",
        "--namespace",
        "wheels",
        "-f",
        secret.to_str().unwrap(),
    ]);

    let coordinator = |action: &[&str]| may(&cluster, "wheels", "wheelhouse", action);
    for action in [
        &["create", "jobs.batch"][..],
        &["patch", "jobs.batch"],
        &["watch", "pods"],
        &["get", "pods", "--subresource", "log"],
        &["create", "configmaps"],
    ] {
        assert!(coordinator(action), "{action:?}");
    }
    for action in [
        &["create", "pods"][..],
        &["get", "secrets"],
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
