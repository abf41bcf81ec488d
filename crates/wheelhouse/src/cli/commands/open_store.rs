//! Opens the store of the settings, or a temporary one if that cannot be used.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::time::Duration;

use wheelhouse_types::{Error, Event, Observer, Result};

use wheelhouse_fs::remove::remove_all;
use wheelhouse_fs::scratch::Scratch;
use wheelhouse_store::Store;

/// The directory, in the cache, of images that are used as `--find-links` locations.
pub(crate) const IMAGES: &str = "images-v1";

/// A store, and its directory if it is temporary.
pub(crate) struct OpenedStore {
    pub(crate) store: Store,
    pub(crate) temporary: Option<Scratch>,
}

/// Removes a temporary cache, except the logs of failed builds. Canceled downloads may still write to it for a
/// moment.
pub(crate) fn remove(directory: Scratch, keep_logs: bool) {
    let root = directory.keep();
    let is_gone = || {
        let Ok(entries) = std::fs::read_dir(&root) else {
            return true;
        };
        let mut kept = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            if keep_logs && path.ends_with(LOGS) && !is_empty(&path) {
                kept += 1;
            } else {
                let _ = remove_all(&path);
            }
        }
        kept > 0 || std::fs::remove_dir(&root).is_ok()
    };
    // Canceled downloads may recreate their directories, so removal is attempted twice.
    let mut looks = 0;
    for _ in 0..ATTEMPTS {
        looks = if is_gone() { looks + 1 } else { 0 };
        if looks == 2 {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// The directory of build logs in a cache.
const LOGS: &str = "logs";
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Opens the store at `cache`, or a temporary one if `cache` is `None` or not writable.
pub(crate) fn open(cache: Option<&Path>, observer: &dyn Observer) -> Result<OpenedStore> {
    let Some(cache) = cache else {
        return open_temporary();
    };
    match Store::open(cache) {
        Ok(store) => Ok(OpenedStore {
            store,
            temporary: None,
        }),
        Err(error) if cannot_write(&error) => {
            observer.observe(&Event::Warning {
                message: format!("{}; this run uses a temporary cache", error.display_chain()),
                hint: error.hint().map(str::to_owned),
            });
            open_temporary()
        }
        Err(error) => Err(error),
    }
}

fn open_temporary() -> Result<OpenedStore> {
    let directory = Scratch::new()?;
    Ok(OpenedStore {
        store: Store::open(directory.path())?,
        temporary: Some(directory),
    })
}

/// Returns whether the operating system refused access. A directory with other contents is an error of the user
/// instead.
fn cannot_write(error: &Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}
