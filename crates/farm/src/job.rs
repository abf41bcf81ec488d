//! The Kubernetes Job of a build step.
//!
//! The pod satisfies `OpenShift`'s SCC `restricted-v2` and the Pod Security Standard *restricted*: it names no user, since
//! `OpenShift` assigns one, and needs no permissions at the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvFromSource, EnvVar, LocalObjectReference,
    PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile,
    SecretEnvSource, SecretVolumeSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use wheelhouse_types::step::BuildStep;
use wheelhouse_types::{Result, Sha256, Target};

use crate::config::FarmConfig;
use crate::quantity::Memory;

/// The label that selects all Jobs and pods of farms.
pub const LABEL: &str = "app.kubernetes.io/name";
/// Its value for those of steps.
pub const NAME: &str = "wheelhouse-step";
/// Its value for the Jobs of runs.
pub const RUN: &str = "wheelhouse-run";
/// The annotation with the digest of the step in full.
pub const STEP: &str = "wheelhouse/step";
/// The annotation with the package of the step.
pub const PACKAGE: &str = "wheelhouse/package";
/// The name of the container.
pub const CONTAINER: &str = "worker";

/// The directory in which a step works. The only other writable directory is `/tmp`.
const WORK: &str = "/work";

/// The directory of the private key, and its name there.
const SIGNING: &str = "/signing";
const SIGNING_KEY: &str = "key";

/// The number of hexadecimal digits of a step's digest in the name of its Job, which has at most 63 characters.
const DIGITS: usize = 40;

/// One attempt to carry out a step.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The step.
    pub step: &'a BuildStep,
    /// Its digest.
    pub digest: Sha256,
    /// Counts from 0.
    pub number: u32,
    /// The memory that it gets.
    pub memory: Memory,
    /// The location of the shared cache, as `--cache-to` names it.
    pub cache: &'a str,
}

impl Attempt<'_> {
    /// Returns the name of the Job, which is the same for the same attempt at the same step.
    #[must_use]
    pub fn name(&self) -> String {
        let digest = self.digest.to_string();
        format!("wheelhouse-{}-{}", &digest[..DIGITS], self.number)
    }

    /// Returns the manifest of the Job, which `owners` own.
    ///
    /// # Errors
    /// `Input` if the configuration has no image for the target of the step.
    pub fn job(&self, config: &FarmConfig, owners: Vec<OwnerReference>) -> Result<Job> {
        let target: Target = self.step.target.parse()?;
        let image = config.image(&target)?;
        let labels = labels(NAME);
        let annotations = BTreeMap::from([
            (STEP.to_owned(), self.digest.to_string()),
            (PACKAGE.to_owned(), self.step.to_string()),
        ]);
        let mut nodes = config.node_selector.clone();
        nodes.extend(image.node_selector.clone());
        let pod = PodSpec {
            service_account_name: config.service_account.clone(),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            restart_policy: Some("Never".to_owned()),
            priority_class_name: config.priority_class.clone(),
            node_selector: (!nodes.is_empty()).then_some(nodes),
            tolerations: some(config.tolerations.iter().map(|rule| Toleration {
                key: rule.key.clone(),
                operator: rule.operator.clone(),
                value: rule.value.clone(),
                effect: rule.effect.clone(),
                ..Toleration::default()
            })),
            image_pull_secrets: some(
                config
                    .image_pull_secrets
                    .iter()
                    .map(|name| LocalObjectReference { name: name.clone() }),
            ),
            security_context: Some(pod_security()),
            containers: vec![self.container(config, &image.image)],
            volumes: Some(volumes(config)),
            ..PodSpec::default()
        };
        Ok(Job {
            metadata: ObjectMeta {
                name: Some(self.name()),
                labels: Some(labels.clone()),
                annotations: Some(annotations.clone()),
                owner_references: some(owners.into_iter()),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec {
                // A repetition is a Job of its own, so that its memory can differ.
                backoff_limit: Some(0),
                ttl_seconds_after_finished: i32::try_from(config.ttl).ok(),
                active_deadline_seconds: Some(config.deadline.into()),
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(labels),
                        annotations: Some(annotations),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(pod),
                },
                ..JobSpec::default()
            }),
            status: None,
        })
    }

    fn container(&self, config: &FarmConfig, image: &str) -> Container {
        let command = [
            &config.program,
            "worker",
            &self.digest.to_string(),
            "--cache-to",
            config.cache.as_deref().unwrap_or(self.cache),
            "--json",
            "--verbose",
        ];
        let mut command = command.map(str::to_owned).to_vec();
        let mut mounts = vec![mount("work", WORK), mount("tmp", "/tmp")];
        if config.sign_secret.is_some() {
            command.extend(["--sign".to_owned(), format!("{SIGNING}/{SIGNING_KEY}")]);
            mounts.push(VolumeMount {
                read_only: Some(true),
                ..mount("signing", SIGNING)
            });
        }
        let variables = [
            // The assigned user of OpenShift has no home directory.
            ("HOME", WORK),
            ("WHEELHOUSE_CACHE_DIR", "/work/cache"),
        ];
        let cpu = config.resources(&self.step.name).cpu;
        let memory = ("memory".to_owned(), Quantity(self.memory.to_string()));
        let cpu = ("cpu".to_owned(), Quantity(cpu));
        Container {
            name: CONTAINER.to_owned(),
            image: Some(image.to_owned()),
            command: Some(command),
            working_dir: Some(WORK.to_owned()),
            env: some(variables.into_iter().map(|(name, value)| EnvVar {
                name: name.to_owned(),
                value: Some(value.to_owned()),
                ..EnvVar::default()
            })),
            env_from: some(config.cache_secret.iter().map(|name| EnvFromSource {
                secret_ref: Some(SecretEnvSource {
                    name: name.clone(),
                    ..SecretEnvSource::default()
                }),
                ..EnvFromSource::default()
            })),
            resources: Some(ResourceRequirements {
                requests: Some(BTreeMap::from([cpu, memory.clone()])),
                limits: Some(BTreeMap::from([memory])),
                ..ResourceRequirements::default()
            }),
            security_context: Some(container_security()),
            volume_mounts: Some(mounts),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        }
    }
}

pub(crate) fn labels(name: &str) -> BTreeMap<String, String> {
    let labels = [
        (LABEL, name),
        ("app.kubernetes.io/managed-by", "wheelhouse"),
    ];
    let labels = labels.into_iter();
    labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn seccomp() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    }
}

pub(crate) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(seccomp()),
        ..PodSecurityContext::default()
    }
}

pub(crate) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        seccomp_profile: Some(seccomp()),
        ..SecurityContext::default()
    }
}

/// Collects `items`, or returns `None` if there are none, as the API server stores it.
pub(crate) fn some<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

fn volumes(config: &FarmConfig) -> Vec<Volume> {
    let secret = config.sign_secret.as_ref().map(|name| Volume {
        name: "signing".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.clone()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let directories = [directory("work", config.disk), directory("tmp", None)];
    directories.into_iter().chain(secret).collect()
}

fn directory(name: &str, limit: Option<Memory>) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: limit.map(|limit| Quantity(limit.to_string())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing;

    fn config(more: &str) -> FarmConfig {
        let text = format!("{more}\n[[images]]\nimage = 'builder:3.12'\npython = '3.12'\n");
        FarmConfig::parse(&text, Path::new("farm.toml")).unwrap()
    }

    fn manifest(config: &FarmConfig) -> Value {
        let step = testing::step();
        let attempt = Attempt {
            step: &step,
            digest: step.digest(),
            number: 1,
            memory: Memory::gibibytes(4),
            cache: "s3://wheels/cache",
        };
        let owner = OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: "wheelhouse-run-1".to_owned(),
            uid: "1-2-3".to_owned(),
            ..OwnerReference::default()
        };
        serde_json::to_value(attempt.job(config, vec![owner]).unwrap()).unwrap()
    }

    #[test]
    fn name_is_a_label_of_dns_and_depends_on_step_and_attempt() {
        let job = manifest(&config(""));
        let name = job["metadata"]["name"].as_str().unwrap();
        let digest = testing::step().digest().to_string();
        assert_eq!(name, format!("wheelhouse-{}-1", &digest[..40]));
        // The Job controller adds six characters for the name of the pod.
        assert!(name.len() + 6 <= 63);
        assert_eq!(job["metadata"]["annotations"][STEP], digest);
    }

    #[test]
    fn pod_satisfies_restricted_policy() {
        let job = manifest(&config(""));
        let pod = &job["spec"]["template"]["spec"];
        let expected =
            json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
        assert_eq!(pod["securityContext"], expected);
        let container = &pod["containers"][0];
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "runAsNonRoot": true,
            "seccompProfile": { "type": "RuntimeDefault" },
        });
        assert_eq!(container["securityContext"], expected);
        assert_eq!(pod["automountServiceAccountToken"], false);
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|volume| volume["emptyDir"].is_object()));
        let text = job.to_string();
        for forbidden in [
            "hostPath",
            "runAsUser",
            "fsGroup",
            "privileged",
            "hostNetwork",
            "hostPort",
        ] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn job_is_never_repeated_by_its_controller_and_is_removed() {
        let job = manifest(&config("ttl = 60\ndeadline = 100\n"));
        let spec = &job["spec"];
        assert_eq!(spec["backoffLimit"], 0);
        assert_eq!(spec["ttlSecondsAfterFinished"], 60);
        assert_eq!(spec["activeDeadlineSeconds"], 100);
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
        assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "Job");
    }

    #[test]
    fn configuration_becomes_part_of_the_pod() {
        let config = config(
            "namespace = 'builds'\nservice-account = 'builder'\ncache = 'docker://cache.svc/wheels'\n\
             cache-secret = 'cache-access'\nsign-secret = 'signing-key'\npriority-class = 'low'\nimage-pull-secrets = ['pull']\n\
             node-selector = { pool = 'builds' }\ntolerations = [{ key = 'dedicated', operator = 'Exists' }]\n\
             resources = [{ packages = ['exam*'], cpu = '3' }]\ndisk = '20Gi'",
        );
        let job = manifest(&config);
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "builder");
        assert_eq!(pod["priorityClassName"], "low");
        assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull" }]));
        assert_eq!(pod["nodeSelector"], json!({ "pool": "builds" }));
        assert_eq!(
            pod["tolerations"],
            json!([{ "key": "dedicated", "operator": "Exists" }])
        );
        assert_eq!(pod["volumes"][0]["emptyDir"]["sizeLimit"], "20Gi");
        let container = &pod["containers"][0];
        assert_eq!(container["image"], "builder:3.12");
        let command = container["command"].as_array().unwrap();
        assert_eq!(
            command[3..5],
            [json!("--cache-to"), json!("docker://cache.svc/wheels")]
        );
        let source = json!([{ "secretRef": { "name": "cache-access" } }]);
        assert_eq!(container["envFrom"], source);
        assert_eq!(pod["volumes"][2]["secret"]["secretName"], "signing-key");
        assert_eq!(command[7..], [json!("--sign"), json!("/signing/key")]);
        let expected = json!({
            "requests": { "cpu": "3", "memory": "4Gi" },
            "limits": { "memory": "4Gi" },
        });
        assert_eq!(container["resources"], expected);
    }
}
