//! Bytecode of build requirements: compiled in the cache when a wheel is unpacked, before any hook can import from it.
//!
//! Every build environment is new, and importing setuptools without bytecode takes most of the time of a small build.
//! Bytecode that a build compiled could hold anything, so it is never taken. A Python without `site` compiles the
//! files instead, and runs no code of a package. A mark beside the unpacked wheels says that one is done; a crash
//! before the mark lets the next run compile all of it again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::OnceCell;
use uv_cache::{Cache, CacheBucket};
use uv_distribution_types::CachedDist;
use uv_python::Interpreter;

const SCRIPT: &str = include_str!("bytecode.py");

/// Among the unpacked wheels: a mark for each of them and each Python.
const MARKS: &str = "bytecode";

/// The time that compiling one wheel may take. What is not compiled by then is compiled by each build.
const LIMIT: Duration = Duration::from_mins(2);

/// Compiles each unpacked wheel once.
#[derive(Default)]
pub(crate) struct Bytecode {
    wheels: Mutex<HashMap<PathBuf, Arc<OnceCell<()>>>>,
}

impl Bytecode {
    /// Compiles the modules of `unpacked` for `interpreter`. Only speed is lost if that fails.
    pub(crate) async fn compile(
        &self,
        unpacked: &[CachedDist],
        interpreter: &Interpreter,
        cache: &Cache,
    ) {
        let each = unpacked.iter().map(async |dist| {
            let path = dist.path();
            let cell = {
                let mut wheels = self.wheels.lock().expect("no panic while locked");
                Arc::clone(wheels.entry(path.to_owned()).or_default())
            };
            let compiled = cell.get_or_try_init(|| compile_once(path, interpreter, cache));
            if let Err(error) = compiled.await {
                tracing::debug!("failed to compile {}: {error}", path.display());
            }
        });
        futures::future::join_all(each).await;
    }
}

/// Compiles the wheel unpacked at `root`, unless its mark is there.
async fn compile_once(
    root: &Path,
    interpreter: &Interpreter,
    cache: &Cache,
) -> std::io::Result<()> {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let python = (
        interpreter.implementation_name(),
        interpreter.python_full_version(),
    );
    let mark = format!("{name}-{}-{}", python.0, python.1);
    let marks = cache.bucket(CacheBucket::Archive).join(MARKS);
    let mark = marks.join(mark);
    if mark.exists() {
        return Ok(());
    }
    let modules = {
        let root = root.to_owned();
        tokio::task::spawn_blocking(move || modules(&root)).await??
    };
    if !modules.is_empty() {
        run(interpreter.sys_executable(), cache.root(), &modules).await?;
    }
    fs_err::create_dir_all(marks)?;
    fs_err::write(mark, "")
}

/// Has `python` compile `modules`; those that are not valid are passed over.
async fn run(python: &Path, directory: &Path, modules: &[u8]) -> std::io::Result<()> {
    let mut child = Command::new(python)
        .args(["-E", "-s", "-S", "-W", "ignore", "-c", SCRIPT])
        // It would have Python compare the digests of sources at each import.
        .env_remove("SOURCE_DATE_EPOCH")
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take();
    let finished = tokio::time::timeout(LIMIT, async {
        if let Some(stdin) = &mut stdin {
            stdin.write_all(modules).await?;
        }
        drop(stdin.take());
        child.wait().await
    });
    let status = finished.await.map_err(std::io::Error::from)??;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(status.to_string()))
    }
}

/// Lists the modules of the wheel unpacked at `root`, each path ended by a zero. What `.data` holds is moved when a
/// wheel is installed, and may be a script.
fn modules(root: &Path) -> std::io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut paths = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(directory)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let extension = path.extension().unwrap_or_default();
            if kind.is_dir() && extension != "data" && extension != "dist-info" {
                directories.push(path);
            } else if kind.is_file() && extension == "py" {
                paths.extend_from_slice(path.as_os_str().as_bytes());
                paths.push(0);
            }
        }
    }
    Ok(paths)
}
