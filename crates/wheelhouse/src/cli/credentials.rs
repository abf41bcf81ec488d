//! The credentials that this process was given, which are masked in its output and in build logs.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use wheelhouse_types::secrets::{self, mask};

/// Registers the credentials of the environment, of `arguments` and of the user's netrc file for masking, including in the
/// message of a panic.
pub(super) fn remember(arguments: &[OsString]) {
    for (name, value) in std::env::vars_os() {
        if let (Some(name), Some(value)) = (name.to_str(), value.to_str()) {
            secrets::register(secrets::find_in_variable(name, value));
        }
    }
    for argument in arguments.iter().filter_map(|argument| argument.to_str()) {
        secrets::register(secrets::find_in_text(argument));
        if let Some((name, value)) = argument.split_once('=') {
            secrets::register(secrets::find_in_variable(name, value));
        }
    }
    secrets::register(of_netrc());
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let is_captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        let backtrace = is_captured.then(|| format!("\n{backtrace}"));
        crate::cli::output::status(&format!("{panic}{}", backtrace.unwrap_or_default()));
    }));
}

/// Returns the passwords in the user's netrc file.
fn of_netrc() -> Vec<String> {
    let text = netrc();
    let words: Vec<&str> = text.split_whitespace().collect();
    let pairs = words.windows(2);
    pairs
        .filter(|pair| pair[0] == "password")
        .map(|pair| pair[1].trim_matches('"').to_owned())
        .collect()
}

/// Returns the user name and the password for `host` in the user's netrc file (ftp(1)), or those for all hosts.
pub(super) fn find_in_netrc(host: &str) -> Option<(String, String)> {
    credential_of(&netrc(), host)
}

fn credential_of(netrc: &str, host: &str) -> Option<(String, String)> {
    let mut words = netrc.split_whitespace();
    let (mut is_host, mut user, mut password) = (false, None, None);
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" if user.is_some() && password.is_some() => break,
            "machine" => is_host = words.next() == Some(host),
            "default" => is_host = true,
            "login" if is_host => user = words.next(),
            "password" if is_host => password = words.next(),
            _ => {}
        }
    }
    let value = |text: &str| text.trim_matches('"').to_owned();
    Some((value(user?), value(password?)))
}

/// Returns the text of the user's netrc file, which is empty if there is none.
fn netrc() -> String {
    let named = std::env::var_os("NETRC").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".netrc"));
    // The file may be a pipe, or very large.
    let is_small = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() < 1 << 20)
    };
    let text = named
        .or(home)
        .filter(is_small)
        .and_then(|path| std::fs::read_to_string(path).ok());
    text.unwrap_or_default()
}

/// Masks credentials in everything that is written to the stream. Each write must be a whole message.
pub(super) struct MaskingWriter<Stream>(pub(super) Stream);

impl<Stream: Write> Write for MaskingWriter<Stream> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = mask(&String::from_utf8_lossy(bytes));
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_credential_of_host() {
        let netrc = "machine other login a password b\nmachine host\n  login me\n  password \"secret\"\n\
            machine open login x\ndefault login any password one\n";
        let find = |host| {
            let (user, password) = credential_of(netrc, host).unwrap();
            format!("{user}:{password}")
        };
        assert_eq!(find("host"), "me:secret");
        assert_eq!(find("other"), "a:b");
        assert_eq!(find("unknown"), "any:one");
        assert_eq!(credential_of("machine host login me", "host"), None);
        assert_eq!(credential_of("", "host"), None);
    }
}
