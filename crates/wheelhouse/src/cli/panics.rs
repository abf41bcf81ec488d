//! Panics of libraries to which the system refused a thread, a descriptor or memory, reported as errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, Ordering};

use wheelhouse_types::{Error, Kind};

use crate::cli::{error_report, exit_code};

/// The messages of such panics: those of the system for EAGAIN, EMFILE, ENFILE and ENOMEM, and those of
/// tokio and rayon.
const REFUSALS: [&str; 7] = [
    "Resource temporarily unavailable",
    "Too many open files",
    "Cannot allocate memory",
    "can't spawn worker thread",
    "failed to spawn thread",
    "global rayon pool",
    "failed to create UnixStream",
];

/// Calls `run`, and reports a refused resource as an error. Other panics continue.
pub(super) fn guarded(json: bool, run: impl FnOnce() -> u8) -> u8 {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    let usual = take_hook();
    set_hook(Box::new(move |panic| match refusal(panic.payload()) {
        // Several threads may be refused; the first is reported.
        Some(text) if !REPORTED.swap(true, Ordering::Relaxed) => {
            error_report::report(&refused(text), json);
        }
        Some(_) => {}
        None => usual(panic),
    }));
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(code) => code,
        Err(panic) if refusal(&*panic).is_some() => exit_code::INPUT,
        Err(panic) => resume_unwind(panic),
    }
}

fn refusal(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.filter(|text| REFUSALS.iter().any(|refusal| text.contains(refusal)))
}

fn refused(text: &str) -> Error {
    let message = format!("the system refused a thread, a descriptor or memory: {text}");
    Error::new(Kind::Input, message)
        .with_hint("Raise the limits with `ulimit -u` and `ulimit -n`, or those of the container.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_mistakes() {
        let refused = "OS can't spawn worker thread: Resource temporarily unavailable".to_owned();
        assert!(refusal(&refused).is_some());
        assert!(refusal(&"index out of bounds").is_none());
        assert!(refusal(&5).is_none());
    }
}
