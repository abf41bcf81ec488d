//! The output of a dry run: the steps of the plan, sorted by name, for each target of a download.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wheelhouse_types::plan::{Action, Step};
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Source, Target, WheelFilename};

use crate::cli::{format, output};
use crate::pipeline::Preview;

const SCHEMA: &str = "wheelhouse-plan/1";

pub(crate) fn print(preview: &Preview, json: bool) {
    let as_json = |preview: &Preview| {
        let steps: Vec<_> = steps(preview).into_iter().map(as_json).collect();
        json!({ "request": preview.lock.request, "steps": steps })
    };
    if json {
        let mut document = as_json(preview);
        document["schema"] = SCHEMA.into();
        if !preview.additional_sets.is_empty() {
            let sets = preview.additional_sets.iter();
            let sets = sets.map(|(name, preview)| (name.clone(), as_json(preview)));
            document["sets"] = Value::Object(sets.collect());
        }
        output::data(&format!("{document:#}\n"));
        return;
    }
    output::data(&as_lines(&steps(preview)));
    for (name, preview) in &preview.additional_sets {
        output::data(&format!("{name}:\n{}", as_lines(&steps(preview))));
    }
}

/// Prints what would be fetched for each target, and which sdists remain to be built there.
pub(crate) fn print_targets(previews: &[(Target, Preview)], json: bool) {
    if json {
        let targets: Vec<_> = previews
            .iter()
            .map(|(target, preview)| {
                json!({
                    "target": target.full_name(),
                    "label": target.label(),
                    "request": preview.lock.request,
                    "to_build": to_build(preview),
                    "steps": steps(preview).into_iter().map(as_json).collect::<Vec<_>>(),
                })
            })
            .collect();
        let document = json!({ "schema": SCHEMA, "targets": targets });
        output::data(&format!("{document:#}\n"));
        return;
    }
    for (target, preview) in previews {
        let to_build = match &to_build(preview)[..] {
            [] => String::new(),
            sdists => format!("; sdists to build: {}", sdists.join(", ")),
        };
        let lines = as_lines(&steps(preview));
        output::data(&format!("{}{to_build}\n{lines}", target.label()));
    }
}

fn steps(preview: &Preview) -> Vec<&Step> {
    let mut steps: Vec<&Step> = preview.plan.steps.iter().collect();
    steps.sort_by_key(|step| (&step.package.name, &step.package.version));
    steps
}

/// Returns the packages without a wheel for the target, neither a published one nor one that was built before.
fn to_build(preview: &Preview) -> Vec<String> {
    let has_wheel = |step: &Step| match &step.action {
        Action::Reuse { filename, .. } | Action::Copy { filename, .. } => {
            filename.parse::<WheelFilename>().is_ok()
        }
        Action::Fetch { .. } | Action::Build => matches!(step.package.source, Source::Wheel(_)),
    };
    let mut steps: Vec<&Step> = preview.plan.steps.iter().collect();
    steps.retain(|step| !has_wheel(step));
    steps.sort_by_key(|step| &step.package.name);
    let names = steps.into_iter();
    names
        .map(|step| step.package.distribution().to_string())
        .collect()
}

fn as_lines(steps: &[&Step]) -> String {
    let width =
        |length: fn(&Step) -> usize| steps.iter().map(|step| length(step)).max().unwrap_or(0);
    let names = width(|step| step.package.name.as_ref().len());
    let versions = width(|step| step.package.version.to_string().len());
    let mut lines = String::new();
    for step in steps {
        let package = &step.package;
        let line = format!(
            "{:<6}  {:<names$}  {:<versions$}  {}{}{}",
            action(step),
            package.name,
            package.version.to_string(),
            file(step),
            bytes(step).map_or(String::new(), |size| format!("  {}", format::bytes(size))),
            location(step).map_or(String::new(), |location| format!("  {location}")),
        );
        let _ = writeln!(lines, "{}", line.trim_end());
    }
    lines
}

fn as_json(step: &Step) -> Value {
    let package = &step.package;
    let artifact = package.source.artifact();
    json!({
        "action": action(step),
        "name": package.name,
        "version": package.version.to_string(),
        "file": file(step),
        "bytes": bytes(step),
        "source": mask(&package.source.to_string()),
        "location": location(step),
        "sha256": match &step.action {
            Action::Reuse { sha256, .. } | Action::Copy { sha256, .. } => Some(sha256.to_string()),
            _ => artifact.and_then(|artifact| artifact.hashes.sha256()).map(|digest| digest.to_string()),
        },
    })
}

fn action(step: &Step) -> &'static str {
    match step.action {
        Action::Reuse { .. } => "reuse",
        Action::Fetch { .. } => "fetch",
        Action::Copy { .. } => "copy",
        Action::Build => "build",
    }
}

/// Returns the file to reuse or fetch, or the source to build.
fn file(step: &Step) -> String {
    match (&step.action, step.package.source.artifact()) {
        (Action::Reuse { filename, .. } | Action::Copy { filename, .. }, _) => filename.clone(),
        (_, Some(artifact)) => artifact.filename.clone(),
        (_, None) => mask(&step.package.source.to_string()),
    }
}

/// Returns the shared cache that has the wheel.
fn location(step: &Step) -> Option<&str> {
    match &step.action {
        Action::Copy { location, .. } => Some(location),
        _ => None,
    }
}

/// Returns the number of bytes to fetch, if known.
fn bytes(step: &Step) -> Option<u64> {
    match &step.action {
        Action::Reuse { .. } => None,
        Action::Fetch { bytes } => *bytes,
        Action::Copy { bytes, .. } => Some(*bytes),
        Action::Build => step.package.source.artifact()?.size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_types::lock::Package;
    use wheelhouse_types::{Origin, Sha256};

    fn step(name: &str, version: &str, action: Action) -> Step {
        Step {
            package: Package {
                name: name.parse().unwrap(),
                version: version.parse().unwrap(),
                origin: Origin::Direct,
                source: Source::Tree {
                    path: "/libs/acme".into(),
                },
                requires_python: None,
                dependencies: Vec::new(),
                required_hashes: Vec::new(),
            },
            action,
        }
    }

    #[test]
    fn steps_are_aligned() {
        let reuse = Action::Reuse {
            sha256: Sha256::of(b""),
            filename: "django-5.2.1-py3-none-any.whl".to_owned(),
        };
        let steps = [
            step("acme", "1.0", Action::Build),
            step("django", "5.2.1", reuse),
            step(
                "lxml",
                "5.4.0",
                Action::Copy {
                    sha256: Sha256::of(b""),
                    filename: "lxml-5.4.0-cp311-cp311-linux_x86_64.whl".to_owned(),
                    bytes: 7_000_000,
                    location: "s3://bucket/cache".to_owned(),
                },
            ),
            step(
                "misaka",
                "2.1.1",
                Action::Fetch {
                    bytes: Some(8_123_456),
                },
            ),
        ];
        let steps: Vec<_> = steps.iter().collect();
        insta::assert_snapshot!(as_lines(&steps), @"
        build   acme    1.0    /libs/acme
        reuse   django  5.2.1  django-5.2.1-py3-none-any.whl
        copy    lxml    5.4.0  lxml-5.4.0-cp311-cp311-linux_x86_64.whl  7.0 MB  s3://bucket/cache
        fetch   misaka  2.1.1  /libs/acme  8.1 MB
        ");
        assert_eq!(as_json(steps[1])["action"], "reuse");
    }
}
