//! The configuration of a farm: `farm.toml`, or the table `[tool.wheelhouse.farm]` of a `pyproject.toml`.
//!
//! `docs/reference/farm.md` and the JSON Schema are generated from [`mod@reference`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};
use wheelhouse_types::target::{Platform, PythonName, System};
use wheelhouse_types::{Error, Kind, PackageName, Result, Target, toml_reader};

use crate::quantity::Memory;

pub mod reference;

/// The name of the file.
pub const FILE_NAME: &str = "farm.toml";

/// The table in a `pyproject.toml`.
pub const TABLE: &str = "tool.wheelhouse.farm";

/// The configuration of a farm.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FarmConfig {
    /// The namespace of the Jobs; `None` is that of the kubeconfig's context.
    pub namespace: Option<String>,
    /// The service account of the pods, which needs no permissions.
    pub service_account: Option<String>,
    /// The location of the shared cache as the pods reach it, if that differs from `--cache-to`.
    pub cache: Option<String>,
    /// A Secret whose keys become variables of the pods: the credentials of the shared cache.
    pub cache_secret: Option<String>,
    /// A Secret whose key `key` is the private key with which the pods sign records, as `--sign` does.
    pub sign_secret: Option<String>,
    /// The program in the images.
    pub program: String,
    /// The images, by Python and platform.
    pub images: Vec<ImageRule>,
    /// Requests for packages. The first rule that names a package applies.
    pub resources: Vec<ResourceRule>,
    /// The processors that a step requests, if no rule names its package.
    pub cpu: String,
    /// The memory of a step, if no rule names its package.
    pub memory: Memory,
    /// The most memory that a step may get when it is repeated.
    pub memory_limit: Memory,
    /// The size limit of the directory in which a step works.
    pub disk: Option<Memory>,
    /// Labels of the nodes for all pods.
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations of all pods.
    pub tolerations: Vec<TolerationRule>,
    /// The priority class of the pods.
    pub priority_class: Option<String>,
    /// Secrets with the credentials of image registries.
    pub image_pull_secrets: Vec<String>,
    /// The number of steps that run at the same time.
    pub parallelism: usize,
    /// The number of times that a step is repeated after its pod was lost.
    pub retries: u32,
    /// The time after which a finished Job is removed, in seconds.
    pub ttl: u32,
    /// The time after which the Jobs of a killed run are removed, in seconds.
    pub run_ttl: u32,
    /// The time limit of a Job in seconds.
    pub deadline: u32,
    /// The time in seconds in which an image must be there.
    pub image_timeout: u32,
    /// The time in seconds for which a lost API server is waited for.
    pub api_timeout: u32,
}

impl Default for FarmConfig {
    fn default() -> Self {
        Self {
            namespace: None,
            service_account: None,
            cache: None,
            cache_secret: None,
            sign_secret: None,
            program: "wheelhouse".to_owned(),
            images: Vec::new(),
            resources: Vec::new(),
            cpu: "1".to_owned(),
            memory: Memory::gibibytes(2),
            memory_limit: Memory::gibibytes(16),
            disk: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            priority_class: None,
            image_pull_secrets: Vec::new(),
            parallelism: 16,
            retries: 3,
            ttl: 3600,
            run_ttl: 3600,
            deadline: 4 * 3600,
            image_timeout: 300,
            api_timeout: 600,
        }
    }
}

/// An image and the targets that it builds for.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageRule {
    /// The image.
    pub image: String,
    /// The Python in it, such as `3.12`; `None` is any.
    #[serde(default)]
    pub python: Option<String>,
    /// The platform of its wheels, such as `linux-arm64`; `None` is any.
    #[serde(default)]
    pub platform: Option<String>,
    /// Labels of the nodes for these pods, besides those of all.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
}

/// The resources of packages.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ResourceRule {
    /// Names of packages, in which `*` stands for any characters.
    pub packages: Vec<String>,
    /// The requested processors.
    #[serde(default)]
    pub cpu: Option<String>,
    /// The memory.
    #[serde(default)]
    pub memory: Option<Memory>,
}

/// A toleration of a pod.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TolerationRule {
    /// The key of the taint; `None` is any.
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    pub operator: Option<String>,
    /// The value of the taint.
    pub value: Option<String>,
    /// The effect of the taint; `None` is any.
    pub effect: Option<String>,
}

/// The resources that one step gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The requested processors.
    pub cpu: String,
    /// The memory.
    pub memory: Memory,
}

impl FarmConfig {
    /// Reads `farm.toml`.
    ///
    /// # Errors
    /// `Input` if the text is not valid TOML, has an unknown key, or a value that is not valid.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let table = toml_reader::parse(text).map_err(|error| invalid(path, "", &error))?;
        Self::from_table(table, path, "")
    }

    /// Reads the table of a `pyproject.toml`, or returns `None` if it does not have the table. A text that is not TOML has
    /// none: the error is reported when it is read as a project.
    ///
    /// # Errors
    /// As [`FarmConfig::parse`].
    pub fn of_project(text: &str, path: &Path) -> Result<Option<Self>> {
        let document = toml_reader::parse(text).ok();
        let table = document.and_then(|mut document| {
            let tool = document.get_mut("tool")?.as_table_mut()?;
            tool.get_mut("wheelhouse")?.as_table_mut()?.remove("farm")
        });
        match table {
            Some(Value::Table(table)) => Self::from_table(table, path, TABLE).map(Some),
            Some(_) => Err(Error::new(
                Kind::Input,
                format!("`{TABLE}` in `{}` is not a table", path.display()),
            )),
            None => Ok(None),
        }
    }

    fn from_table(table: Table, path: &Path, place: &str) -> Result<Self> {
        let config: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| invalid(path, place, &error.message()))?;
        for rule in &config.images {
            let (python, platform) = (rule.python.as_deref(), rule.platform.as_deref());
            let python = python.map(str::parse::<PythonName>).transpose();
            python.map_err(|error| invalid(path, place, &error))?;
            let platform = platform.map(str::parse::<Platform>).transpose();
            platform.map_err(|error| invalid(path, place, &error))?;
        }
        if config.parallelism == 0 {
            return Err(invalid(path, place, &"`parallelism` is 0"));
        }
        if config.memory > config.memory_limit {
            let reason = format!(
                "`memory` is {}, more than the `memory-limit` {}",
                config.memory, config.memory_limit
            );
            return Err(invalid(path, place, &reason));
        }
        Ok(config)
    }

    /// Returns the first image for `target`.
    ///
    /// # Errors
    /// `Input` if the configuration has none.
    pub fn image(&self, target: &Target) -> Result<&ImageRule> {
        let fits = |rule: &&ImageRule| {
            let python = rule.python.as_deref().map(str::parse::<PythonName>);
            let platform = rule.platform.as_deref().map(str::parse::<Platform>);
            let python = python.is_none_or(|name| name.is_ok_and(|name| is_python(target, &name)));
            python
                && platform
                    .is_none_or(|name| name.is_ok_and(|platform| is_platform(target, &platform)))
        };
        self.images.iter().find(fits).ok_or_else(|| {
            let message = format!("the farm has no image for {}", target.label());
            Error::new(Kind::Input, message).with_hint(format!(
                "Add it to `images` of {FILE_NAME}, with `image`, `python` and `platform`."
            ))
        })
    }

    /// Returns the resources of the steps of `package`.
    #[must_use]
    pub fn resources(&self, package: &PackageName) -> Resources {
        let names = |rule: &&ResourceRule| {
            let mut patterns = rule.packages.iter();
            patterns.any(|pattern| matches(pattern.as_bytes(), package.as_ref().as_bytes()))
        };
        let rule = self.resources.iter().find(names);
        let cpu = rule.and_then(|rule| rule.cpu.clone());
        let memory = rule.and_then(|rule| rule.memory);
        Resources {
            cpu: cpu.unwrap_or_else(|| self.cpu.clone()),
            memory: memory.unwrap_or(self.memory),
        }
    }
}

/// Returns whether a wheel for `target` can be built by the Python `name`: the patch version does not matter.
fn is_python(target: &Target, name: &PythonName) -> bool {
    let built = Target::foreign(
        name,
        &Platform {
            system: System::Manylinux { major: 2, minor: 0 },
            machine: "x86_64".to_owned(),
        },
    );
    let minor = |target: &Target| -> Vec<String> {
        let parts = target.python_version.split('.').take(2);
        parts.map(str::to_owned).collect()
    };
    built.implementation == target.implementation
        && built.free_threaded == target.free_threaded
        && minor(&built) == minor(target)
}

/// Returns whether a wheel for `target` can be built on `platform`: the system and the machine are the same. Whether the wheel
/// fits the system's version is found out from the wheel.
fn is_platform(target: &Target, platform: &Platform) -> bool {
    let Ok(own) = target.platform.parse::<Platform>() else {
        return false;
    };
    let is_same_system =
        std::mem::discriminant(&own.system) == std::mem::discriminant(&platform.system);
    is_same_system && own.machine == platform.machine
}

/// Returns whether `name` matches `pattern`, in which `*` stands for any characters.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|start| matches(rest, &name[start..])),
        Some((letter, rest)) => name
            .split_first()
            .is_some_and(|(first, others)| first == letter && matches(rest, others)),
    }
}

fn invalid(path: &Path, place: &str, reason: &dyn std::fmt::Display) -> Error {
    let place = if place.is_empty() {
        format!("`{}`", path.display())
    } else {
        format!("`{place}` in `{}`", path.display())
    };
    Error::new(Kind::Input, format!("{place} is not valid: {reason}"))
        .with_hint("docs/reference/farm.md describes the keys.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
namespace = "builds"
memory = "4Gi"

[[images]]
image = "registry.example/builder:3.12-arm64"
python = "3.12"
platform = "linux-arm64"
node-selector = { "kubernetes.io/arch" = "arm64" }

[[images]]
image = "registry.example/builder:3.12"
python = "3.12"
platform = "linux"

[[resources]]
packages = ["torch*", "pyarrow"]
cpu = "8"
memory = "12Gi"
"#;

    fn parse(text: &str) -> Result<FarmConfig> {
        FarmConfig::parse(text, Path::new("farm.toml"))
    }

    #[test]
    fn example_is_valid() {
        let config = parse(include_str!("../../../examples/farm/farm.toml")).unwrap();
        let image = |target: &str| {
            config
                .image(&target.parse().unwrap())
                .map(|rule| rule.node_selector.clone())
        };
        let nodes = image("3.12-manylinux_2_28_aarch64").unwrap();
        assert_eq!(nodes["kubernetes.io/arch"], "arm64");
        assert!(image("3.13-manylinux_2_28_aarch64").is_err());
    }

    #[test]
    fn chooses_image_by_python_and_platform() {
        let config = parse(EXAMPLE).unwrap();
        let image = |target: &str| {
            config
                .image(&target.parse().unwrap())
                .map(|rule| &*rule.image)
        };
        let arm = image("3.12.4-manylinux_2_34_aarch64").unwrap();
        assert_eq!(arm, "registry.example/builder:3.12-arm64");
        let intel = image("3.12-manylinux_2_17_x86_64").unwrap();
        assert_eq!(intel, "registry.example/builder:3.12");
        for target in ["3.13-linux", "3.12-alpine", "pp310-linux"] {
            let error = image(target).unwrap_err();
            assert!(error.to_string().contains("no image"), "{error}");
        }
    }

    #[test]
    fn chooses_resources_by_first_pattern() {
        let config = parse(EXAMPLE).unwrap();
        let resources = |name: &str| {
            let resources = config.resources(&name.parse().unwrap());
            format!("{} {}", resources.cpu, resources.memory)
        };
        assert_eq!(resources("torch-scatter"), "8 12Gi");
        assert_eq!(resources("pyarrow"), "8 12Gi");
        assert_eq!(resources("pyarrow-hotfix"), "1 4Gi");
    }

    #[test]
    fn reads_table_of_project() {
        let path = Path::new("pyproject.toml");
        let of_project = |text| FarmConfig::of_project(text, path);
        let config = of_project("[tool.wheelhouse.farm]\nnamespace = 'builds'\n").unwrap();
        assert_eq!(config.unwrap().namespace.as_deref(), Some("builds"));
        assert_eq!(of_project("[project]\nname = 'a'\n").unwrap(), None);
        let error = of_project("[tool.wheelhouse]\nfarm = 1\n").unwrap_err();
        assert!(error.to_string().contains("is not a table"), "{error}");
    }

    #[test]
    fn rejects_unknown_keys_and_wrong_values() {
        for (text, reason) in [
            ("namespaces = 'a'", "unknown field"),
            ("parallelism = 0", "`parallelism` is 0"),
            ("memory = 'much'", "`much` is not a quantity"),
            (
                "memory = '8Gi'\nmemory-limit = '4Gi'",
                "more than the `memory-limit`",
            ),
            ("[[images]]\nimage = 'a'\npython = 'three'", "three"),
            ("[[images]]\npython = '3.12'", "image"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
