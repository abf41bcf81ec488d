//! The integration tests: the library against pip, and the program against servers that misbehave,
//! hostile files, full disks and sudden ends. Only `real` uses
//! another network than loopback.

mod architecture;
mod build_requirements;
mod cli;
mod directory;
mod disconnected;
mod disks;
mod download;
mod hooks;
mod hostile;
mod interruptions;
mod lockfile;
mod network;
mod pip_oracle;
mod real;
mod releases;
mod remote_files;
mod secrets;
mod sources;
mod support;
mod verify;
mod writes;
