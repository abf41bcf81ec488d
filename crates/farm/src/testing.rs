//! Values for unit tests.

use wheelhouse_types::Sha256;
use wheelhouse_types::step::{BuildStep, SCHEMA, StepFile, StepSandbox};

/// Returns a step for Python 3.12 on Linux.
pub(crate) fn step() -> BuildStep {
    BuildStep {
        schema: SCHEMA.to_owned(),
        name: "example".parse().unwrap(),
        version: "1.0".parse().unwrap(),
        source: StepFile {
            filename: "example-1.0.tar.gz".to_owned(),
            sha256: Sha256::of(b"example"),
            size: 7,
        },
        subdirectory: None,
        target: "cp312-manylinux_2_28_x86_64".to_owned(),
        requires: Vec::new(),
        requirements: Vec::new(),
        crates: Vec::new(),
        config_settings: Vec::new(),
        package_settings: Vec::new(),
        environment: std::collections::BTreeMap::new(),
        sandbox: StepSandbox::default(),
        hook_timeout: 3600,
        variation: None,
    }
}
