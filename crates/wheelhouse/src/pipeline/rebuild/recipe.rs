//! The request that builds a wheel again, by what the manifest records of its build.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use serde_json::Value;
use url::Url;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::lock::{Build, Pin};
use wheelhouse_types::manifest::{MANIFEST_NAME, Wheel};
use wheelhouse_types::provenance::{BuildInputs, InputFile};
use wheelhouse_types::request::{
    Formats, HashPolicy, Indexes, Prereleases, Requirement, Resolution,
};
use wheelhouse_types::{
    Error, Kind, LockedCrate, Origin, PackageName, Request, Result, WheelFilename,
};

use super::collected_files::CollectedFiles;

/// A wheel that can be rebuilt.
pub(super) struct Recipe<'a> {
    wheel: &'a Wheel,
    name: PackageName,
    pub(super) inputs: &'a BuildInputs,
}

impl<'a> Recipe<'a> {
    /// Finds what the manifest records of the build of `wheel`. Returns a reason if that is not enough.
    pub(super) fn of(wheel: &'a Wheel) -> Result<Self, String> {
        let built = wheel.built.as_ref();
        let Some(inputs) = built.and_then(|built| built.inputs.as_deref()) else {
            return Err("the manifest does not record what its build used".to_owned());
        };
        let is_repository = wheel.source.starts_with("git+");
        if inputs.sdist.is_none() && !is_repository {
            return Err(format!("it was built from the local tree {}", wheel.source));
        }
        let invalid = |_| format!("its name `{}` is not valid", wheel.name.escape_debug());
        Ok(Self {
            wheel,
            name: PackageName::from_str(&wheel.name).map_err(invalid)?,
            inputs,
        })
    }

    /// Returns the requirement for the source; `files` are those that are at hand.
    fn requirement(&self, files: &CollectedFiles) -> Result<Requirement> {
        let Wheel {
            source, version, ..
        } = self.wheel;
        let name = &self.name;
        let sdist = self.inputs.sdist.as_ref();
        let at_hand = sdist.and_then(|sdist| files.paths.get(&sdist.sha256));
        let text = match at_hand {
            Some(path) => {
                let url = Url::from_file_path(path).map_err(|()| {
                    Error::new(Kind::Input, format!("{} is not absolute", path.display()))
                })?;
                format!("{name} @ {url}")
            }
            None if self.wheel.origin == Origin::Direct => format!("{name} @ {source}"),
            None => format!("{name}=={version}"),
        };
        Ok(Requirement {
            text,
            hashes: sdist
                .map(|sdist| format!("sha256:{}", sdist.sha256))
                .into_iter()
                .collect(),
            origin: MANIFEST_NAME.to_owned(),
            base: files.directory.clone(),
            ..Requirement::default()
        })
    }

    /// Returns the pinned build requirements of the wheel, and of those that are built themselves.
    fn builds(&self) -> Result<Vec<Build>> {
        let (filename, inputs) = (&self.wheel.filename, self.inputs);
        let mut builds = Vec::new();
        add_builds(filename, &inputs.requirements, &inputs.crates, &mut builds)?;
        Ok(builds)
    }

    /// Returns the settings of the build backend as options are.
    fn settings(&self) -> Vec<(String, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let pairs = self.inputs.settings.iter().flat_map(|(key, value)| {
            let values = match value {
                Value::Array(values) => values.iter().map(text).collect(),
                value => vec![text(value)],
            };
            values.into_iter().map(|value| (key.clone(), value))
        });
        pairs.collect()
    }

    /// Returns the request for a run that builds the wheel from `files`; what the manifest does not record is that of
    /// `template`.
    pub(super) fn request(&self, template: &Request, files: &CollectedFiles) -> Result<Request> {
        let mut building = template.building.clone();
        let path = building.environment.remove_entry("PATH");
        building.environment = self.inputs.environment.clone();
        building.environment.extend(path);
        building.config_settings = Vec::new();
        building.package_settings = BTreeMap::from([(self.name.clone(), self.settings())]);
        building.isolated = true;
        building.is_varied = true;
        building.jobs = 1;
        let mut find_links = template.indexes.find_links.clone();
        find_links.insert(0, files.directory.display().to_string());
        Ok(Request {
            requirements: vec![self.requirement(files)?],
            builds: self.builds()?,
            python: template.python.clone(),
            indexes: if files.is_complete {
                Indexes {
                    find_links: vec![files.directory.display().to_string()],
                    no_index: true,
                    ..Indexes::default()
                }
            } else {
                Indexes {
                    find_links,
                    ..template.indexes.clone()
                }
            },
            formats: Formats::default(),
            network: template.network.clone(),
            resolution: Resolution {
                prereleases: Prereleases {
                    others: Some(true),
                    ..Prereleases::default()
                },
                no_dependencies: true,
                hashes: HashPolicy::Optional,
                ..Resolution::default()
            },
            building,
            ..Request::default()
        })
    }
}

/// Adds the pins for the build of the wheel `filename` with `requirements` and `crates` to `builds`, and those of its requirements.
fn add_builds(
    filename: &str,
    requirements: &[InputFile],
    crates: &[LockedCrate],
    builds: &mut Vec<Build>,
) -> Result<()> {
    let parse = |filename: &str| {
        let invalid = || format!("`{}` is not the name of a wheel", filename.escape_debug());
        WheelFilename::from_str(filename).context(Kind::Input, invalid)
    };
    let wheel = parse(filename)?;
    let known = builds.iter();
    let mut known = known.map(|build| (&build.name, &build.version));
    if known.any(|known| known == (&wheel.name, &wheel.version)) {
        return Ok(());
    }
    let mut closure = Vec::new();
    for input in requirements {
        let required = parse(&input.filename)?;
        let digests = [Some(input.sha256), input.built_from];
        let digests = digests.into_iter().flatten();
        closure.push(Pin {
            requirement: format!("{}=={}", required.name, required.version),
            hashes: digests.map(|sha256| format!("sha256:{sha256}")).collect(),
        });
    }
    closure.sort();
    builds.push(Build {
        name: wheel.name,
        version: wheel.version,
        requires: Vec::new(),
        crates: crates.to_vec(),
        closure,
    });
    let built = requirements
        .iter()
        .filter(|input| input.built_from.is_some());
    for input in built {
        add_builds(&input.filename, &input.requirements, &input.crates, builds)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wheelhouse_types::Sha256;

    use super::*;

    fn input(filename: &str, requirements: Vec<InputFile>) -> InputFile {
        InputFile {
            filename: filename.to_owned(),
            sha256: Sha256::of(filename.as_bytes()),
            source: format!("https://index.example/{filename}"),
            built_from: (!requirements.is_empty()).then(|| Sha256::of(b"sdist")),
            requirements,
            crates: Vec::new(),
        }
    }

    #[test]
    fn pins_requirements_of_built_requirements() {
        let backend = input("flit_core-3.9.0-py3-none-any.whl", Vec::new());
        let mut built = input("wheel-0.43.0-py3-none-any.whl", vec![backend]);
        let locked = |name: &str| LockedCrate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            source: "registry+https://index.example".to_owned(),
            sha256: Some(Sha256::of(name.as_bytes())),
        };
        built.crates = vec![locked("nested")];
        let mut builds = Vec::new();
        add_builds(
            "a-1.0-py3-none-any.whl",
            &[built],
            &[locked("own")],
            &mut builds,
        )
        .unwrap();
        let crates = builds.iter().map(|build| build.crates.clone());
        assert_eq!(
            crates.collect::<Vec<_>>(),
            [vec![locked("own")], vec![locked("nested")]]
        );
        let pins: Vec<_> = builds
            .iter()
            .map(|build| {
                let pins = build.closure.iter();
                let pins: Vec<_> = pins
                    .map(|pin| (pin.requirement.as_str(), pin.hashes.len()))
                    .collect();
                (build.name.to_string(), pins)
            })
            .collect();
        assert_eq!(
            pins,
            [
                ("a".to_owned(), vec![("wheel==0.43.0", 2)]),
                ("wheel".to_owned(), vec![("flit-core==3.9.0", 1)]),
            ]
        );
    }
}
