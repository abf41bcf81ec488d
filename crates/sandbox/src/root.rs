//! The root directory of a sandbox: a temporary filesystem on which the paths of the profile are mounted.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use crate::profile::{PathAccess, PathMount, Profile};

/// The user and the group of programs.
pub(crate) const USER: u32 = 1000;

/// The devices of a sandbox. None of them has a state.
const DEVICES: [&str; 5] = ["full", "null", "random", "urandom", "zero"];

/// The options of temporary filesystems, which take memory.
const SMALL: &str = "mode=0755,size=1m";
const SHARED_MEMORY: &str = "mode=1777,size=25%";

/// The directory for the files that are mounted over those of the system.
const OWN_FILES: &str = ".sandbox";

/// The contents of the sandbox at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// A path of the profile.
    Mount(PathAccess),
    /// An empty directory or file in place of a hidden one.
    Hidden,
    /// Devices, which are usable although their filesystem cannot be changed.
    Device,
}

/// A root directory in preparation.
struct Root<'a> {
    /// Where it is mounted before it becomes the root.
    staging: PathBuf,
    profile: &'a Profile,
    /// The places, by their paths in the sandbox.
    places: Vec<(PathBuf, Place)>,
}

/// Makes the paths of `profile` the only ones of this process.
pub(crate) fn enter(profile: &Profile) -> io::Result<()> {
    // Nothing that is mounted here becomes visible outside.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|error| about(Path::new("/"), error))?;
    let staging = fs_err::canonicalize(&profile.staging)?;
    mount_memory(&staging, SMALL)?;
    let mut root = Root {
        staging,
        profile,
        places: Vec::new(),
    };
    root.add_own_files()?;
    root.add_devices()?;
    root.add_mounts()?;
    root.add_layers()?;
    root.add_processes()?;
    root.replace_system_files()?;
    root.make_read_only()?;
    std::env::set_current_dir(&root.staging)?;
    rustix::process::pivot_root(".", ".").map_err(|error| about(&root.staging, error))?;
    unmount(".", UnmountFlags::DETACH).map_err(|error| about(&root.staging, error))?;
    std::env::set_current_dir("/")
}

impl Root<'_> {
    /// Returns where `path` of the sandbox is now.
    fn at(&self, path: &Path) -> PathBuf {
        self.staging.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Writes the files that describe the user and the network of the sandbox.
    fn add_own_files(&self) -> io::Result<()> {
        let home = self.profile.home.display();
        let directory = self.staging.join(OWN_FILES);
        fs_err::create_dir(&directory)?;
        let write = |name: &str, text: String| fs_err::write(directory.join(name), text);
        write("empty", String::new())?;
        write("group", format!("build:x:{USER}:\n"))?;
        write(
            "passwd",
            format!("build:x:{USER}:{USER}:build:{home}:/bin/sh\n"),
        )?;
        write("hostname", "build\n".to_owned())?;
        write(
            "hosts",
            "127.0.0.1 localhost build\n::1 localhost\n".to_owned(),
        )?;
        write(
            "resolv.conf",
            "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n".to_owned(),
        )
    }

    fn add_devices(&mut self) -> io::Result<()> {
        let directory = self.staging.join("dev");
        fs_err::create_dir(&directory)?;
        for name in DEVICES {
            let outside = Path::new("/dev").join(name);
            if outside.exists() {
                self.bind(&outside, &outside, Place::Device)?;
            }
        }
        for (name, target) in [
            ("fd", "fd"),
            ("stdin", "fd/0"),
            ("stdout", "fd/1"),
            ("stderr", "fd/2"),
        ] {
            symlink(Path::new("/proc/self").join(target), directory.join(name))?;
        }
        let shared = directory.join("shm");
        fs_err::create_dir(&shared)?;
        self.places
            .push((PathBuf::from("/dev/shm"), Place::Mount(PathAccess::Write)));
        mount_memory(&shared, SHARED_MEMORY)
    }

    /// Mounts the paths of the profile and hides what is hidden, directories before what is in them.
    fn add_mounts(&mut self) -> io::Result<()> {
        let (profile, hidden) = (self.profile, self.profile.all_hidden());
        let hidden = hidden.iter().map(|path| (path, None));
        let mounts = profile
            .mounts
            .iter()
            .map(|mount| (&mount.inside, Some(mount)));
        let mut all: Vec<_> = hidden.chain(mounts).collect();
        all.sort();
        for (inside, mount) in all {
            match mount {
                Some(mount) if mount.outside.is_symlink() => self.link(mount)?,
                Some(mount) => self.bind(&mount.outside, inside, Place::Mount(mount.access))?,
                None => self.hide(inside)?,
            }
        }
        Ok(())
    }

    /// Mounts the directories with layers.
    fn add_layers(&mut self) -> io::Result<()> {
        for directory in &self.profile.layered {
            let target = self.at(&directory.inside);
            // An earlier program may have put a link there, which the kernel would follow to a directory outside.
            if fs_err::canonicalize(&target)? != target {
                return Err(about(&directory.inside, Errno::LOOP));
            }
            let options = directory.mount_options().ok_or(Errno::INVAL);
            let flags = MountFlags::NOSUID | MountFlags::NODEV;
            options
                .and_then(|options| mount("overlay", &target, "overlay", flags, options.as_c_str()))
                .map_err(|error| about(&directory.inside, error))?;
            let place = Place::Mount(PathAccess::Write);
            self.places.push((directory.inside.clone(), place));
        }
        Ok(())
    }

    /// Creates a symbolic link as it is outside, or mounts its target there if that is not at its own path.
    fn link(&mut self, mount: &PathMount) -> io::Result<()> {
        let Ok(real) = fs_err::canonicalize(&mount.outside) else {
            return Ok(());
        };
        let mut others = self.profile.mounts.iter();
        let is_there =
            others.any(|other| other.inside == other.outside && real.starts_with(&other.outside));
        if !is_there {
            return self.bind(&real, &mount.inside, Place::Mount(mount.access));
        }
        let target = self.at(&mount.inside);
        if target.symlink_metadata().is_ok() {
            return Ok(());
        }
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent)?;
        }
        symlink(fs_err::read_link(&mount.outside)?, &target)
    }

    /// Mounts `outside` at `inside`, unless it is there already. A missing path is skipped.
    fn bind(&mut self, outside: &Path, inside: &Path, place: Place) -> io::Result<()> {
        let Ok(metadata) = fs_err::symlink_metadata(outside) else {
            return Ok(());
        };
        let holder = self
            .places
            .iter()
            .rev()
            .find(|(path, _)| inside.starts_with(path));
        let is_there = holder.is_some_and(|(_, holder)| *holder == place) && outside == inside;
        if is_there && place == Place::Mount(PathAccess::Read) {
            return Ok(());
        }
        let target = self.at(inside);
        let parent = target.parent().unwrap_or(&self.staging);
        if metadata.is_dir() {
            fs_err::create_dir_all(&target)?;
        } else if target.symlink_metadata().is_err() {
            fs_err::create_dir_all(parent)?;
            fs_err::write(&target, "")?;
        }
        mount_bind_recursive(outside, &target).map_err(|error| about(outside, error))?;
        self.places.push((inside.to_owned(), place));
        Ok(())
    }

    /// Mounts an empty directory or file over `inside`, if it exists.
    fn hide(&mut self, inside: &Path) -> io::Result<()> {
        let target = self.at(inside);
        let Ok(metadata) = fs_err::symlink_metadata(&target) else {
            return Ok(());
        };
        if metadata.is_symlink() {
            return Ok(());
        }
        if metadata.is_dir() {
            mount_memory(&target, SMALL)?;
        } else {
            let empty = self.staging.join(OWN_FILES).join("empty");
            mount_bind_recursive(&empty, &target).map_err(|error| about(&target, error))?;
        }
        self.places.push((inside.to_owned(), Place::Hidden));
        Ok(())
    }

    /// Mounts the processes of the namespace at `/proc`. Where parts of `/proc` are hidden, as in containers, the kernel
    /// refuses that; then the processes outside are visible, but protected by the user namespace. Both are read-only, since
    /// the settings of the kernel in `/proc/sys` belong to the user if that is root.
    fn add_processes(&mut self) -> io::Result<()> {
        let inside = Path::new("/proc");
        let target = self.at(inside);
        fs_err::create_dir_all(&target)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if mount("proc", &target, "proc", flags, None).is_ok() {
            return self.limit_processes(&target);
        }
        mount_bind_recursive(inside, &target).map_err(|error| about(inside, error))?;
        self.places
            .push((inside.to_owned(), Place::Mount(PathAccess::Read)));
        Ok(())
    }

    /// Limits the processes of the namespace, since the resource limit does not apply to root.
    fn limit_processes(&self, processes: &Path) -> io::Result<()> {
        // Before this version, the setting is that of the whole machine.
        const FIRST: (u32, u32) = (6, 14);
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|part| part.parse::<u32>().ok());
        if (numbers.next(), numbers.next()) < (Some(FIRST.0), Some(FIRST.1)) {
            return Ok(());
        }
        let limit = self.profile.limits.processes;
        fs_err::write(processes.join("sys/kernel/pid_max"), limit.to_string())
    }

    /// Mounts own files over those of the system. With network access, the name servers of the system stay.
    fn replace_system_files(&mut self) -> io::Result<()> {
        let mut names = vec!["group", "hostname", "passwd"];
        if !self.profile.network {
            names.extend(["hosts", "resolv.conf"]);
        }
        for name in names {
            let inside = Path::new("/etc").join(name);
            let target = self.at(&inside);
            // A symbolic link leads to a directory that is not mounted.
            if fs_err::symlink_metadata(&target).is_ok_and(|metadata| metadata.is_file()) {
                let own = self.staging.join(OWN_FILES).join(name);
                mount_bind_recursive(&own, &target).map_err(|error| about(&own, error))?;
                self.places.push((inside, Place::Mount(PathAccess::Read)));
            }
        }
        Ok(())
    }

    /// Makes all mounts read-only that are not for writing, including those below others.
    fn make_read_only(&self) -> io::Result<()> {
        for (target, options) in mounts_below(&self.staging)? {
            let below = target.strip_prefix(&self.staging).unwrap_or(&target);
            let inside = Path::new("/").join(below);
            let place = self
                .places
                .iter()
                .rev()
                .find(|(path, _)| inside.starts_with(path));
            let flags = match place {
                Some((_, Place::Mount(PathAccess::Write))) => {
                    MountFlags::NOSUID | MountFlags::NODEV
                }
                Some((_, Place::Device)) => MountFlags::NOSUID | MountFlags::RDONLY,
                _ => MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY,
            };
            let flags = flags | MountFlags::BIND | kept(&options);
            match mount_remount(&target, flags, "") {
                // It is below a hidden directory, and so out of reach for the program too.
                Err(Errno::NOENT) => {}
                remounted => remounted.map_err(|error| about(&inside, error))?,
            }
        }
        Ok(())
    }
}

fn mount_memory(target: &Path, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, options.as_c_str()).map_err(|error| about(target, error))
}

fn about(path: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(
        error.kind(),
        format!("failed to mount {}: {error}", path.display()),
    )
}

/// Returns the options of a mount that a user namespace cannot change.
fn kept(options: &str) -> MountFlags {
    let known = [
        ("ro", MountFlags::RDONLY),
        ("nosuid", MountFlags::NOSUID),
        ("nodev", MountFlags::NODEV),
        ("noexec", MountFlags::NOEXEC),
        ("noatime", MountFlags::NOATIME),
        ("nodiratime", MountFlags::NODIRATIME),
        ("relatime", MountFlags::RELATIME),
    ];
    let set = known
        .into_iter()
        .filter(|(name, _)| options.split(',').any(|option| option == *name));
    set.fold(MountFlags::empty(), |flags, (_, flag)| flags | flag)
}

/// Returns the mount points at and below `directory` with their options (`proc_pid_mountinfo(5)`).
fn mounts_below(directory: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let text = fs_err::read("/proc/self/mountinfo")?;
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let (path, options) = (fields.next()?, fields.next()?);
        Some((
            unescaped(path),
            String::from_utf8_lossy(options).into_owned(),
        ))
    });
    Ok(lines
        .filter(|(path, _)| path.starts_with(directory))
        .collect())
}

/// Replaces octal escapes such as `\040` by the bytes that they stand for.
fn unescaped(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let escape =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &after[3..] } else { after };
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_escapes_of_mount_points() {
        assert_eq!(unescaped(br"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescaped(br"/a\9b\"), Path::new(r"/a\9b\"));
    }
}
