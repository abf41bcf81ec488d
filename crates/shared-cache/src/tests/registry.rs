//! A registry with wrong entries: each is a miss and a warning, and the others are used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wheelhouse_types::Sha256;

use super::{Machine, key, machine};
use crate::location::MAX_RECORD;
use crate::record::encode_record;
use crate::testing::{options, record};
use crate::{EntryName, connect};

const WHEEL: &[u8] = b"wheel";

/// A registry that serves the repository `cache` from memory.
#[derive(Clone, Default)]
struct Registry {
    /// The bodies by path below the repository.
    bodies: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    deleted: Arc<Mutex<BTreeSet<String>>>,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::of(bytes))
}

impl Registry {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let registry = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let registry = registry.clone();
                tokio::spawn(async move { registry.serve(stream).await });
            }
        });
        format!("docker://{address}/cache")
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.trim_start_matches("/v2/cache/");
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let body = self.bodies.lock().unwrap().get(path).cloned();
        let (status, body) = match (method, body) {
            ("DELETE", _) => {
                self.deleted.lock().unwrap().insert(path.to_owned());
                (202, Vec::new())
            }
            (_, Some(body)) => (200, body),
            (_, None) => (404, Vec::new()),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await
    }

    fn put(&self, path: String, body: impl Into<Vec<u8>>) {
        self.bodies.lock().unwrap().insert(path, body.into());
    }

    /// Adds the record of the build `name`, its wheel and its manifest, which `change` changes.
    fn build(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let record = encode_record(&key(name), &record(WHEEL), None).unwrap();
        let mut manifest = json!({
            "schemaVersion": 2,
            "config": {
                "mediaType": "application/vnd.wheelhouse.record.v1+json",
                "digest": digest(&record),
                "size": record.len(),
                "data": STANDARD.encode(&record),
            },
            "layers": [{ "mediaType": "x", "digest": digest(WHEEL), "size": WHEEL.len() }],
        });
        change(&mut manifest);
        self.put(format!("blobs/{}", digest(&record)), record);
        self.put(format!("blobs/{}", digest(WHEEL)), WHEEL);
        self.manifest(name, manifest.to_string());
    }

    fn manifest(&self, name: &str, body: impl Into<Vec<u8>>) {
        self.put(format!("manifests/ac-{}", key(name)), body);
    }
}

async fn assert_good(reader: &Machine) {
    assert_eq!(reader.take("good").await.as_deref(), Some(WHEEL));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_entry_is_a_miss_and_a_warning() {
    let registry = Registry::default();
    registry.build("good", |_| {});
    let url = registry.start().await;
    let without_data = |manifest: &mut Value, blob: &[u8]| {
        manifest["config"]["data"].take();
        let config = digest(blob);
        registry.put(format!("blobs/{config}"), &blob[..blob.len() / 2]);
        manifest["config"]["digest"] = config.into();
    };
    let long = vec![b' '; usize::try_from(MAX_RECORD).unwrap() * 2 + 2];
    let name = "bad";
    let cases: [(&str, &dyn Fn()); 11] = [
        ("not valid: expected value", &|| {
            registry.manifest(name, "<html>");
        }),
        ("not valid: missing field `config`", &|| {
            registry.manifest(name, r#"{"schemaVersion": 2, "manifests": []}"#);
        }),
        ("not that of a record", &|| {
            registry.build(name, |manifest| {
                manifest["config"]["mediaType"] = "x".into();
            });
        }),
        ("has another digest", &|| {
            registry.build(name, |manifest| {
                manifest["config"]["data"] = STANDARD.encode("{}").into();
            });
        }),
        ("not valid: Invalid", &|| {
            registry.build(name, |manifest| manifest["config"]["data"] = "?".into());
        }),
        ("is larger than", &|| {
            registry.build(name, |manifest| {
                manifest["config"]["size"] = (MAX_RECORD + 1).into();
            });
        }),
        ("has another digest", &|| {
            registry.build(name, |manifest| without_data(manifest, b"truncated"));
        }),
        ("is larger than", &|| {
            registry.build(name, |manifest| without_data(manifest, &long));
        }),
        ("digest that is not valid", &|| {
            registry.build(name, |manifest| {
                manifest["config"]["data"].take();
                manifest["config"]["digest"] = "../manifests/latest".into();
            });
        }),
        ("is larger than", &|| {
            registry.manifest(name, vec![b' '; 5 << 20]);
        }),
        ("record of another build", &|| {
            let bodies = registry.bodies.lock().unwrap();
            let good = bodies[&format!("manifests/ac-{}", key("good"))].clone();
            drop(bodies);
            registry.manifest(name, good);
        }),
    ];
    for (cause, prepare) in cases {
        prepare();
        let reader = machine(&[&url], None, |options| {
            options.connect.access.timeout = Duration::from_secs(10);
        });
        assert_eq!(reader.take(name).await, None, "{cause}");
        let warnings = reader.warnings();
        assert_eq!(warnings.len(), 1, "{cause}: {warnings:?}");
        let start = format!("the entry ac/{} of the shared cache", key(name));
        assert!(warnings[0].starts_with(&start), "{warnings:?}");
        assert!(warnings[0].contains(cause), "{cause}: {warnings:?}");
        assert_good(&reader).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_without_blob_is_a_miss() {
    let registry = Registry::default();
    registry.build("good", |_| {});
    registry.build("config", |manifest| {
        manifest["config"]["data"].take();
        manifest["config"]["digest"] = digest(b"gone").into();
    });
    let gone = encode_record(&key("wheel"), &record(b"gone"), None).unwrap();
    registry.build("wheel", |manifest| {
        manifest["config"]["data"] = STANDARD.encode(&gone).into();
        manifest["config"]["digest"] = digest(&gone).into();
    });
    let reader = machine(&[&registry.start().await], None, |_| {});
    assert_eq!(reader.take("config").await, None);
    assert_eq!(reader.take("wheel").await, None);
    assert!(reader.warnings().is_empty(), "{:?}", reader.warnings());
    assert_good(&reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_with_many_wrong_entries_is_left_alone() {
    let registry = Registry::default();
    registry.build("good", |_| {});
    for name in ["a", "b", "c"] {
        registry.manifest(name, "{}");
    }
    let reader = machine(&[&registry.start().await], None, |_| {});
    for name in ["a", "b", "c", "good"] {
        assert_eq!(reader.take(name).await, None);
    }
    let warnings = reader.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[2].contains("it has wrong entries"), "{warnings:?}");
}

#[tokio::test]
async fn wrong_entry_is_listed_and_can_be_removed() {
    let registry = Registry::default();
    registry.build("good", |_| {});
    registry.manifest("bad", "{}");
    let tags = ["good", "bad"].map(|name| format!("ac-{}", key(name)));
    registry.put("tags/list".to_owned(), json!({ "tags": tags }).to_string());
    let url = registry.start().await.parse().unwrap();
    let location = connect(&url, &options(), false).await.unwrap();
    let entries: Vec<_> = location.entries().try_collect().await.unwrap();
    let sizes: BTreeMap<_, _> = (entries.iter())
        .map(|entry| (entry.name, entry.size > 0))
        .collect();
    let name = |name| EntryName::Record(key(name));
    let expected = BTreeMap::from([(name("good"), true), (name("bad"), false)]);
    assert_eq!(sizes, expected);
    location.remove(&name("bad")).await.unwrap();
    let deleted = registry.deleted.lock().unwrap().clone();
    let expected = format!("manifests/{}", digest(b"{}"));
    assert_eq!(deleted, BTreeSet::from([expected]));
}
