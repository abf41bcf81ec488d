//! A target: one Python implementation and version on one platform, with its ordered tags.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uv_pep508::MarkerEnvironment;

/// What wheels are chosen and built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// `platform_python_implementation`-like name in lower case: `cpython`, `pypy`.
    pub implementation: String,
    /// The full version, `3.11.7`.
    pub python_version: String,
    /// The platform tag of the interpreter, `manylinux_2_36_x86_64`.
    pub platform: String,
    /// The values of the environment markers (PEP 508).
    pub markers: BTreeMap<String, String>,
    /// The interpreter, for the host target; a foreign target has none.
    #[serde(skip)]
    pub interpreter: Option<PathBuf>,
}

impl Target {
    /// The values of the environment markers, for evaluating one; `None` if they are not complete.
    #[must_use]
    pub fn marker_environment(&self) -> Option<MarkerEnvironment> {
        let values = serde_json::to_value(&self.markers).ok()?;
        serde_json::from_value(values).ok()
    }

    /// A short name for messages: `CPython 3.11.7 on manylinux_2_36_x86_64`.
    #[must_use]
    pub fn label(&self) -> String {
        let implementation = match self.implementation.as_str() {
            "cpython" => "CPython",
            "pypy" => "PyPy",
            other => other,
        };
        format!(
            "{implementation} {} on {}",
            self.python_version, self.platform
        )
    }
}
