//! An API server of a few lines: it keeps objects, serves lists and watches, and plays the part of the Job controller and the
//! kubelet by a script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The life of the pod of a Job.
#[derive(Clone, Debug)]
pub(super) enum Life {
    Done,
    /// The worker ends with this exit code, after this log.
    Exit(i32, String),
    OutOfMemory,
    Killed,
    /// The image is never there.
    NoImage,
    /// The pod runs until the test ends it.
    Endless,
    /// The pod is not created for this reason, and then done.
    Refused(String),
}

#[derive(Default)]
struct State {
    version: u64,
    /// By kind and name.
    objects: BTreeMap<(String, String), Value>,
    /// The changes: version, kind, type, object.
    changes: Vec<(u64, String, &'static str, Value)>,
    logs: BTreeMap<String, String>,
    script: VecDeque<Life>,
    /// The number of Jobs that a quota rejects.
    rejected: usize,
    is_down: bool,
}

pub(super) struct FakeServer {
    state: Mutex<State>,
    pub(super) url: String,
}

impl FakeServer {
    pub(super) async fn start(script: impl IntoIterator<Item = Life>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            state: Mutex::default(),
            url: format!("http://{}", listener.local_addr().unwrap()),
        });
        server.lock().script.extend(script);
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                tokio::spawn(async move {
                    let _ = serving.serve(stream).await;
                });
            }
        });
        server
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn reject_jobs(&self, count: usize) {
        self.lock().rejected = count;
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    pub(super) fn names(&self, kind: &str) -> Vec<String> {
        let state = self.lock();
        let names = state.objects.keys().filter(|(one, _)| one == kind);
        names.map(|(_, name)| name.clone()).collect()
    }

    /// Returns the names of all objects that were created.
    pub(super) fn created(&self, kind: &str) -> Vec<String> {
        let state = self.lock();
        let added = state
            .changes
            .iter()
            .filter(|(_, one, change, _)| one == kind && *change == "ADDED");
        let names =
            added.map(|(.., object)| object["metadata"]["name"].as_str().unwrap().to_owned());
        names.collect()
    }

    pub(super) fn object(&self, kind: &str, name: &str) -> Value {
        self.lock().objects[&(kind.to_owned(), name.to_owned())].clone()
    }

    /// Ends an endless Job well.
    pub(super) fn finish(&self, job: &str) {
        self.set_job(job, "Complete", "");
    }

    /// Moves the end of a Job to a time before all runs.
    pub(super) fn finish_earlier(&self, job: &str) {
        let mut job = self.object("jobs", job);
        job["status"]["completionTime"] = "2025-12-31T00:00:00Z".into();
        self.put("jobs", "MODIFIED", job);
    }

    fn put(&self, kind: &str, change: &'static str, mut object: Value) -> Value {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let key = (kind.to_owned(), name);
        if change == "DELETED" {
            state.objects.remove(&key);
        } else {
            state.objects.insert(key, object.clone());
        }
        state
            .changes
            .push((version, kind.to_owned(), change, object.clone()));
        object
    }

    fn create(&self, kind: &str, mut object: Value) -> Value {
        let uid = self.lock().version + 1;
        object["metadata"]["uid"] = format!("uid-{uid}").into();
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        if object["metadata"]["name"].is_null() {
            let prefix = object["metadata"]["generateName"].as_str().unwrap();
            object["metadata"]["name"] = format!("{prefix}{uid}").into();
        }
        self.put(kind, "ADDED", object)
    }

    fn set_job(&self, name: &str, condition: &str, reason: &str) {
        let mut job = self.object("jobs", name);
        job["status"] = json!({ "conditions": [
            { "type": condition, "status": "True", "reason": reason },
        ] });
        if condition == "Complete" {
            job["status"]["completionTime"] = "2026-01-01T00:00:05Z".into();
        }
        self.put("jobs", "MODIFIED", job);
    }

    async fn live(self: Arc<Self>, job: Value, life: Life) {
        let name = job["metadata"]["name"].as_str().unwrap().to_owned();
        let pod = format!("{name}-pod");
        if let Life::Refused(reason) = &life {
            self.create(
                "events",
                json!({
                    "apiVersion": "v1", "kind": "Event", "reason": "FailedCreate", "message": reason,
                    "metadata": { "name": format!("{name}.event") },
                    "involvedObject": { "kind": "Job", "name": name },
                }),
            );
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": pod, "labels": {
                "app.kubernetes.io/name": "wheelhouse-step", "job-name": name,
            } },
            "spec": { "nodeName": "node-1", "containers": [] },
            "status": { "phase": "Running" },
        });
        let container = |state: Value| {
            json!([{
                "name": "worker", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                "state": state,
            }])
        };
        if let Life::NoImage = life {
            let state =
                json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
            object["status"] = json!({ "phase": "Pending", "containerStatuses": container(state) });
        }
        let mut object = self.create("pods", object);
        tokio::time::sleep(Duration::from_millis(30)).await;
        let (code, reason) = match life {
            Life::Done | Life::Refused(_) => return self.set_job(&name, "Complete", ""),
            Life::Endless | Life::NoImage => return,
            Life::Exit(code, log) => {
                self.lock().logs.insert(pod, log);
                (code, "Error")
            }
            Life::OutOfMemory => (137, "OOMKilled"),
            Life::Killed => (137, "Error"),
        };
        // The Job controller may be ahead of what a watch of pods has seen.
        self.set_job(&name, "Failed", "BackoffLimitExceeded");
        let state = json!({ "terminated": { "exitCode": code, "reason": reason } });
        object["status"] = json!({ "phase": "Failed", "containerStatuses": container(state) });
        self.put("pods", "MODIFIED", object);
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        let head = loop {
            let mut more = [0; 4096];
            let count = stream.read(&mut more).await?;
            if count == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&more[..count]);
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                break end;
            }
        };
        if self.lock().is_down {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = bytes.split_off(head + 4);
        while body.len() < length.unwrap_or(0) {
            let mut more = [0; 4096];
            let count = stream.read(&mut more).await?;
            body.extend_from_slice(&more[..count]);
        }
        let mut words = text.split_ascii_whitespace();
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path
            .split('/')
            .skip_while(|part| *part != "builds")
            .skip(1)
            .collect();
        if query.contains("watch=true") {
            return self.watch(stream, parts[0], query).await;
        }
        let (code, answer) = self.answer(method, &parts, query, &body);
        let kind = if answer.starts_with('{') {
            "application/json"
        } else {
            "text/plain"
        };
        let response = format!(
            "HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(response.as_bytes()).await
    }

    async fn watch(&self, mut stream: TcpStream, kind: &str, query: &str) -> std::io::Result<()> {
        let version = query
            .split('&')
            .find_map(|part| part.strip_prefix("resourceVersion="));
        let mut seen: u64 = version
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        loop {
            let lines = {
                let state = self.lock();
                if state.is_down {
                    return Ok(());
                }
                let changes = state.changes.iter();
                let new = changes.filter(|(version, one, ..)| *version > seen && one == kind);
                let lines: Vec<String> = new
                    .map(|(_, _, change, object)| {
                        json!({ "type": change, "object": object }).to_string()
                    })
                    .collect();
                seen = seen.max(state.version);
                lines
            };
            for line in lines {
                let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
                stream.write_all(chunk.as_bytes()).await?;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn answer(
        self: &Arc<Self>,
        method: &str,
        parts: &[&str],
        query: &str,
        body: &[u8],
    ) -> (u16, String) {
        let failure = |code: u16, reason: &str, message: &str| {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "reason": reason, "message": message, "code": code,
            });
            (code, status.to_string())
        };
        // The Jobs of runs have no pods.
        let is_run = match (method, parts) {
            ("POST", _) => String::from_utf8_lossy(body).contains("\"generateName\""),
            _ => parts.len() > 1 && parts[1].starts_with("wheelhouse-run-"),
        };
        let kind = if is_run { "runs" } else { parts[0] };
        let find = |name: &str| {
            let state = self.lock();
            let key = (kind.to_owned(), name.to_owned());
            state.objects.get(&key).cloned()
        };
        match (method, parts) {
            ("GET", [_]) => {
                let state = self.lock();
                let job = query
                    .split("job-name%3D")
                    .nth(1)
                    .map(|rest| rest.split('&').next().unwrap());
                let objects = state.objects.iter().filter(|((one, _), object)| {
                    one == kind
                        && job.is_none_or(|job| object["metadata"]["labels"]["job-name"] == job)
                });
                let items: Vec<&Value> = objects.map(|(_, object)| object).collect();
                let list = json!({
                    "kind": "List", "apiVersion": "v1", "items": items,
                    "metadata": { "resourceVersion": state.version.to_string() },
                });
                (200, list.to_string())
            }
            ("GET", [_, name, "log"]) => (
                200,
                self.lock().logs.get(*name).cloned().unwrap_or_default(),
            ),
            ("POST", [_]) => {
                let object: Value = serde_json::from_slice(body).unwrap();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                if find(name).is_some() {
                    return failure(409, "AlreadyExists", "it exists");
                }
                if parts[0] == "jobs" && self.lock().rejected > 0 {
                    self.lock().rejected -= 1;
                    return failure(
                        403,
                        "Forbidden",
                        "jobs is forbidden: exceeded quota: builds",
                    );
                }
                let created = self.create(kind, object);
                if kind == "jobs" {
                    let life = self.lock().script.pop_front().unwrap_or(Life::Done);
                    tokio::spawn(Arc::clone(self).live(created.clone(), life));
                }
                (201, created.to_string())
            }
            (_, [_, name]) => {
                let Some(mut object) = find(name) else {
                    return failure(404, "NotFound", "not found");
                };
                match method {
                    "PATCH" => {
                        let patch: Value = serde_json::from_slice(body).unwrap();
                        let expected = &patch["metadata"]["resourceVersion"];
                        if !expected.is_null() && *expected != object["metadata"]["resourceVersion"]
                        {
                            return failure(409, "Conflict", "it has changed");
                        }
                        if !patch["metadata"]["ownerReferences"].is_null() {
                            object["metadata"]["ownerReferences"] =
                                patch["metadata"]["ownerReferences"].clone();
                        }
                        if let Some(ttl) = patch.pointer("/spec/ttlSecondsAfterFinished") {
                            object["spec"]["ttlSecondsAfterFinished"] = ttl.clone();
                        }
                        (200, self.put(kind, "MODIFIED", object).to_string())
                    }
                    "DELETE" => (200, self.put(kind, "DELETED", object).to_string()),
                    _ => (200, object.to_string()),
                }
            }
            _ => failure(404, "NotFound", "not found"),
        }
    }
}
