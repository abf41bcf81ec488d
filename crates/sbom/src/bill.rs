//! The contents of a bill of materials, before they are rendered in a format.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use wheelhouse_archive::metadata::value;
use wheelhouse_fs::interruption;
use wheelhouse_fs::threads::try_in_parallel;
use wheelhouse_types::manifest::Wheel;
use wheelhouse_types::{Error, Manifest, Origin, PackageName, Result, Sha256};

use crate::bundled::{self, BundledComponent, BundledSbom};
use crate::licenses::Licenses;

/// The length of a summary, in characters. Some packages put their whole description into the field.
const SUMMARY: usize = 500;

/// The bill of materials of a wheelhouse.
#[derive(Debug)]
pub struct Bill<'a> {
    pub(crate) manifest: &'a Manifest,
    /// The details of each wheel, in the order of the manifest.
    details: Vec<WheelDetails>,
    /// Identifies the contents.
    pub(crate) digest: Sha256,
    /// The time that the document states, in seconds since 1970-01-01 UTC.
    created: Option<i64>,
}

/// A wheel and its details.
#[derive(Clone, Copy)]
pub(crate) struct DetailedWheel<'a> {
    pub(crate) wheel: &'a Wheel,
    pub(crate) details: &'a WheelDetails,
}

/// The description of a wheel besides its entry in the manifest.
#[derive(Debug, Default)]
pub(crate) struct WheelDetails {
    pub(crate) licenses: Licenses,
    pub(crate) summary: Option<String>,
    pub(crate) sboms: Vec<BundledSbom>,
    /// The Rust crates that no bill of materials in the wheel lists.
    pub(crate) crates: Vec<BundledComponent>,
    /// The reason why nothing else is known.
    pub(crate) problem: Option<Error>,
}

impl<'a> Bill<'a> {
    /// Reads the details of the wheels of `manifest`, which are in `directory`, and whose names were checked. `created` is the
    /// time that the document states, in seconds since 1970-01-01 UTC; without it, the newest upload time of the files.
    /// [`Bill::check`] reports wheels that are not valid.
    ///
    /// # Errors
    /// Fails only if the program was interrupted.
    pub fn read(directory: &Path, manifest: &'a Manifest, created: Option<i64>) -> Result<Self> {
        let wheels: Vec<&Wheel> = manifest.wheels.iter().collect();
        let details = try_in_parallel(&wheels, |wheel| {
            interruption::check()?;
            Ok(WheelDetails::read(directory, wheel))
        })?;
        Ok(Self::new(manifest, details, created))
    }

    pub(crate) fn new(
        manifest: &'a Manifest,
        details: Vec<WheelDetails>,
        created: Option<i64>,
    ) -> Self {
        let wheels = manifest
            .wheels
            .iter()
            .filter_map(|wheel| wheel.listing.uploaded);
        let sdists = manifest
            .sdists
            .iter()
            .filter_map(|sdist| sdist.listing.uploaded);
        let newest = wheels.chain(sdists).max();
        let files = manifest.distributions();
        let files: Vec<String> = files
            .map(|file| format!("{} {}\n", file.sha256, file.filename))
            .collect();
        Self {
            manifest,
            details,
            digest: Sha256::of(files.concat().as_bytes()),
            created: created.or(newest.map(|milliseconds| milliseconds.div_euclid(1000))),
        }
    }

    /// Checks that every wheel could be read.
    ///
    /// # Errors
    /// [`wheelhouse_types::Kind::Fetch`] if a wheel is missing or is not valid.
    pub fn check(&self) -> Result<()> {
        let mut problems = self.details.iter().filter_map(|it| it.problem.as_ref());
        problems
            .next()
            .map_or(Ok(()), |error| Err(error.to_shared()))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = DetailedWheel<'_>> {
        let wheels = self.manifest.wheels.iter().zip(&self.details);
        wheels.map(|(wheel, details)| DetailedWheel { wheel, details })
    }

    /// Returns the wheels that `wheel` depends on.
    pub(crate) fn dependencies<'b>(&'b self, wheel: &'b Wheel) -> impl Iterator<Item = &'b Wheel> {
        let wheels = self.manifest.wheels.iter();
        wheels.filter(|other| wheel.dependencies.contains(&other.name))
    }

    /// Returns the wheels that were required, and those that no other wheel depends on.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Wheel> {
        let wheels = || self.manifest.wheels.iter();
        let needed: BTreeSet<&String> = wheels().flat_map(|wheel| &wheel.dependencies).collect();
        let sets = self.manifest.sets.iter().flat_map(|set| &set.requirements);
        let lines = self.manifest.requirements.iter().chain(sets);
        let required: BTreeSet<String> = lines.filter_map(|line| required_name(line)).collect();
        wheels()
            .filter(move |wheel| required.contains(&wheel.name) || !needed.contains(&wheel.name))
    }

    /// Returns the time that the document states, in RFC 3339 with seconds.
    pub(crate) fn created(&self) -> Option<String> {
        let time = Timestamp::from_second(self.created?).ok()?;
        Some(time.to_string())
    }

    /// Returns a UUID (RFC 9562, version 8) that the contents determine.
    pub(crate) fn uuid(&self) -> String {
        let hex = self.digest.to_string();
        format!(
            "{}-{}-8{}-a{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..32]
        )
    }
}

impl WheelDetails {
    /// Returns the components in the wheel.
    pub(crate) fn components(&self) -> impl Iterator<Item = &BundledComponent> {
        let bundled = self.sboms.iter().flat_map(|sbom| &sbom.components);
        bundled.chain(&self.crates)
    }

    fn read(directory: &Path, wheel: &Wheel) -> Self {
        let path = directory.join(&wheel.filename);
        let documents = match wheelhouse_archive::documents(&path, &wheel.filename) {
            Ok(documents) => documents,
            Err(error) => {
                return Self {
                    crates: crates(wheel, &[]),
                    problem: Some(error),
                    ..Self::default()
                };
            }
        };
        let metadata = String::from_utf8_lossy(&documents.metadata);
        let summary = value(&metadata, "Summary");
        let sboms = bundled::read(documents.sboms, &wheel.name);
        Self {
            licenses: Licenses::of(&metadata),
            summary: summary.map(|text| text.chars().take(SUMMARY).collect()),
            crates: crates(wheel, &sboms),
            sboms,
            problem: None,
        }
    }
}

/// Returns the normalized name at the start of a requirement, unless it is a path or a URL.
fn required_name(line: &str) -> Option<String> {
    let end = line
        .find(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.".contains(letter))
        .unwrap_or(line.len());
    let name: PackageName = line[..end].parse().ok()?;
    let is_path = line[end..].starts_with(['/', ':', '\\']);
    (!is_path).then(|| name.to_string())
}

/// Returns the index or place that offered a file.
pub(crate) fn origin(origin: &Origin) -> &str {
    match origin {
        Origin::Index { url } => url,
        Origin::FindLinks { location } => location,
        Origin::Direct => "direct",
        Origin::Upload => "upload",
    }
}

/// Returns how a wheel was obtained.
pub(crate) fn how(wheel: &Wheel) -> &'static str {
    if wheel.built.is_some() {
        "built"
    } else {
        "fetched"
    }
}

/// Returns the Rust crates that `wheel` was built with, without those that its own bills of materials list.
fn crates(wheel: &Wheel, sboms: &[BundledSbom]) -> Vec<BundledComponent> {
    let listed = sboms.iter().flat_map(|sbom| &sbom.components);
    let listed: BTreeSet<(&str, Option<&str>)> = listed
        .map(|component| (component.name.as_str(), component.version.as_deref()))
        .collect();
    let inputs = wheel.built.iter().filter_map(|built| built.inputs.as_ref());
    let crates = inputs.flat_map(|inputs| &inputs.crates);
    crates
        .filter(|locked| !listed.contains(&(&locked.name, Some(&locked.version))))
        .map(|locked| BundledComponent {
            kind: "library",
            name: locked.name.clone(),
            version: Some(locked.version.clone()),
            purl: Some(format!("pkg:cargo/{}@{}", locked.name, locked.version)),
            licenses: Licenses::Unknown,
            sha256: locked.sha256,
        })
        .collect()
}

/// The sdist that a wheel was built from.
pub(crate) struct BuiltFrom<'a> {
    pub(crate) filename: Option<&'a str>,
    pub(crate) sha256: Sha256,
}

/// Returns the sdist that `wheel` was built from, if it was built from one.
pub(crate) fn built_from(wheel: &Wheel) -> Option<BuiltFrom<'_>> {
    let built = wheel.built.as_ref()?;
    let sdist = built
        .inputs
        .as_ref()
        .and_then(|inputs| inputs.sdist.as_ref());
    let sha256 = sdist.map(|sdist| sdist.sha256).or(built.sdist.sha256())?;
    Some(BuiltFrom {
        filename: sdist.map(|sdist| sdist.filename.as_str()),
        sha256,
    })
}

/// Returns the wheels of the environment that `wheel` was built in, each a file name and a digest.
pub(crate) fn build_requirements(wheel: &Wheel) -> BTreeMap<&str, Sha256> {
    let inputs = wheel.built.iter().filter_map(|built| built.inputs.as_ref());
    let files = inputs.flat_map(|inputs| &inputs.requirements);
    files
        .map(|file| (file.filename.as_str(), file.sha256))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use wheelhouse_archive::testing::{METADATA, WHEEL_NAME, WheelSample};

    use super::*;

    /// Returns the manifest of `alpha`, which depends on `beta`, and of an sdist.
    pub(crate) fn manifest() -> Manifest {
        let wheel = |name: &str, dependencies: &[&str]| {
            json!({
                "filename": format!("{name}-1.0-py3-none-any.whl"), "name": name, "version": "1.0",
                "sha256": "a".repeat(64), "size": 1, "origin": {"kind": "index", "url": "https://host/simple"},
                "source": format!("https://host/{name}-1.0-py3-none-any.whl"), "dependencies": dependencies,
                "upload-time": "2024-05-01T12:00:00.5Z",
            })
        };
        let mut beta = wheel("beta", &[]);
        beta["built"] = json!({
            "python": "cpython 3.12.1", "requirements": ["setuptools==80.0"], "sdist": {"sha256": "b".repeat(64)},
            "inputs": {
                "backend": "setuptools.build_meta",
                "sdist": {"filename": "beta-1.0.tar.gz", "sha256": "b".repeat(64), "source": "https://host/beta-1.0.tar.gz"},
                "requirements": [{
                    "filename": "setuptools-80.0-py3-none-any.whl", "sha256": "c".repeat(64), "source": "https://host/x",
                }],
            },
        });
        let document = json!({
            "schema": "wheelhouse-manifest/1", "generator": "wheelhouse 1", "targets": [], "request": "", "files": [],
            "requirements": ["Alpha[x]>=1", "./libs/beta"], "wheels": [wheel("alpha", &["beta"]), beta],
            "sdists": [{
                "filename": "gamma-1.0.tar.gz", "name": "gamma", "version": "1.0", "sha256": "d".repeat(64), "size": 1,
                "origin": {"kind": "direct"}, "source": "/some where/gamma-1.0.tar.gz",
            }],
        });
        Manifest::parse(document.to_string().as_bytes()).unwrap()
    }

    /// Returns the bill of [`manifest`], in which `alpha` has `sboms`.
    pub(crate) fn bill(manifest: &Manifest, sboms: Vec<BundledSbom>) -> Bill<'_> {
        let alpha = WheelDetails {
            licenses: Licenses::Expression("MIT".to_owned()),
            summary: Some("An example".to_owned()),
            sboms,
            crates: Vec::new(),
            problem: None,
        };
        Bill::new(manifest, vec![alpha, WheelDetails::default()], None)
    }

    #[test]
    fn reads_documents_of_wheels() {
        let mut manifest = manifest();
        manifest.wheels.truncate(1);
        manifest.wheels[0].filename = WHEEL_NAME.to_owned();
        let directory = tempfile::tempdir().unwrap();
        let missing = Bill::read(directory.path(), &manifest, None).unwrap();
        assert!(missing.check().is_err());
        let mut sample = WheelSample::new();
        let metadata = format!("Summary: {}\nLicense: BSD\n{METADATA}", "x".repeat(1_000));
        sample.set("example-1.0.dist-info/METADATA", metadata);
        sample.set("example-1.0.dist-info/sboms/a.json", "{}");
        std::fs::write(directory.path().join(WHEEL_NAME), sample.bytes()).unwrap();
        let bill = Bill::read(directory.path(), &manifest, None).unwrap();
        bill.check().unwrap();
        let details = bill.entries().next().unwrap().details;
        assert_eq!(details.licenses, Licenses::named(vec!["BSD".to_owned()]));
        assert_eq!(details.summary.as_ref().unwrap().len(), SUMMARY);
        assert!(details.sboms[0].problem.is_some());
    }

    #[test]
    fn identity_and_time_depend_on_the_files_alone() {
        let manifest = manifest();
        let bill = bill(&manifest, Vec::new());
        assert_eq!(bill.created().as_deref(), Some("2024-05-01T12:00:00Z"));
        assert_eq!(bill.uuid().len(), 36);
        let mut other = manifest.clone();
        other.requirements.clear();
        assert_eq!(Bill::new(&other, Vec::new(), None).uuid(), bill.uuid());
        other.wheels[0].sha256 = Sha256::of(b"");
        let other = Bill::new(&other, Vec::new(), Some(1));
        assert_ne!(other.uuid(), bill.uuid());
        assert_eq!(other.created().as_deref(), Some("1970-01-01T00:00:01Z"));
    }

    #[test]
    fn crates_are_components_unless_the_wheel_lists_them() {
        let mut manifest = manifest();
        let wheel = &mut manifest.wheels[1];
        let inputs = wheel.built.as_mut().unwrap().inputs.as_mut().unwrap();
        let locked = |name: &str| json!({"name": name, "version": "1.0", "source": "registry+x"});
        inputs.crates = serde_json::from_value(json!([locked("serde"), locked("libc")])).unwrap();
        let names = |sboms: &[BundledSbom]| -> Vec<String> {
            let crates = crates(wheel, sboms);
            crates.into_iter().filter_map(|one| one.purl).collect()
        };
        assert_eq!(names(&[]), ["pkg:cargo/serde@1.0", "pkg:cargo/libc@1.0"]);
        let listed = crates(wheel, &[]).remove(0);
        let sbom = BundledSbom {
            path: String::new(),
            sha256: None,
            problem: None,
            components: vec![listed],
        };
        assert_eq!(names(&[sbom]), ["pkg:cargo/libc@1.0"]);
    }

    #[test]
    fn roots_are_required_or_needed_by_nothing() {
        let mut manifest = manifest();
        let roots = |manifest: &Manifest| -> Vec<String> {
            let bill = Bill::new(manifest, Vec::new(), None);
            bill.roots().map(|wheel| wheel.name.clone()).collect()
        };
        assert_eq!(roots(&manifest), ["alpha"]);
        manifest.requirements = vec!["beta @ https://host/beta.zip".to_owned()];
        assert_eq!(roots(&manifest), ["alpha", "beta"]);
    }

    #[test]
    fn names_of_requirements_are_normalized() {
        assert_eq!(
            required_name("Zope.Interface>=5"),
            Some("zope-interface".to_owned())
        );
        assert_eq!(required_name("beta"), Some("beta".to_owned()));
        assert_eq!(required_name("./beta"), None);
        assert_eq!(required_name("beta/sub"), None);
        assert_eq!(required_name("https://host/a.whl"), None);
    }
}
