//! Container images of wheelhouses (OCI image and distribution specifications), without a daemon.
//!
//! Writing an image:
//! 1. [`image::contents`] lists the files of a wheelhouse, [`image::platform`] splits them by architecture, and
//!    [`image::layer_plan`] assigns them to layers.
//! 2. [`image::layer_writer`] writes each layer ([`image::layer`]) once, on several threads, to all local destinations
//!    ([`transport`]); [`image::builder`] then creates the documents ([`image::manifest`]).
//! 3. [`registry`] uploads the missing blobs and attaches the bill of materials.
//!
//! Reading an image:
//! 4. [`transport`] opens an image; [`layer_reader`] reads its layers and resolves names, whiteouts and links.
//! 5. [`extract`] writes the wheelhouse to a directory, [`inspect`] lists its content, and [`find_links`] provides it as a
//!    source of wheels.
//!
//! Images are reproducible: the same wheelhouse gives the same bytes, independent of time, user, machine and order.

#![warn(missing_docs)]

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
