//! Work on several threads: on as many as the system gives.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Does `work` with each of `shares` on a thread of its own, or here where the system refuses one. Returns the results in
/// the order of the shares.
///
/// # Panics
/// When `work` does.
pub fn on_threads<Share: Sync, Output: Send>(
    shares: &[Share],
    work: impl Fn(&Share) -> Output + Sync,
) -> Vec<Output> {
    let work = &work;
    scope(|scope| {
        let begin = |share| {
            let thread = Builder::new().spawn_scoped(scope, move || work(share));
            thread.map_err(|_| share)
        };
        let begun: Vec<_> = shares.iter().map(begin).collect();
        let outputs = begun.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(share) => work(share),
        });
        outputs.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_output_of_every_share() {
        let shares: Vec<usize> = (0..20).collect();
        let doubled = on_threads(&shares, |share| share * 2);
        assert_eq!(doubled, (0..20).map(|share| share * 2).collect::<Vec<_>>());
    }
}
