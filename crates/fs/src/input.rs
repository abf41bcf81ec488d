//! Files that a user names: requirements, locks, projects and configuration.
//!
//! Such a path may lead to anything. Pipes are read as pip reads them, so that `-r /dev/stdin` and `-r <(command)` work, but
//! with a time limit. The size is limited, so that a device does not fill the memory, and opening a file never blocks.

use std::io::{self, ErrorKind, IsTerminal as _, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use wheelhouse_types::limits;

/// The time limit for the next bytes of a pipe with a writer, which may resolve or download meanwhile.
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// The time limit for the first writer of a named pipe.
const WRITER_TIMEOUT: Duration = Duration::from_secs(10);

/// The size of one read, in bytes.
const CHUNK: usize = 64 << 10;

/// Opens the regular file at `path`.
///
/// # Errors
/// The error of the system, or [`ErrorKind::InvalidInput`] for a pipe, a device or a directory, without waiting for it.
pub fn open(path: &Path) -> io::Result<File> {
    let file = open_nonblocking(path)?;
    if !file.metadata()?.is_file() {
        let message = format!("`{}` is not a regular file", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

/// Opens `path` without waiting for the writer of a named pipe or for the content of a file in `/proc`.
fn open_nonblocking(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(i32::try_from(flags.bits()).map_err(io::Error::other)?);
    options.open(path)
}

/// Reads the file or pipe at `path`, up to [`limits::LOCAL_FILE`].
///
/// # Errors
/// The error of the system, [`ErrorKind::InvalidData`] if the file is larger, or [`ErrorKind::TimedOut`] if nothing is
/// written to a pipe in time.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open_nonblocking(path)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let mut awaits_writer = is_pipe && !is_anonymous_pipe(file.file());
    let wait = |file: &File, limit| {
        let waited = wait(file.file(), limit);
        waited.map_err(|error| unreadable(path, error.kind(), &error))
    };
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) if awaits_writer => {
                wait(&file, Some(WRITER_TIMEOUT))?;
                awaits_writer = false;
            }
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                awaits_writer = false;
                bytes.extend_from_slice(&buffer[..count]);
                limits::size(bytes.len() as u64, limits::LOCAL_FILE)
                    .map_err(|excess| unreadable(path, ErrorKind::InvalidData, &excess))?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && is_pipe => {
                awaits_writer = false;
                wait(&file, Some(READ_TIMEOUT))?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && file.file().is_terminal() => {
                wait(&file, None)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads the regular file at `path`, up to [`limits::LOCAL_FILE`].
///
/// # Errors
/// As [`open`], and [`ErrorKind::InvalidData`] if the file is larger.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(limits::LOCAL_FILE + 1)
        .read_to_end(&mut bytes)?;
    limits::size(bytes.len() as u64, limits::LOCAL_FILE)
        .map_err(|excess| unreadable(path, ErrorKind::InvalidData, &excess))?;
    Ok(bytes)
}

/// Reads the text file or pipe at `path`, as [`read`] does.
///
/// # Errors
/// As [`read`], and [`ErrorKind::InvalidData`] if the text is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|error| unreadable(path, ErrorKind::InvalidData, &error))
}

/// Returns an error with the wording of `fs_err`.
fn unreadable(path: &Path, kind: ErrorKind, error: &dyn std::error::Error) -> io::Error {
    let message = format!("failed to read from file `{}`: {error}", path.display());
    io::Error::new(kind, message)
}

/// Returns whether `file` is a pipe without a name. Without a writer, such a pipe is at its end, because no process can open
/// it anew.
fn is_anonymous_pipe(file: &std::fs::File) -> bool {
    let target = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    target.is_ok_and(|target| target.to_string_lossy().starts_with("pipe:"))
}

/// Waits until `file` can be read or is at its end, for at most `limit`.
fn wait(file: &std::fs::File, limit: Option<Duration>) -> io::Result<()> {
    let timeout = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    });
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut polled, timeout.as_ref()) {
        Ok(0) => {
            let seconds = limit.map_or(0, |limit| limit.as_secs());
            let message = format!("nothing was written to this pipe for {seconds} s");
            Err(io::Error::new(ErrorKind::TimedOut, message))
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn limits_size_of_devices() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to read from file `/dev/zero`: it is larger than 64 MiB"
        );
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
    }

    #[test]
    fn rejects_files_that_are_not_regular() {
        for path in ["/dev/zero", "/"] {
            let error = read_regular(Path::new(path)).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
    }

    #[test]
    fn reads_pipe_to_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let writer_thread = std::thread::spawn(move || {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(20));
                writer.write_all(&vec![b'a'; 100_000]).unwrap();
            }
        });
        assert_eq!(read(Path::new(&path)).unwrap().len(), 300_000);
        writer_thread.join().unwrap();
        // The writer has closed the pipe.
        assert_eq!(read(Path::new(&path)).unwrap(), b"");
    }

    #[test]
    fn waits_for_writer_of_named_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let writer = path.clone();
        let writer_thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            std::fs::write(writer, "alpha\n").unwrap();
        });
        assert_eq!(read_to_string(&path).unwrap(), "alpha\n");
        writer_thread.join().unwrap();
    }
}
