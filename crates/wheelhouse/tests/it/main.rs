//! The integration tests: the library against pip, and the program against servers that misbehave,
//! hostile files, full disks and sudden ends. Only `real` uses
//! another network than loopback.

mod architecture;
mod build_requirements;
mod builder;
mod builder_install;
mod builder_pythons;
mod certificates;
mod cli;
mod directory;
mod disconnected;
mod disks;
mod docker;
mod download;
mod faithful;
mod hashes;
mod hooks;
mod hostile;
mod image;
mod interruptions;
mod legacy_sdists;
mod lock;
mod lockfile;
mod network;
mod odd_indexes;
mod openshift;
mod openshift_builds;
mod pip_oracle;
mod program_image;
mod pythons;
mod real;
mod releases;
mod remote_files;
mod resolution;
mod s2i;
mod s2i_application;
mod s2i_server;
mod secrets;
mod sets;
mod sources;
mod support;
mod targets;
mod trust;
mod verify;
mod writes;
