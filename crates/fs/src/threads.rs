//! Parallel work on scoped threads.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_results_in_order() {
        let shares: Vec<usize> = (0..20).collect();
        let doubled = on_threads(&shares, |share| share * 2);
        assert_eq!(doubled, (0..20).map(|share| share * 2).collect::<Vec<_>>());
    }
}
