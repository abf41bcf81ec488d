//! Parallel work on scoped threads.

use std::convert::Infallible;
use std::iter::from_fn;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};

/// Calls `work` with each of `shares` on a thread of its own, or on the current thread if the system creates no more.
/// Returns the results in the order of `shares`.
///
/// # Panics
/// If `work` panics.
pub fn on_threads<Share: Sync, Output: Send>(
    shares: &[Share],
    work: impl Fn(&Share) -> Output + Sync,
) -> Vec<Output> {
    let work = &work;
    scope(|scope| {
        let threads: Vec<_> = shares
            .iter()
            .map(|share| {
                let thread = Builder::new().spawn_scoped(scope, move || work(share));
                thread.map_err(|_| share)
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(share) => work(share),
            })
            .collect()
    })
}

/// Calls `work` with each of `items`, on as many threads as there are processors. Returns the results in the order of `items`.
///
/// # Panics
/// If `work` panics.
pub fn in_parallel<Item: Sync, Output: Send>(
    items: &[Item],
    work: impl Fn(&Item) -> Output + Sync,
) -> Vec<Output> {
    let Ok(outputs) = try_in_parallel(items, |item| Ok::<_, Infallible>(work(item)));
    outputs
}

/// Calls `work` with each of `items`, on as many threads as there are processors, until one fails. Returns the results in the order
/// of `items`.
///
/// # Errors
/// The error of `work`; the first one in the order of `items` if there are several.
///
/// # Panics
/// If `work` panics.
pub fn try_in_parallel<Item: Sync, Output: Send, Error: Send>(
    items: &[Item],
    work: impl Fn(&Item) -> Result<Output, Error> + Sync,
) -> Result<Vec<Output>, Error> {
    let processors = available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    // Threads take one item after another, because items differ in size.
    let work_on_next = || {
        let position = next.fetch_add(1, Ordering::Relaxed);
        let output = work(items.get(position)?);
        if output.is_err() {
            next.store(items.len(), Ordering::Relaxed);
        }
        Some((position, output))
    };
    let threads = vec![(); processors.min(items.len())];
    let outputs = on_threads(&threads, |()| from_fn(work_on_next).collect::<Vec<_>>());
    let mut outputs: Vec<_> = outputs.into_iter().flatten().collect();
    outputs.sort_by_key(|(position, _)| *position);
    outputs.into_iter().map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn returns_results_in_order() {
        let shares: Vec<usize> = (0..20).collect();
        let doubled = on_threads(&shares, |share| share * 2);
        assert_eq!(doubled, (0..20).map(|share| share * 2).collect::<Vec<_>>());
        assert_eq!(in_parallel(&shares, |share| share * 2), doubled);
        assert!(in_parallel(&[], |()| ()).is_empty());
    }

    #[test]
    fn stops_after_an_error() {
        let items: Vec<usize> = (0..1000).collect();
        let calls = AtomicUsize::new(0);
        let result = try_in_parallel(&items, |item| {
            calls.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
            if *item == 10 { Err(*item) } else { Ok(()) }
        });
        assert_eq!(result, Err(10));
        assert!(calls.into_inner() < items.len());
    }
}
