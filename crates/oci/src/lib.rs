//! Wheelhouses as images (OCI image and distribution specifications), without a daemon.
//!
//! There:
//! 1. [`contents`] finds what of a wheelhouse goes into an image, [`architecture`] what of it fits
//!    which processor, and [`grouping`] what shares a layer.
//! 2. [`making`] makes the layers ([`layer`]) on all processors, each once, for all local
//!    destinations ([`layout`], [`archive`]) at the same time; [`compose`] makes the documents
//!    ([`document`]) of what is then known.
//! 3. [`registry`] gets what it lacks, and the bill of materials ([`sbom`]); [`daemon`] gets an
//!    archive.
//!
//! And back:
//! 4. [`source`] opens an image wherever it is; [`unpack`] reads its layers, and [`root`] tells which
//!    names, whiteouts and links they leave.
//! 5. [`extract`] makes a wheelhouse of them again, [`inspect`] tells what is in it.
//!
//! The same wheelhouse gives the same bytes: nothing of a clock, a user, a machine or an order gets
//! into an image. Never builds or resolves anything, and never runs what is in an image.

pub mod extract;
pub mod find_links;
pub mod image;
pub mod inspect;
pub mod layer_reader;
pub mod progress;
pub mod publish;
pub mod registry;
mod root_fs;
mod stream;
pub mod transport;
