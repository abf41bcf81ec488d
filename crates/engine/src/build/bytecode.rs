//! Compiles the bytecode of build requirements in the cache, before any hook can import from it.
//!
//! Every build environment is new, and importing setuptools without bytecode takes most of the time of a small build.
//! Bytecode of a build is not trusted, so a Python without `site`, which runs no code of packages, compiles the files. A
//! marker beside the unpacked wheels records that one is complete; after a crash, the next run compiles it again.

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

/// The directory of markers in the bucket of unpacked wheels: one for each wheel and Python.
const MARKERS: &str = "bytecode";

/// The timeout for one wheel. After it, each build compiles the rest itself.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Compiles each unpacked wheel once.
#[derive(Default)]
pub(crate) struct Bytecode {
    wheels: Mutex<HashMap<PathBuf, Arc<OnceCell<()>>>>,
}

impl Bytecode {
    /// Compiles the modules of `unpacked` for `interpreter`. A failure only makes builds slower.
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
                tracing::debug!(path = %path.display(), %error, "failed to compile the bytecode");
            }
        });
        futures::future::join_all(each).await;
    }
}

/// Compiles the wheel unpacked at `root`, unless its marker exists.
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
    let marker = format!("{name}-{}-{}", python.0, python.1);
    let markers = cache.bucket(CacheBucket::Archive).join(MARKERS);
    let marker = markers.join(marker);
    if marker.exists() {
        return Ok(());
    }
    let modules = {
        let root = root.to_owned();
        tokio::task::spawn_blocking(move || modules(&root)).await??
    };
    if !modules.is_empty() {
        run(interpreter.sys_executable(), cache.root(), &modules).await?;
    }
    fs_err::create_dir_all(markers)?;
    fs_err::write(marker, "")
}

/// Compiles `modules` with `python`, which skips modules with syntax errors.
async fn run(python: &Path, directory: &Path, modules: &[u8]) -> std::io::Result<()> {
    let mut child = Command::new(python)
        .args(["-E", "-s", "-S", "-W", "ignore", "-c", SCRIPT])
        // With it, Python would compare the digests of sources at each import.
        .env_remove("SOURCE_DATE_EPOCH")
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take();
    let finished = tokio::time::timeout(TIMEOUT, async {
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

/// Lists the modules of the wheel unpacked at `root`, each path terminated by a zero byte. Files in `.data` are moved when
/// the wheel is installed, so they are left out.
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
