//! Shared caches with two stores for two machines, and with servers that misbehave.

mod registry;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wheelhouse_attest::SigningKey;
use wheelhouse_store::{BuildKey, ExpectedFile, Store};
use wheelhouse_types::{CacheLocation, Event, Hashes, Observer, Sha256};

use crate::location::MAX_RECORD;
use crate::record::encode_record;
use crate::shared::{SharedCaches, SharedOptions};
use crate::testing::{OTHER_KEY, SIGNING_KEY, options, record};

const TIMEOUT: Duration = Duration::from_millis(600);

/// The time for which a server that misbehaves goes on.
const SILENCE: Duration = Duration::from_mins(1);

/// Collects warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn observe(&self, event: &Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

/// A machine with a store of its own.
struct Machine {
    _root: TempDir,
    store: Store,
    shared: Arc<SharedCaches>,
    warnings: Arc<Warnings>,
}

fn key(text: &str) -> BuildKey {
    BuildKey::new([("test", text)])
}

fn signing_key(pem: &str) -> SigningKey {
    SigningKey::parse(pem.as_bytes(), None).unwrap()
}

fn machine(from: &[&str], to: Option<&str>, change: impl FnOnce(&mut SharedOptions)) -> Machine {
    let root = tempfile::tempdir().unwrap();
    let mut connect = options();
    connect.access.timeout = TIMEOUT;
    let parse = |text: &&str| text.parse::<CacheLocation>().unwrap();
    let mut options = SharedOptions {
        from: from.iter().map(parse).collect(),
        to: to.as_ref().map(parse),
        fetched: true,
        key_closure: false,
        verifying_key: None,
        signing_key: None,
        connect,
    };
    change(&mut options);
    let warnings = Arc::new(Warnings::default());
    let observer: Arc<dyn Observer> = warnings.clone();
    Machine {
        store: Store::open(root.path().join("store")).unwrap(),
        shared: Arc::new(SharedCaches::new(options, &observer)),
        warnings,
        _root: root,
    }
}

impl Machine {
    fn warnings(&self) -> Vec<String> {
        self.warnings.0.lock().unwrap().clone()
    }

    /// Adds a wheel as a build does, and shares it under the key `name`.
    async fn build(&self, name: &str, wheel: &[u8]) {
        let mut writer = self.store.writer(ExpectedFile::any(name)).unwrap();
        writer.write(wheel).unwrap();
        let stored = writer.finish().unwrap();
        self.shared.save(key(name), &record(wheel), &stored);
        self.shared.finish().await;
    }

    /// Takes the wheel with the key `name` from the shared caches.
    async fn take(&self, name: &str) -> Option<Vec<u8>> {
        let build = self.shared.find(&key(name)).await?;
        let stored = self.shared.fetch(&build, &self.store).await?;
        Some(std::fs::read(stored.path).unwrap())
    }
}

fn directory() -> (TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    let url = format!("file://{}", root.path().display());
    (root, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn second_machine_takes_what_first_has_built() {
    let (_root, url) = directory();
    let first = machine(&[], Some(&url), |_| {});
    assert_eq!(first.take("a").await, None);
    first.build("a", b"wheel").await;
    let second = machine(&[&url], None, |_| {});
    assert_eq!(second.take("a").await.as_deref(), Some(&b"wheel"[..]));
    assert_eq!(second.take("b").await, None);
    assert!(first.warnings().is_empty() && second.warnings().is_empty());
    second.build("b", b"other").await;
    let third = machine(&[&url], None, |_| {});
    assert_eq!(third.take("b").await, None, "--cache-from is not written");
}

#[tokio::test(flavor = "multi_thread")]
async fn downloaded_files_are_shared_by_digest() {
    let (_root, url) = directory();
    let first = machine(&[], Some(&url), |_| {});
    let mut writer = first.store.writer(ExpectedFile::any("x")).unwrap();
    writer.write(b"published").unwrap();
    let stored = writer.finish().unwrap();
    first.shared.save_file(&stored);
    first.shared.finish().await;
    let second = machine(&[&url], None, |_| {});
    let hashes = Hashes::sha256_only(stored.sha256);
    let file = async |hashes: &Hashes, size| {
        let expected = ExpectedFile::any("x").published(hashes);
        let file = second.shared.file(expected, hashes, size, &second.store);
        file.await.map(|stored| stored.size)
    };
    assert_eq!(file(&Hashes::default(), None).await, None);
    assert_eq!(file(&hashes, Some(9)).await, Some(9));
    assert!(second.warnings().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_signed_records_are_accepted_with_key() {
    let (_root, url) = directory();
    let with_key = |pem: &'static str| {
        machine(&[], Some(&url), |options| {
            options.signing_key = Some(signing_key(pem));
        })
    };
    with_key(SIGNING_KEY).build("signed", b"wheel").await;
    with_key(OTHER_KEY).build("stranger", b"wheel").await;
    machine(&[], Some(&url), |_| {})
        .build("unsigned", b"wheel")
        .await;
    let reader = machine(&[&url], None, |options| {
        let key = signing_key(SIGNING_KEY).verifying_key().clone();
        options.verifying_key = Some(key);
    });
    assert!(reader.take("signed").await.is_some());
    assert_eq!(reader.take("stranger").await, None);
    assert_eq!(reader.take("unsigned").await, None);
    let warnings = reader.warnings();
    assert!(
        warnings[0].contains("none of its signatures"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("it is not signed"), "{warnings:?}");
    assert_eq!(warnings.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_entries_are_misses_and_replaced() {
    let (root, url) = directory();
    machine(&[], Some(&url), |_| {}).build("a", b"wheel").await;
    let file = root.path().join(format!("cas/{}", Sha256::of(b"wheel")));
    for wrong in [&b"whale"[..], b"whe", b"wheel and more", b""] {
        std::fs::write(&file, wrong).unwrap();
        let reader = machine(&[], Some(&url), |_| {});
        assert_eq!(reader.take("a").await, None);
        let warnings = reader.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("is not used"), "{warnings:?}");
        reader.build("a", b"wheel").await;
        assert_eq!(std::fs::read(&file).unwrap(), b"wheel");
    }
    // The record of another build.
    let record = std::fs::read(root.path().join(format!("ac/{}", key("a")))).unwrap();
    std::fs::write(root.path().join(format!("ac/{}", key("b"))), record).unwrap();
    let reader = machine(&[&url], None, |_| {});
    assert_eq!(reader.take("b").await, None);
    assert!(reader.warnings()[0].contains("record of another build"));
    assert!(reader.take("a").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn record_that_is_too_large_is_a_miss_and_a_warning() {
    let (root, url) = directory();
    let builder = machine(&[], Some(&url), |_| {});
    builder.build("good", b"wheel").await;
    let record = root.path().join(format!("ac/{}", key("large")));
    let size = usize::try_from(MAX_RECORD).unwrap() + 1;
    std::fs::write(record, vec![b' '; size]).unwrap();
    let reader = machine(&[&url], None, |_| {});
    assert_eq!(reader.take("large").await, None);
    let warnings = reader.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let cause = "is not used: it is larger than";
    assert!(warnings[0].contains(cause), "{warnings:?}");
    assert!(reader.take("good").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn record_that_cannot_be_read_again_is_not_written() {
    let (root, url) = directory();
    let writer = machine(&[], Some(&url), |_| {});
    let mut large = record(b"wheel");
    large.filename = "x".repeat(usize::try_from(MAX_RECORD).unwrap());
    let mut file = writer.store.writer(ExpectedFile::any("x")).unwrap();
    file.write(b"wheel").unwrap();
    writer
        .shared
        .save(key("large"), &large, &file.finish().unwrap());
    writer.build("small", b"wheel").await;
    assert_eq!(writer.warnings().len(), 1);
    assert!(!root.path().join(format!("ac/{}", key("large"))).exists());
    assert!(root.path().join(format!("ac/{}", key("small"))).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn location_with_many_wrong_entries_is_left_alone() {
    let (root, url) = directory();
    std::fs::create_dir(root.path().join("ac")).unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        std::fs::write(root.path().join(format!("ac/{}", key(name))), "x").unwrap();
    }
    let reader = machine(&[&url], None, |_| {});
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(reader.take(name).await, None);
    }
    let warnings = reader.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[2].contains("it has wrong entries"), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_directory_costs_one_warning() {
    let reader = machine(&["file:///nowhere/at/all"], None, |_| {});
    assert_eq!(reader.take("a").await, None);
    assert_eq!(reader.take("b").await, None);
    assert_eq!(reader.warnings().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn locations_on_other_machines_are_left_out_offline() {
    let reader = machine(&["http://127.0.0.1:1/cache"], None, |options| {
        options.connect.access.offline = true;
    });
    assert!(reader.shared.is_empty());
    assert_eq!(reader.take("a").await, None);
    assert!(reader.warnings().is_empty());
}

/// The behavior of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It never answers.
    Silent,
    /// It sends one byte of the file from time to time.
    Trickling,
    /// It sends the file without end.
    Endless,
    /// It announces more than it sends.
    Truncated,
    /// It answers with this status.
    Status(u16),
    /// It reads what is sent, but never answers.
    SilentAfterPut,
    /// It accepts at most 1,000 bytes.
    SmallFiles,
}

/// A server that has the record of the key `a`, and the file of a 100,000 byte wheel.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, fault));
            }
        });
        Self {
            url: format!("http://user:secret@{address}/cache"),
            connections,
        }
    }

    /// Returns the number of connections, once all that were made are accepted.
    async fn settled_connections(&self) -> usize {
        loop {
            let before = self.connections();
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.connections() == before {
                return before;
            }
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn wheel() -> Vec<u8> {
    vec![b'w'; 100_000]
}

async fn serve(mut stream: TcpStream, fault: Fault) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut read = 0;
    while !buffer[..read].windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer[read..]).await? {
            0 => return Ok(()),
            more => read += more,
        }
    }
    let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
    let is_record = head.contains("/ac/");
    let respond = |status: u16, length: usize| {
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    match fault {
        Fault::Silent => tokio::time::sleep(SILENCE).await,
        Fault::SilentAfterPut if !head.starts_with("GET") => {
            tokio::time::sleep(SILENCE).await;
        }
        Fault::SmallFiles if !head.starts_with("GET") => {
            let header = head.to_ascii_lowercase();
            let length = header.split("content-length: ").nth(1).unwrap_or("0");
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            let end = buffer
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap()
                + 4;
            let mut body = read - end;
            while body < length {
                body += stream.read(&mut buffer).await?;
            }
            let status = if length > 1000 { 413 } else { 201 };
            stream.write_all(respond(status, 0).as_bytes()).await?;
        }
        Fault::Status(status) => stream.write_all(respond(status, 0).as_bytes()).await?,
        _ if is_record => {
            let record = encode_record(&key("a"), &record(&wheel()), None).unwrap();
            let status = if head.contains(&key("a").to_string()) {
                200
            } else {
                404
            };
            let record = if status == 200 { record } else { Vec::new() };
            stream
                .write_all(respond(status, record.len()).as_bytes())
                .await?;
            stream.write_all(&record).await?;
        }
        Fault::Trickling => {
            stream.write_all(respond(200, 100_000).as_bytes()).await?;
            for _ in 0..600 {
                stream.write_all(b"w").await?;
                tokio::time::sleep(SILENCE / 600).await;
            }
        }
        Fault::Endless => {
            let head = "HTTP/1.1 200 X\r\nContent-Length: 100000000000\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&buffer).await?;
            }
        }
        Fault::Truncated => {
            stream.write_all(respond(200, 100_000).as_bytes()).await?;
            stream.write_all(&wheel()[..50_000]).await?;
        }
        Fault::SilentAfterPut | Fault::SmallFiles => {
            stream.write_all(respond(404, 0).as_bytes()).await?;
        }
    }
    stream.shutdown().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_server_costs_its_timeout_and_one_warning() {
    for fault in [
        Fault::Silent,
        Fault::Trickling,
        Fault::Endless,
        Fault::Truncated,
        Fault::Status(403),
        Fault::Status(500),
        Fault::Status(507),
    ] {
        let server = Server::start(fault).await;
        let reader = machine(&[&server.url], None, |_| {});
        let started = Instant::now();
        let names = ["a", "a", "b", "c", "d"];
        let taken = names.map(|name| reader.take(name));
        let taken = futures::future::join_all(taken).await;
        assert!(taken.iter().all(Option::is_none), "{fault:?}");
        let passed = started.elapsed();
        assert!(passed < SILENCE, "{fault:?} took {passed:?}");
        let warnings = reader.warnings();
        // Both tasks find the file of `a` too large before either is known to be wrong.
        let expected = if fault == Fault::Endless {
            1..=2
        } else {
            1..=1
        };
        assert!(
            expected.contains(&warnings.len()),
            "{fault:?}: {warnings:?}"
        );
        assert!(!warnings[0].contains("secret"), "{warnings:?}");
        assert!(warnings[0].contains("****@127.0.0.1"), "{warnings:?}");
        let connections = server.settled_connections().await;
        assert_eq!(reader.take("e").await, None);
        // A single wrong file does not give a location up.
        let asks = usize::from(fault == Fault::Endless);
        assert_eq!(server.connections(), connections + asks, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_server_costs_one_warning() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cache", listener.local_addr().unwrap());
    drop(listener);
    let reader = machine(&[&url], None, |_| {});
    assert_eq!(reader.take("a").await, None);
    assert_eq!(reader.take("b").await, None);
    assert_eq!(reader.warnings().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn location_that_cannot_be_written_costs_one_warning() {
    for fault in [
        Fault::Status(403),
        Fault::Status(500),
        Fault::Status(507),
        Fault::SilentAfterPut,
    ] {
        let server = Server::start(fault).await;
        let writer = machine(&[], Some(&server.url), |_| {});
        let started = Instant::now();
        writer.build("x", b"x").await;
        let passed = started.elapsed();
        assert!(passed < SILENCE, "{fault:?} took {passed:?}");
        let connections = server.settled_connections().await;
        writer.build("y", b"y").await;
        assert_eq!(server.settled_connections().await, connections, "{fault:?}");
        let warnings = writer.warnings();
        assert_eq!(warnings.len(), 1, "{fault:?}: {warnings:?}");
        assert!(
            warnings[0].starts_with("nothing more is written"),
            "{warnings:?}"
        );
        assert!(!warnings[0].contains("secret"), "{warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_is_too_large_for_a_server_costs_no_other_file() {
    let server = Server::start(Fault::SmallFiles).await;
    let writer = machine(&[], Some(&server.url), |_| {});
    writer.build("large", &wheel()).await;
    writer.build("larger", &[wheel(), wheel()].concat()).await;
    let warnings = writer.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("large files are not written"),
        "{warnings:?}"
    );
    let connections = server.connections();
    writer.build("small", b"small").await;
    assert!(server.connections() > connections, "it was given up");
    assert_eq!(writer.warnings().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_location_is_asked_when_first_fails() {
    let (_root, url) = directory();
    machine(&[], Some(&url), |_| {}).build("a", b"wheel").await;
    let broken = Server::start(Fault::Status(500)).await;
    let reader = machine(&[&broken.url, &url], None, |_| {});
    assert!(reader.take("a").await.is_some());
    assert_eq!(reader.warnings().len(), 1);
}
