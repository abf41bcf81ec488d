//! Processes that are ended with all of their descendants, whatever group or session these are in.
//!
//! This process is a child subreaper (`PR_SET_CHILD_SUBREAPER`), so an orphaned descendant becomes a child of it. An
//! inherited variable identifies the tree of an orphan. One without the variable is ended as soon as no other tree can
//! have started it, unless it is older than all trees. If this process itself is killed, only the groups of the roots end,
//! for which these are responsible.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::process::{Child, Command};

/// The variable that all processes of a tree inherit.
const VARIABLE: &str = "WHEELHOUSE_FAMILY";

/// The maximum time to wait for the end of a tree: the kernel delays the end of processes that wait for a disk.
const LIMIT: Duration = Duration::from_secs(2);

/// The running trees, by the process IDs of their roots. It is locked while a root starts and while orphans are assigned, so
/// that a new root is not treated as an orphan.
static LIVING: Mutex<BTreeMap<i32, ProcessInfo>> = Mutex::new(BTreeMap::new());

/// The start time of the first root, in ticks of the kernel. Older processes belong to no tree.
static FIRST: OnceLock<u64> = OnceLock::new();

struct ProcessInfo {
    tag: String,
    /// The start time of the root, in ticks of the kernel.
    started: u64,
}

/// A process in a group of its own, and its descendants. Dropping it ends them.
#[derive(Debug)]
pub struct ProcessTree {
    /// The root of the tree.
    pub root: Child,
    id: Option<Pid>,
}

impl ProcessTree {
    /// Starts `command` as the root of a new tree.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Without it, only the group is ended.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{}-{count}", std::process::id());
        command.env(VARIABLE, &tag).process_group(0);
        let mut living = living();
        let root = command.spawn()?;
        let id = root.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let started = Process::read(id).map_or(0, |process| process.started);
            FIRST.get_or_init(|| started);
            living.insert(id, ProcessInfo { tag, started });
        }
        Ok(Self {
            root,
            id: id.and_then(Pid::from_raw),
        })
    }

    /// Ends the root and all of its descendants. Afterwards none of them holds a file or a pipe open.
    pub fn end(&mut self) {
        let Some(id) = self.id.take() else { return };
        let begun = Instant::now();
        // The group may have ended already.
        let _ = rustix::process::kill_process_group(id, Signal::KILL);
        // The descendants become orphans when the root has ended.
        while matches!(self.root.try_wait(), Ok(None)) && begun.elapsed() < LIMIT {
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

/// Ends all trees, for an exit without destructors.
pub fn end_all() {
    // A thread that is blocked forever may hold the lock.
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

fn living() -> MutexGuard<'static, BTreeMap<i32, ProcessInfo>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the orphans that belong to none of the trees `living`, with their descendants, until there are none.
fn end_orphans(living: &BTreeMap<i32, ProcessInfo>, begun: Instant) {
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

/// Returns the children of this process.
fn children() -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    // With a list by the kernel, not all processes of the machine need to be read.
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
        // The name, in parentheses, can contain any character.
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

    /// Returns whether this child was adopted and belongs to none of the trees `living`.
    fn is_orphan(&self, living: &BTreeMap<i32, ProcessInfo>, own_group: i32) -> bool {
        let environment = std::fs::read(format!("/proc/{}/environ", self.id)).unwrap_or_default();
        if let Some(tag) = tag(&environment) {
            return living.values().all(|member| member.tag != tag);
        }
        // Children of this process stay in its group, and the first process of a container adopts all orphans.
        let is_own = self.group == own_group || std::process::id() == 1;
        let is_foreign = FIRST.get().is_none_or(|first| self.started < *first);
        if is_own || is_foreign {
            return false;
        }
        let is_older = || living.values().all(|member| self.started < member.started);
        self.is_zombie || (is_older() && !has_own_variables(&environment))
    }
}

/// Returns the tree of a process with `environment`.
fn tag(environment: &[u8]) -> Option<String> {
    let own = format!("{VARIABLE}={}-", std::process::id());
    let mut variables = environment.split(|byte| *byte == 0);
    let found = variables.find(|variable| variable.starts_with(own.as_bytes()))?;
    let value = found.get(VARIABLE.len() + 1..)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Returns whether `environment` has all variables of this process, like that of a daemon of Git or SSH, which stays. Hooks have
/// another `PATH`.
fn has_own_variables(environment: &[u8]) -> bool {
    let own = std::fs::read("/proc/self/environ").unwrap_or_default();
    let theirs: BTreeSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
    !own.is_empty()
        && own
            .split(|byte| *byte == 0)
            .all(|variable| theirs.contains(variable))
}
