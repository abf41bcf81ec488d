//! Resource limits.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::profile::ResourceLimits;

/// Limits this process and its descendants, and never raises a limit.
pub(crate) fn apply(limits: ResourceLimits) -> io::Result<()> {
    lower(Resource::Nproc, limits.processes)?;
    lower(Resource::Fsize, limits.file_size)?;
    // A core file contains the memory of the process.
    lower(Resource::Core, 0)
}

fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let current = getrlimit(resource);
    let lowest = |bound: Option<u64>| Some(bound.map_or(limit, |bound| bound.min(limit)));
    let lowered = Rlimit {
        current: lowest(current.current),
        maximum: lowest(current.maximum),
    };
    Ok(setrlimit(resource, lowered)?)
}

/// Returns `limits` for a process without a user namespace of its own: the kernel then counts all processes of the user.
pub(crate) fn beside_others(limits: ResourceLimits) -> ResourceLimits {
    let tasks = std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| {
            let (_, total) = text.split_whitespace().nth(3)?.split_once('/')?;
            total.parse::<u64>().ok()
        });
    ResourceLimits {
        processes: limits.processes + tasks.unwrap_or(limits.processes),
        ..limits
    }
}
