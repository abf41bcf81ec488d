//! The network of a sandbox: an interface for the machine itself, and a name server that knows no name.
//!
//! A program that looks up a name gets the answer at once that it does not exist, and the name is recorded: it is why the
//! program fails.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

/// The maximum number of names that are recorded.
const MAX_NAMES: usize = 64;

/// The maximum length of a name (RFC 1035).
const MAX_NAME: usize = 253;

/// The maximum size of a report (bytes).
const MAX_REPORT: u64 = (MAX_NAMES * (MAX_NAME + 1)) as u64;

/// The hosts that a program without network access looked up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkRequests(pub BTreeSet<String>);

impl NetworkRequests {
    /// Reads the report of a program, which may have written anything there. It is empty if there is none.
    #[must_use]
    pub fn read(report: &Path) -> Self {
        let is_file = fs_err::symlink_metadata(report).is_ok_and(|metadata| metadata.is_file());
        let mut text = String::new();
        if let Some(file) = is_file.then(|| fs_err::File::open(report).ok()).flatten() {
            // A character in several bytes may be cut off.
            let _ = file.take(MAX_REPORT).read_to_string(&mut text);
        }
        let is_name =
            |name: &&str| !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_plain);
        Self(
            text.lines()
                .filter(is_name)
                .take(MAX_NAMES)
                .map(str::to_owned)
                .collect(),
        )
    }
}

/// Returns whether `byte` occurs in names of hosts.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}

/// Switches the loopback interface of a new network namespace on (`RTM_NEWLINK` of rtnetlink).
pub(crate) fn start_loopback() -> io::Result<()> {
    const NEW_LINK: u16 = 16;
    const REQUEST: u16 = 1;
    const UP: u32 = 1;
    const LOOPBACK: i32 = 1;
    const LENGTH: u32 = 32;
    let mut message = Vec::with_capacity(LENGTH as usize);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // Sequence number, port; then family and type.
    message.extend([0; 12]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // The protocol `NETLINK_ROUTE`.
        None,
    )?;
    rustix::net::send(&socket, &message, SendFlags::empty())?;
    Ok(())
}

/// Binds the socket of the name server.
pub(crate) fn bind_name_server() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))
}

/// Answers each question with "no such name", and calls `report` once with each name.
pub(crate) fn serve_names(socket: &UdpSocket, mut report: impl FnMut(&str)) {
    let mut names = BTreeSet::new();
    let mut packet = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut packet) {
        let Some((name, answer)) = answer(&packet[..length]) else {
            continue;
        };
        if names.len() < MAX_NAMES && names.insert(name.clone()) {
            report(&name);
        }
        let _ = socket.send_to(&answer, client);
    }
}

/// Returns the name in a query (RFC 1035), and the response that it does not exist.
fn answer(query: &[u8]) -> Option<(String, Vec<u8>)> {
    const HEADER: usize = 12;
    let mut labels = Vec::new();
    let mut position = HEADER;
    loop {
        let length = usize::from(*query.get(position)?);
        position += 1;
        if length == 0 {
            break;
        }
        let label = query.get(position..position + length)?;
        if !label.iter().copied().all(is_plain) {
            return None;
        }
        labels.push(std::str::from_utf8(label).ok()?.to_ascii_lowercase());
        position += length;
    }
    let name = labels.join(".");
    let question = query.get(HEADER..position + 4)?;
    if name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    // The identifier; a response, recursion, NXDOMAIN; one question.
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
    answer.extend(question);
    Some((name, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06GitHub\x03com\x00\x00\x01\x00\x01";

    #[test]
    fn answers_that_name_does_not_exist() {
        let (name, answer) = answer(QUERY).unwrap();
        assert_eq!(name, "github.com");
        assert_eq!(answer[..4], [0x12, 0x34, 0x81, 0x83]);
        assert_eq!(answer[12..], QUERY[12..]);
    }

    #[test]
    fn report_of_hostile_program_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report");
        fs_err::write(
            &report,
            "a.example\n\x1b[31mred\n".to_owned() + &"b\n".repeat(1 << 20),
        )
        .unwrap();
        let names = ["a.example", "b"].map(str::to_owned);
        assert_eq!(NetworkRequests::read(&report).0, BTreeSet::from(names));
        fs_err::remove_file(&report).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &report).unwrap();
        assert_eq!(NetworkRequests::read(&report), NetworkRequests::default());
    }

    #[test]
    fn ignores_malformed_queries() {
        for length in 0..QUERY.len() {
            assert_eq!(answer(&QUERY[..length]), None, "{length}");
        }
        let mut escape = QUERY.to_vec();
        escape[13] = 0x1b;
        assert_eq!(answer(&escape), None);
    }
}
