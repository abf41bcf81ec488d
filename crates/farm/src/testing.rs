//! Values for unit tests.

use std::sync::Mutex;

use wheelhouse_types::step::{BuildStep, SCHEMA, StepFile, StepSandbox};
use wheelhouse_types::{Event, Observer, Sha256};

/// Keeps events as JSON.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn observe(&self, event: &Event) {
        let text = serde_json::to_string(event).unwrap();
        self.0.lock().unwrap().push(text);
    }
}

impl Recorder {
    /// Returns all events.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the events of a kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<String> {
        let kind = format!("\"event\":\"{kind}\"");
        let mut events = self.all();
        events.retain(|event| event.contains(&kind));
        events
    }
}

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
