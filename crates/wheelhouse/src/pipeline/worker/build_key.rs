//! The key of a built wheel: everything that determines the result of a build.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wheelhouse_types::lock::Build;
use wheelhouse_types::request::{HashPolicy, Requirement};
use wheelhouse_types::{Distribution, Request, Sha256, Source, Target};

use wheelhouse_store::BuildKey;

/// Returns a text that identifies the contents of a source. `sdist` is the digest of its file if the index publishes none;
/// `trees` has those of local trees.
pub(in crate::pipeline) fn source(
    distribution: &Distribution,
    sdist: Option<Sha256>,
    trees: &BTreeMap<PathBuf, Sha256>,
) -> String {
    match &distribution.source {
        Source::Sdist(artifact) | Source::Wheel(artifact) => {
            let sha256 = sdist.or(artifact.hashes.sha256());
            format!("file {sha256:?} {:?}", artifact.subdirectory)
        }
        Source::Tree { path } => format!("tree {:?}", trees.get(path)),
        Source::Git {
            repository,
            commit,
            subdirectory,
            ..
        } => {
            format!("git {repository} {commit} {subdirectory:?}")
        }
    }
}

/// Returns the key of the wheel that is built from `distribution` with the contents `source`.
///
/// The versions of the build requirements are not part of the key: they are recorded with the wheel, and
/// resolved again only when something else has changed.
pub(in crate::pipeline) fn build_key(
    request: &Request,
    target: &Target,
    distribution: &Distribution,
    source: &str,
) -> BuildKey {
    let building = &request.building;
    let own_settings = building.package_settings.get(&distribution.name);
    let mut fields = vec![
        // Wheels of earlier versions were stored as their build backend wrote them.
        ("form", "canonical".to_owned()),
        ("source", source.to_owned()),
        ("name", distribution.name.to_string()),
        ("python", target.python()),
        ("platform", target.platform.clone()),
        ("settings", format!("{:?}", building.config_settings)),
        ("package settings", format!("{own_settings:?}")),
    ];
    let constraints = request.build_constraints.iter();
    let constraint = |line: &Requirement| format!("{} {:?}", line.text, line.hashes);
    fields.extend(constraints.map(|line| ("constraint", constraint(line))));
    let version = distribution.version.as_ref();
    if let Some(build) = Build::find(&request.builds, &distribution.name, version) {
        fields.push(("locked", format!("{:?}", build.closure)));
        if !build.crates.is_empty() {
            fields.push(("crates", format!("{:?}", build.crates)));
        }
    }
    if request.resolution.hashes == HashPolicy::All {
        fields.push(("hashes", "required".to_owned()));
    }
    let variables = building.environment.iter();
    fields.extend(
        variables
            .filter(|(name, _)| *name != "PATH")
            .map(|(name, value)| ("variable", format!("{name}={value}"))),
    );
    BuildKey::new(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheelhouse_types::Origin;

    #[test]
    fn key_depends_on_everything_that_affects_the_wheel() {
        let distribution = Distribution {
            name: "example".parse().unwrap(),
            version: None,
            origin: Origin::Direct,
            source: Source::Tree {
                path: "/example".into(),
            },
            required_hashes: Vec::new(),
        };
        let target = |version: &str| Target {
            implementation: "cpython".to_owned(),
            python_version: version.to_owned(),
            platform: "linux_x86_64".to_owned(),
            markers: BTreeMap::new(),
            free_threaded: false,
            wide_unicode: false,
            interpreter: None,
        };
        let plain = Request::default();
        let mut flags = Request::default();
        let environment = &mut flags.building.environment;
        environment.insert("CFLAGS".to_owned(), "-O3".to_owned());
        let mut path = Request::default();
        path.building
            .environment
            .insert("PATH".to_owned(), "/bin".to_owned());
        let key =
            |request, version, source| build_key(request, &target(version), &distribution, source);
        let first = key(&plain, "3.11.7", "tree a");
        assert_eq!(first, key(&path, "3.11.7", "tree a"));
        assert_ne!(first, key(&plain, "3.12.1", "tree a"));
        assert_ne!(first, key(&plain, "3.11.7", "tree b"));
        assert_ne!(first, key(&flags, "3.11.7", "tree a"));
    }
}
