//! Every lock round-trips, and no text makes the reader panic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use url::Url;

use super::{artifact, base, name, read_first};
use crate::lock::{Build, Lock, Package, Pin};
use crate::pylock::{write, write_with_files};
use crate::{
    Artifact, ArtifactLocation, Hashes, Listing, LockedCrate, Origin, PackageName, Sha256, Source,
    Version,
};

fn text() -> impl Strategy<Value = String> {
    "[ -~\\t\\né\u{1F40D}]{0,12}"
}

fn version() -> impl Strategy<Value = Version> {
    "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}((a|b|rc)[0-9])?(\\.post[0-9])?(\\.dev[0-9])?(\\+[a-z]{1,4})?"
        .prop_map(|text| text.parse().unwrap())
}

fn path() -> impl Strategy<Value = PathBuf> {
    let part = "[a-z#% \"'é\\\\]{1,6}";
    (
        select(vec!["", "work", "work/application"]),
        vec(part, 1..4),
    )
        .prop_map(|(start, parts)| Path::new("/").join(start).join(parts.join("/")))
}

fn url(file: &str) -> Url {
    let mut url = Url::parse("https://example.com/packages").unwrap();
    url.path_segments_mut().unwrap().push(file);
    url
}

fn location(filename: &str) -> impl Strategy<Value = ArtifactLocation> + use<> {
    let name = filename.to_owned();
    let path = path().prop_map(move |path| ArtifactLocation::Path(path.join(&name)));
    let other = path_of_url().prop_map(ArtifactLocation::Url);
    prop_oneof![Just(ArtifactLocation::Url(url(filename))), path, other]
}

fn path_of_url() -> impl Strategy<Value = Url> {
    ("[a-z%é ]{0,8}", option::of("[a-z=&]{0,4}")).prop_map(|(file, query)| {
        let mut url = url(&file);
        url.set_query(query.as_deref());
        url
    })
}

fn file(filename: String) -> impl Strategy<Value = Artifact> {
    let uploaded = option::of(-62_135_596_800_000_i64..253_402_300_800_000);
    let size = option::of(0..=u64::try_from(i64::MAX).unwrap());
    let hashes = btree_map("[a-z0-9_ ]{1,8}", "[0-9a-f]{1,8}", 0..3);
    let subdirectory = option::of("[a-z ]{1,4}(/[a-z]{1,4})?");
    let yanked = option::of(text());
    (
        location(&filename),
        uploaded,
        yanked,
        size,
        hashes,
        subdirectory,
    )
        .prop_map(
            move |(location, uploaded, yanked, size, hashes, subdirectory)| Artifact {
                filename: filename.clone(),
                location,
                size,
                hashes: Hashes(hashes),
                listing: Listing {
                    uploaded,
                    yanked,
                    provenance: None,
                },
                project_status: None,
                subdirectory: subdirectory.map(PathBuf::from),
            },
        )
}

fn git() -> impl Strategy<Value = Source> {
    (
        path_of_url(),
        option::of(text()),
        "[0-9a-f]{40}",
        option::of("[a-z]{1,4}"),
    )
        .prop_map(
            |(repository, requested, commit, subdirectory)| Source::Git {
                repository,
                requested,
                commit,
                subdirectory: subdirectory.map(PathBuf::from),
            },
        )
}

fn source(named: &str, version: &Version) -> BoxedStrategy<Source> {
    let wheels = vec![
        format!("{}-{version}-py3-none-any.whl", named.replace('-', "_")),
        format!("{named}.whl"),
    ];
    let stem = format!("{named}-{version}");
    let sdists: Vec<String> = ["tar.gz", "zip", "tar.bz2"]
        .map(|suffix| format!("{stem}.{suffix}"))
        .into_iter()
        .chain(["main.zip".to_owned()])
        .collect();
    prop_oneof![
        select(wheels).prop_flat_map(file).prop_map(Source::Wheel),
        select(sdists).prop_flat_map(file).prop_map(Source::Sdist),
        path().prop_map(|path| Source::Tree { path }),
        git(),
    ]
    .boxed()
}

fn origin() -> impl Strategy<Value = Origin> {
    let index = select(vec![
        "https://pypi.org/simple",
        "https://example.com",
        "https://h/a/?b#c",
    ]);
    let place = path().prop_map(|path| path.to_string_lossy().into_owned());
    let page = Just("https://example.com/page.html".to_owned());
    prop_oneof![
        index.prop_map(|url| Origin::Index {
            url: url.to_owned()
        }),
        prop_oneof![place, page].prop_map(|location| Origin::FindLinks { location }),
        Just(Origin::Direct),
    ]
}

/// A wheel or sdist without a direct reference comes from an index or a page, a source tree from neither.
fn origin_of(source: &Source) -> BoxedStrategy<Origin> {
    match source {
        Source::Wheel(_) | Source::Sdist(_) => origin().boxed(),
        Source::Tree { .. } | Source::Git { .. } => Just(Origin::Direct).boxed(),
    }
}

fn any_package(named: String) -> BoxedStrategy<Package> {
    let source = version().prop_flat_map({
        let named = named.clone();
        move |version| (source(&named, &version), Just(version))
    });
    let source =
        source.prop_flat_map(|(source, version)| (origin_of(&source), Just(source), Just(version)));
    (source, requires_python(), vec(text(), 0..3))
        .prop_map(
            move |((origin, source, version), requires_python, required_hashes)| Package {
                name: name(&named),
                version,
                origin,
                source,
                requires_python,
                dependencies: Vec::new(),
                required_hashes,
            },
        )
        .boxed()
}

fn requires_python() -> impl Strategy<Value = Option<String>> {
    let known = select(vec![">=3.11", ">=2.7, !=3.0.*", ">=3.6.*", ""]);
    option::of(prop_oneof![known.prop_map(str::to_owned), text()])
}

fn any_lock() -> impl Strategy<Value = Lock> {
    let names = btree_set("[a-z]{1,6}(-[a-z0-9]{1,3})?", 0..5);
    let packages =
        names.prop_flat_map(|names| names.into_iter().map(any_package).collect::<Vec<_>>());
    let edges = vec((any::<Index>(), any::<Index>()), 0..8);
    let builds = vec(any_build(), 0..3);
    (text(), text(), requires_python(), packages, edges, builds).prop_map(
        |(request, environment, requires_python, packages, edges, builds)| Lock {
            files: BTreeMap::new(),
            request,
            environment,
            requires_python,
            packages: connected(packages, &edges),
            builds,
        },
    )
}

fn any_build() -> impl Strategy<Value = Build> {
    let pin = (text(), vec(text(), 0..3)).prop_map(|(requirement, hashes)| Pin {
        requirement,
        hashes,
    });
    let locked = (text(), text(), text(), option::of(text()));
    let locked = locked.prop_map(|(name, version, source, digested)| LockedCrate {
        name,
        version,
        source,
        sha256: digested.map(|text| Sha256::of(text.as_bytes())),
    });
    let (texts, pins, crates) = (vec(text(), 0..3), vec(pin, 0..3), vec(locked, 0..3));
    ("[a-z]{1,6}", texts, pins, crates).prop_map(|(name, requires, closure, crates)| Build {
        name: name.parse().unwrap(),
        version: "1.0".parse().unwrap(),
        requires,
        closure,
        crates,
    })
}

fn connected(mut packages: Vec<Package>, edges: &[(Index, Index)]) -> Vec<Package> {
    let names: Vec<PackageName> = packages
        .iter()
        .map(|package| package.name.clone())
        .collect();
    for (from, to) in edges.iter().filter(|_| !names.is_empty()) {
        let dependencies = &mut packages[from.index(names.len())].dependencies;
        dependencies.push(names[to.index(names.len())].clone());
        dependencies.sort();
        dependencies.dedup();
    }
    packages
}

const KEYS: [&str; 9] = [
    "name", "version", "marker", "index", "sdist", "wheels", "vcs", "tool", "archive",
];
const VALUES: [&str; 7] = [
    "'a'",
    "1",
    "[]",
    "{}",
    "['']",
    "[{}]",
    "{ path = 'a-1.zip', hashes = {} }",
];

proptest! {
    #[test]
    fn lock_round_trips(lock in any_lock()) {
        let text = write(&lock, base());
        let again = read_first(&text);
        prop_assert_eq!(again.map_err(|error| error.display_chain()), Ok(lock), "{}", text);
    }

    #[test]
    fn lock_with_files_round_trips(lock in any_lock()) {
        let files = lock.packages.iter().map(|package| {
            let name = package.name.to_string().replace('-', "_");
            let filename = format!("{name}-{}-py3-none-any.whl", package.version);
            let location = ArtifactLocation::Path(base().join(&filename));
            (package.name.clone(), artifact(&filename, location))
        });
        let text = write_with_files(&lock, &files.collect(), base());
        let again = read_first(&text);
        prop_assert_eq!(again.map_err(|error| error.display_chain()), Ok(lock), "{}", text);
    }

    #[test]
    fn order_of_packages_does_not_matter(mut lock in any_lock(), by in any::<Index>()) {
        let text = write(&lock, base());
        if !lock.packages.is_empty() {
            let middle = by.index(lock.packages.len());
            lock.packages.rotate_left(middle);
        }
        prop_assert_eq!(write(&lock, base()), text);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "(\\[\\[packages\\]\\]|name|version|[ -~\\n]){0,40}") {
        let _ = read_first(&text);
    }

    #[test]
    fn arbitrary_values_never_panic(
        values in btree_map(select(KEYS.to_vec()), select(VALUES.to_vec()), 0..6),
    ) {
        let keys: Vec<String> = values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let text = format!("lock-version = '1.0'\n[[packages]]\n{}", keys.join("\n"));
        let _ = read_first(&text);
    }
}
