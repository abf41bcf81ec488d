//! The value types that all crates of `wheelhouse` share.
//!
//! A run turns a [`Request`] into one [`Lock`] per [`Target`], a lock into a [`Plan`], a plan into
//! wheels, and wheels into a directory described by a [`Manifest`]. Progress is reported
//! as [`Event`]s, failures as [`Error`]s.
//!
//! This crate never touches the filesystem, the clock, the network or an async runtime.

#![warn(missing_docs)]

pub mod cache_location;
pub mod digest;
pub mod display;
pub mod distribution;
pub mod error;
pub mod event;
pub mod image_location;
pub mod limits;
pub mod linked_image;
pub mod listing;
pub mod lock;
pub mod locked_crate;
pub mod manifest;
pub mod marker;
pub mod plan;
pub mod project_status;
pub mod provenance;
pub mod pylock;
pub mod redact;
pub mod request;
pub mod requirement;
pub mod retry;
pub mod sandbox;
pub mod secrets;
pub mod step;
pub mod target;
pub mod toml_reader;
pub mod unsatisfied;
pub mod upload_time;

pub use cache_location::CacheLocation;
pub use digest::{Hashes, Sha256};
pub use distribution::{Artifact, ArtifactLocation, Distribution, Origin, Source, names_image};
pub use error::{Error, Kind, Result};
pub use event::{Event, Observer, Outcome, Phase};
pub use listing::Listing;
pub use lock::Lock;
pub use locked_crate::LockedCrate;
pub use manifest::Manifest;
pub use plan::{Action, Plan, Step};
pub use project_status::{ProjectStatus, StatusMarker};
pub use request::Request;
pub use target::Target;

pub use uv_distribution_filename::{SourceDistExtension, WheelFilename};
pub use uv_normalize::{ExtraName, GroupName, PackageName};
pub use uv_pep440::{Version, VersionSpecifiers};
pub use uv_pep508::MarkerTree;
