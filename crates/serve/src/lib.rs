//! Serves wheelhouses over HTTP: a package index for installers and pages for people.

#![warn(missing_docs)]
