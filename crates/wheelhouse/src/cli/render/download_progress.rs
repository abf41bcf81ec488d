//! The progress of all downloads of a run, computed from events.

use std::collections::HashMap;
use std::fmt;

use wheelhouse_types::Event;

use crate::cli::format;

/// Accumulates the files of a run.
#[derive(Debug, Default)]
pub(super) struct DownloadProgress {
    /// The files in transit: bytes received, and bytes expected if known.
    arriving: HashMap<String, (u64, Option<u64>)>,
    finished_files: usize,
    finished_bytes: u64,
}

/// The total of all files, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) files: usize,
    pub(super) finished_files: usize,
    pub(super) received: u64,
    /// A lower bound: files of unknown size count as the bytes received.
    pub(super) expected: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of {}, {} of {}",
            format::bytes(self.received),
            format::bytes(self.expected),
            self.finished_files,
            format::count(self.files, "file"),
        )
    }
}

impl DownloadProgress {
    /// Updates the progress from a file event; other events are ignored.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::FetchStarted {
                filename, bytes, ..
            } => self.start(filename, *bytes),
            Event::FetchProgress { filename, received } => self.progress(filename, *received),
            Event::FetchFinished {
                filename, bytes, ..
            } => self.finish(filename, *bytes),
            Event::FetchFailed { filename } => self.forget(filename),
            _ => {}
        }
    }

    fn start(&mut self, filename: &str, bytes: Option<u64>) {
        self.arriving.insert(filename.to_owned(), (0, bytes));
    }

    fn progress(&mut self, filename: &str, received: u64) {
        if let Some(file) = self.arriving.get_mut(filename) {
            file.0 = received;
        }
    }

    fn finish(&mut self, filename: &str, bytes: u64) {
        if self.arriving.remove(filename).is_some() {
            self.finished_files += 1;
            self.finished_bytes += bytes;
        }
    }

    fn forget(&mut self, filename: &str) {
        self.arriving.remove(filename);
    }

    pub(super) fn sum(&self) -> Sum {
        let arriving = self.arriving.values();
        let received: u64 = arriving.clone().map(|(received, _)| received).sum();
        let expected = arriving.map(|(received, bytes)| bytes.unwrap_or(*received).max(*received));
        Sum {
            files: self.finished_files + self.arriving.len(),
            finished_files: self.finished_files,
            received: self.finished_bytes + received,
            expected: self.finished_bytes + expected.sum::<u64>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_add_up() {
        let mut fetches = DownloadProgress::default();
        fetches.start("a", Some(100));
        fetches.start("b", None);
        fetches.progress("a", 40);
        fetches.progress("b", 7);
        fetches.progress("unknown", 1000);
        let sum = Sum {
            files: 2,
            finished_files: 0,
            received: 47,
            expected: 107,
        };
        assert_eq!(fetches.sum(), sum);
        fetches.finish("a", 100);
        fetches.finish("a", 100);
        assert_eq!(
            (fetches.sum().finished_files, fetches.sum().received),
            (1, 107)
        );
    }

    #[test]
    fn files_that_will_not_arrive_do_not_count() {
        let mut fetches = DownloadProgress::default();
        for filename in ["a", "b"] {
            fetches.observe(&Event::FetchStarted {
                package: filename.into(),
                filename: filename.into(),
                bytes: Some(10),
            });
        }
        fetches.observe(&Event::FetchFinished {
            filename: "a".into(),
            bytes: 10,
            seconds: 1.0,
        });
        fetches.observe(&Event::FetchFailed {
            filename: "b".into(),
        });
        let sum = fetches.sum();
        assert_eq!(
            (sum.files, sum.finished_files, sum.received, sum.expected),
            (1, 1, 10, 10)
        );
    }
}
