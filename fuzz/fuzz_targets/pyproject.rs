//! Reads a `pyproject.toml` with arbitrary text: it succeeds or returns an error.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wheelhouse_config::PyProject;

fuzz_target!(|text: &str| {
    if let Ok(project) = PyProject::parse(Path::new("pyproject.toml"), text) {
        let _ = project.name();
        let _ = project.dependencies();
    }
});
