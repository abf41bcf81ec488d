//! How much has been fetched of how much.
//!
//! Responsible for adding up events of files. Never looks at a clock.

use std::collections::HashMap;
use std::fmt;

use super::super::human;

/// Adds up the files of a run.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    /// Those that are arriving: received, and expected if it is known.
    arriving: HashMap<String, (u64, Option<u64>)>,
    finished_files: usize,
    finished_bytes: u64,
}

/// What all files add up to, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) files: usize,
    pub(super) finished_files: usize,
    pub(super) received: u64,
    /// At least: files of unknown size count with what has been received.
    pub(super) expected: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of {}, {} of {}",
            human::bytes(self.received),
            human::bytes(self.expected),
            self.finished_files,
            human::count(self.files, "file"),
        )
    }
}

impl Fetches {
    pub(super) fn start(&mut self, filename: &str, bytes: Option<u64>) {
        self.arriving.insert(filename.to_owned(), (0, bytes));
    }

    pub(super) fn progress(&mut self, filename: &str, received: u64) {
        if let Some(file) = self.arriving.get_mut(filename) {
            file.0 = received;
        }
    }

    pub(super) fn finish(&mut self, filename: &str, bytes: u64) {
        if self.arriving.remove(filename).is_some() {
            self.finished_files += 1;
            self.finished_bytes += bytes;
        }
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
        let mut fetches = Fetches::default();
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
}
