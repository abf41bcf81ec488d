//! The arguments of `serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use url::Url;
use wheelhouse_serve::Bind;

use super::ImageReadArgs;
use super::parsers::{seconds, size};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Directories of wheels, and images as for `extract` [default: wheelhouse]
    ///
    /// Each is served under its own name, and all of them together at the root. If several have a file
    /// of the same name, the first one counts.
    #[arg(value_name = "DIR|IMAGE")]
    pub(crate) places: Vec<String>,

    #[command(flatten)]
    pub(crate) listening: ListenArgs,

    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) uploads: UploadArgs,

    /// Fetch what the wheelhouses lack from the index at this URL, and keep it in the first one
    ///
    /// Projects of which a wheelhouse has a file from elsewhere are never looked up there. Files are
    /// verified. Ignored with --offline.
    #[arg(long, value_name = "URL", help_heading = "Fallback options")]
    pub(crate) fallback: Option<Url>,

    #[command(flatten)]
    pub(crate) views: ViewArgs,
    #[command(flatten)]
    pub(crate) read_args: ImageReadArgs,
}

/// The options that select users.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access options")]
pub(crate) struct AccessArgs {
    /// Admit only the users in this htpasswd file, whose passwords are hashed with bcrypt
    ///
    /// `htpasswd -B` writes such a file. It is read again when it changes. The health probes stay open.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_file: Option<PathBuf>,

    /// Let everyone read, so that only uploads need a user
    #[arg(long, requires = "auth_file")]
    pub(crate) anonymous_read: bool,
}

/// The options of uploads.
#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Upload options")]
pub(crate) struct UploadArgs {
    /// Accept uploads (twine upload, uv publish) into this wheelhouse [default: the first one]
    ///
    /// NAME is the first segment of its path, usually the name of the directory. Uploads go to
    /// http://HOST/ or http://HOST/NAME/. Files are verified and added at once; no file is replaced.
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        requires = "auth_file"
    )]
    pub(crate) allow_upload: Option<String>,

    /// Reject uploaded files larger than SIZE, such as 500M or 2G [default: 4 GiB]
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = size,
        requires = "allow_upload"
    )]
    pub(crate) max_upload: Option<u64>,
}

/// The options that select parts of the wheelhouses.
#[derive(Debug, Args)]
#[command(next_help_heading = "View options")]
pub(crate) struct ViewArgs {
    /// Also serve what was uploaded until this date, at /before/DATE/
    ///
    /// A date (2026-01-31, with all of that day in UTC) or a time (RFC 3339). Files whose upload time is
    /// unknown are left out. Can be repeated.
    #[arg(long, value_name = "DATE", value_parser = cutoff)]
    pub(crate) exclude_newer: Vec<Cutoff>,

    /// Also serve only the packages in this file, at /only/NAME/ after the name of the file
    ///
    /// The file has one package per line, optionally with versions (`django>=5,<6`). Can be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) allow: Vec<PathBuf>,
}

/// The options of the server that do not concern its content.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server options")]
pub(crate) struct ListenArgs {
    /// Listen on ADDRESS:PORT, on a port of all IPv4 addresses, or on a Unix socket (unix:PATH)
    ///
    /// `[::]:8080` is port 8080 of all addresses, IPv6 and IPv4. Can be repeated.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub(crate) bind: Vec<Bind>,

    /// Encrypt connections with the certificate chain in this PEM file
    ///
    /// Certificate and key are read again when the files change. Unix sockets are not encrypted.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Serve everything below this path, behind a proxy that does not remove it
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true, value_parser = base_path)]
    pub(crate) base_path: String,

    /// Write a line for each request to standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = AccessLogFormat::Plain)]
    pub(crate) access_log: AccessLogFormat,

    /// Let requests in progress finish within this number of seconds when a signal arrives
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "25")]
    pub(crate) shutdown_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLogFormat {
    /// The common log format of web servers, with user agent and duration
    Plain,
    /// One JSON object per line
    Json,
    Off,
}

/// A point in time as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cutoff {
    pub(crate) text: String,
    /// In milliseconds since 1970-01-01 UTC; exclusive.
    pub(crate) before: i64,
}

/// Parses a date, which includes the day, or a time.
fn cutoff(text: &str) -> Result<Cutoff, String> {
    let time = text.parse::<jiff::Timestamp>().or_else(|_| {
        let day: jiff::civil::Date = text.parse()?;
        let next = day.tomorrow()?.to_zoned(jiff::tz::TimeZone::UTC)?;
        Ok::<_, jiff::Error>(next.timestamp())
    });
    let time = time.map_err(|_| "expected a date such as 2026-01-31, or a time (RFC 3339)")?;
    Ok(Cutoff {
        text: text.to_owned(),
        before: time.as_millisecond(),
    })
}

/// Parses the path of a URL: without a slash at the end, and with one at the beginning unless it is empty.
fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let is_valid =
        |character: char| character.is_ascii_alphanumeric() || "-._~/".contains(character);
    if !path.chars().all(is_valid) || path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("expected a path such as /pypi".to_owned());
    }
    match path {
        "" => Ok(String::new()),
        path if path.contains("//") => Err("expected a path such as /pypi".to_owned()),
        path => Ok(format!("/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_have_one_slash_at_the_beginning() {
        for (text, expected) in [("", ""), ("/", ""), ("pypi", "/pypi"), ("/a/b/", "/a/b")] {
            assert_eq!(base_path(text).unwrap(), expected);
        }
        for text in ["/a b", "/{x}", "/../a", "/a//b"] {
            assert!(base_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_includes_its_day() {
        let day = cutoff("2026-01-31").unwrap().before;
        assert_eq!(cutoff("2026-02-01T00:00:00Z").unwrap().before, day);
        assert!(cutoff("yesterday").is_err());
    }
}
