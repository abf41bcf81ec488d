//! The manifests of `examples/farm`: the rights of its accounts, and the fields of its pipelines.

use std::process::Command;

use super::apply_examples;
use crate::support::containers::{output_text, repository};
use crate::support::kubernetes::Cluster;
use crate::support::test_python;

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
