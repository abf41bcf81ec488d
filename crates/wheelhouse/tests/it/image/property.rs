//! Properties of images: every wheelhouse survives a round trip, and the digest depends only on its content.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use wheelhouse_oci::extract;
use wheelhouse_oci::image::builder::ImageOptions;
use wheelhouse_oci::image::layer_writer::LayerWriter;
use wheelhouse_oci::progress::NoProgress;
use wheelhouse_oci::publish::{PublishRequest, publish};
use wheelhouse_oci::registry::{Access, Credentials};
use wheelhouse_oci::transport::{self, ImageLocation};
use wheelhouse_publish::manifest_bytes;

use crate::support::{random_bytes, sha256};

type Files = BTreeMap<String, Vec<u8>>;

/// Generates sizes around the threshold for a separate layer.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![6 => 0usize..3000, 1 => 900_000usize..1_300_000];
    (size, any::<u64>()).prop_map(|(size, seed)| random_bytes(size, seed))
}

fn wheels() -> impl Strategy<Value = Files> {
    let name = "[a-z]{1,12}".prop_map(|name| format!("{name}-1.0-py3-none-any.whl"));
    proptest::collection::btree_map(name, content(), 1..40)
}

fn others() -> impl Strategy<Value = Files> {
    let name = "(simple/)?[a-z]{1,9}/[a-z_]{1,90}[.]html";
    proptest::collection::btree_map(name, content(), 0..8)
}

/// Writes a wheelhouse with its files in either order and with either permissions.
fn write(directory: &Path, wheels: &Files, others: &Files, reversed: bool) {
    let target = json!({"implementation": "cpython", "python-version": "3.12.0", "platform": "linux_x86_64", "markers": {}});
    let entries = wheels.iter().map(|(name, bytes)| {
        let package = name.split('-').next();
        json!({
            "filename": name, "name": package, "version": "1.0", "size": bytes.len(),
            "sha256": sha256(bytes), "origin": {"kind": "direct"}, "source": name,
        })
    });
    let manifest = json!({
        "schema": "wheelhouse-manifest/1", "generator": "test", "targets": [target],
        "requirements": [], "request": "", "wheels": entries.collect::<Vec<_>>(),
        "files": others.keys().collect::<Vec<_>>(),
    });
    // Written like by this program, because extraction restores that form.
    let manifest = manifest_bytes(&serde_json::from_value(manifest).unwrap());
    let manifest = ("wheelhouse.json".to_owned(), manifest);
    let mut files: Vec<(String, Vec<u8>)> = wheels.clone().into_iter().collect();
    files.extend(others.clone());
    files.push(manifest);
    if reversed {
        files.reverse();
    }
    for (name, bytes) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let mode = if reversed { 0o600 } else { 0o664 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn access() -> Access {
    Access {
        credentials: Credentials {
            auth_file: None,
            default_files: Vec::new(),
        },
        certificates: None,
        insecure: false,
        timeout: Duration::from_secs(1),
        retries: 0,
        notices: wheelhouse_types::retry::RetryNotices::default(),
        proxy: None,
        offline: true,
    }
}

/// Builds an image of the wheelhouse and returns its digest.
async fn image(wheelhouse: PathBuf, destination: &ImageLocation, threads: usize) -> String {
    let job = PublishRequest {
        wheelhouses: vec![wheelhouse],
        destinations: vec![destination.clone()],
        options: ImageOptions {
            path: "opt/app-root/wheelhouse".to_owned(),
            single_layer: false,
            created: None,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
        },
        all_in_one: false,
        base: None,
        access: access(),
        socket: "/nowhere".into(),
        layer_writer: LayerWriter {
            threads,
            store: None,
        },
    };
    let published = publish(job, Arc::new(NoProgress)).await.unwrap();
    published.images.root().blob.digest()
}

async fn extract(location: &ImageLocation, directory: PathBuf) {
    let opened = transport::open(location, &access(), Path::new("/nowhere")).await;
    let opened = opened.unwrap();
    wheelhouse_fs::interruption::blocking(move || {
        let image = transport::find_image(opened, Some("amd64"))?;
        extract::extract(&image, None, &directory)
    })
    .await
    .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn wheelhouse_survives_round_trip_with_content_digest(
        wheels in wheels(), others in others(),
    ) {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        write(&path("one"), &wheels, &others, false);
        write(&path("two"), &wheels, &others, true);
        let layout: ImageLocation = format!("oci:{}:1", path("layout").display()).parse().unwrap();
        let archive = format!("oci-archive:{}:1", path("layout.tar").display());
        let archive: ImageLocation = archive.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let one = image(path("one"), &layout, 1).await;
            let two = image(path("two"), &archive, 3).await;
            assert_eq!(one, two);
            extract(&layout, path("from-layout")).await;
            extract(&archive, path("from-archive")).await;
        });
        super::assert_same(&path("from-layout"), &path("one"));
        super::assert_same(&path("from-archive"), &path("one"));
    }
}
