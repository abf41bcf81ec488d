//! Processes that start others: each is ended with all of its descendants, whatever group or session these are in.
//!
//! This process adopts what its descendants leave behind (`PR_SET_CHILD_SUBREAPER`), so an orphan becomes a child of ours
//! and cannot get lost. A variable that is inherited says which family an orphan is of; one without the variable is ended
//! as soon as no other family can have started it, unless it is older than all families. A kill of this process itself ends only the groups of the leaders,
//! which is up to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::process::{Child, Command};

/// The variable that all processes of a family inherit.
const VARIABLE: &str = "WHEELHOUSE_FAMILY";

/// The time that ending a family may take: the kernel delays the end of processes that wait for a disk.
const LIMIT: Duration = Duration::from_secs(2);

/// The living families, by the process ids of their leaders. It is locked while a leader is started and while orphans are
/// sorted, so no new leader is taken for an orphan.
static LIVING: Mutex<BTreeMap<i32, Member>> = Mutex::new(BTreeMap::new());

/// When the first leader was started, in the ticks of the kernel: what is older was there before.
static FIRST: OnceLock<u64> = OnceLock::new();

struct Member {
    tag: String,
    /// When the leader was started, in the ticks of the kernel.
    started: u64,
}

/// A process that leads a group of its own, and all that it starts. Dropping it ends them.
#[derive(Debug)]
pub struct ProcessTree {
    pub leader: Child,
    id: Option<Pid>,
}

impl ProcessTree {
    /// Starts `command` as the leader of a new family.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Without it only the group is ended.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{}-{count}", std::process::id());
        command.env(VARIABLE, &tag).process_group(0);
        let mut living = living();
        let leader = command.spawn()?;
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let started = Process::read(id).map_or(0, |process| process.started);
            FIRST.get_or_init(|| started);
            living.insert(id, Member { tag, started });
        }
        Ok(Self {
            leader,
            id: id.and_then(Pid::from_raw),
        })
    }

    /// Ends the leader and all of its descendants. Afterwards none of them holds a file or a pipe open.
    pub fn end(&mut self) {
        let Some(id) = self.id.take() else { return };
        let begun = Instant::now();
        // The group is gone already when all went well.
        let _ = rustix::process::kill_process_group(id, Signal::KILL);
        // Its descendants are orphans only when the leader is gone.
        while matches!(self.leader.try_wait(), Ok(None)) && begun.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut living = living();
        living.remove(&id.as_raw_nonzero().get());
        end_orphans(&living, begun);
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends all families, for an end of the program that drops nothing.
pub fn end_all() {
    // A thread that will never go on may have it locked.
    let Ok(mut living) = LIVING.try_lock() else {
        return;
    };
    for id in std::mem::take(&mut *living)
        .into_keys()
        .filter_map(Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(id, Signal::KILL);
    }
    end_orphans(&living, Instant::now());
}

fn living() -> MutexGuard<'static, BTreeMap<i32, Member>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the orphans that are of none of the families `living`, with their descendants, until there are none.
fn end_orphans(living: &BTreeMap<i32, Member>, begun: Instant) {
    let own_group = rustix::process::getpgrp().as_raw_nonzero().get();
    loop {
        let children = children();
        let candidates = children
            .iter()
            .filter(|child| !living.contains_key(&child.id));
        let (ended, alive): (Vec<&Process>, Vec<&Process>) = candidates
            .filter(|child| child.is_orphan(living, own_group))
            .partition(|child| child.is_zombie);
        for orphan in &ended {
            if let Some(id) = Pid::from_raw(orphan.id) {
                let _ = rustix::process::waitpid(Some(id), WaitOptions::NOHANG);
            }
        }
        if (ended.is_empty() && alive.is_empty()) || begun.elapsed() > LIMIT {
            return;
        }
        if alive.is_empty() {
            continue;
        }
        let all = Process::all();
        let mut doomed: BTreeSet<i32> = alive.iter().map(|orphan| orphan.id).collect();
        loop {
            let count = doomed.len();
            let descendants = all.iter().filter(|one| doomed.contains(&one.parent));
            let descendants: Vec<i32> = descendants.map(|one| one.id).collect();
            doomed.extend(descendants);
            if doomed.len() == count {
                break;
            }
        }
        for id in doomed.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(id, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The children of this process.
fn children() -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    // The kernel can list them, so that not all processes of the machine need to be read.
    let listed = std::fs::read_dir("/proc/self/task").and_then(|tasks| {
        let lists = tasks.map(|task| std::fs::read_to_string(task?.path().join("children")));
        lists.collect::<io::Result<Vec<String>>>()
    });
    let Ok(lists) = listed else {
        let all = Process::all().into_iter();
        return all.filter(|process| process.parent == own).collect();
    };
    let ids = lists.iter().flat_map(|list| list.split_ascii_whitespace());
    ids.filter_map(|id| Process::read(id.parse().ok()?))
        .collect()
}

/// A process as `/proc` describes it.
#[derive(Debug)]
struct Process {
    id: i32,
    parent: i32,
    group: i32,
    is_zombie: bool,
    started: u64,
}

impl Process {
    fn all() -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    fn read(id: i32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{id}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name, in parentheses, can contain anything.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        Some(Self {
            id,
            is_zombie: matches!(fields.next()?, "Z" | "X"),
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            // The 22nd field of all.
            started: fields.nth(16)?.parse().ok()?,
        })
    }

    /// Returns whether this child of ours was adopted and is of none of the families `living`.
    fn is_orphan(&self, living: &BTreeMap<i32, Member>, own_group: i32) -> bool {
        let environment = std::fs::read(format!("/proc/{}/environ", self.id)).unwrap_or_default();
        if let Some(tag) = tag(&environment) {
            return living.values().all(|member| member.tag != tag);
        }
        // What this process starts itself stays in its group; and the first process of a container adopts any other.
        let is_own = self.group == own_group || std::process::id() == 1;
        let is_foreign = FIRST.get().is_none_or(|first| self.started < *first);
        if is_own || is_foreign {
            return false;
        }
        let is_older = || living.values().all(|member| self.started < member.started);
        self.is_zombie || (is_older() && !has_own_variables(&environment))
    }
}

/// Returns the family that a process with `environment` is of.
fn tag(environment: &[u8]) -> Option<String> {
    let own = format!("{VARIABLE}={}-", std::process::id());
    let mut variables = environment.split(|byte| *byte == 0);
    let found = variables.find(|variable| variable.starts_with(own.as_bytes()))?;
    let value = found.get(VARIABLE.len() + 1..)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Returns whether `environment` has all that this process has, as that of a daemon of Git's or SSH's, which stays. Hooks
/// have another `PATH`.
fn has_own_variables(environment: &[u8]) -> bool {
    let own = std::fs::read("/proc/self/environ").unwrap_or_default();
    let theirs: BTreeSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
    !own.is_empty()
        && own
            .split(|byte| *byte == 0)
            .all(|variable| theirs.contains(variable))
}
