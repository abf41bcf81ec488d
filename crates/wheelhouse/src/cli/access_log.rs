//! The access log on stdout, written by a thread of its own so that a slow reader delays no request.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use jiff::Timestamp;
use serde_json::json;
use wheelhouse_serve::{AccessLog, AccessRecord};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Kind, Result};

use crate::cli::args::AccessLogFormat;

/// The number of lines that may wait for a slow reader; further ones are lost.
const WAITING: usize = 65_536;

/// Starts the log. Returns `None` if it is off.
///
/// # Errors
/// `Input` if no thread can be started.
pub(crate) fn start(format: AccessLogFormat) -> Result<Option<AccessLog>> {
    let render: fn(&AccessRecord) -> String = match format {
        AccessLogFormat::Plain => plain,
        AccessLogFormat::Json => as_json,
        AccessLogFormat::Off => return Ok(None),
    };
    let (sender, receiver) = sync_channel(WAITING);
    std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || write(&receiver))
        .context(Kind::Input, || "failed to start the access log".to_owned())?;
    Ok(Some(Arc::new(move |record| send(&sender, render(record)))))
}

fn send(sender: &SyncSender<String>, line: String) {
    if let Err(TrySendError::Full(_)) = sender.try_send(line) {
        tracing::debug!("a line of the access log is lost");
    }
}

/// Writes lines, and flushes when none waits.
fn write(lines: &Receiver<String>) {
    let mut output = BufWriter::new(std::io::stdout());
    while let Ok(first) = lines.recv() {
        // A closed pipe is not an error, and other errors cannot be reported.
        let _ = writeln!(output, "{}", mask(&first));
        while let Ok(line) = lines.try_recv() {
            let _ = writeln!(output, "{}", mask(&line));
        }
        let _ = output.flush();
    }
}

/// Formats a record in the common log format, with the user agent and the duration.
fn plain(record: &AccessRecord) -> String {
    let client = record
        .client
        .map_or_else(|| "-".to_owned(), |client| client.to_string());
    let time = Timestamp::try_from(record.time).unwrap_or_default();
    let mut line = format!("{client} - ");
    escape(&mut line, record.user.as_deref().unwrap_or("-"));
    let _ = write!(
        line,
        " [{}] \"{} ",
        time.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        record.method
    );
    escape(&mut line, &record.path);
    let _ = write!(
        line,
        " {:?}\" {} {} \"",
        record.version,
        record.status.as_u16(),
        record.bytes
    );
    let agent = record.user_agent.as_deref().unwrap_or("-");
    // pip describes its machine in an object of some 400 characters.
    let agent = agent.split(" {").next().unwrap_or(agent);
    escape(&mut line, agent);
    let milliseconds = record.duration.as_secs_f64() * 1000.0;
    let _ = write!(line, "\" {milliseconds:.1}ms");
    if !record.complete {
        line.push_str(" aborted");
    }
    line
}

fn as_json(record: &AccessRecord) -> String {
    let time = Timestamp::try_from(record.time).unwrap_or_default();
    json!({
        "time": time.to_string(),
        "client": record.client.map(|client| client.to_string()),
        "user": record.user,
        "method": record.method.as_str(),
        "path": record.path,
        "protocol": format!("{:?}", record.version),
        "status": record.status.as_u16(),
        "bytes": record.bytes,
        "duration": record.duration.as_secs_f64(),
        "user-agent": record.user_agent,
        "complete": record.complete,
    })
    .to_string()
}

/// Appends `text` so that it can neither end a quoted field nor control a terminal.
fn escape(line: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            ' '..='~' => line.push(character),
            other => {
                let _ = write!(line, "{}", other.escape_unicode());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn lines_cannot_be_forged() {
        let record = AccessRecord {
            time: UNIX_EPOCH + Duration::from_secs(1_790_000_000),
            client: Some([192, 0, 2, 1].into()),
            user: Some("me\"".to_owned()),
            method: "GET".parse().unwrap(),
            path: "/simple/?a=%0a".to_owned(),
            version: hyper::Version::HTTP_11,
            status: hyper::StatusCode::OK,
            bytes: 12,
            duration: Duration::from_micros(1500),
            user_agent: Some("a\nb\" \u{1b}[0m {\"ci\": null}".to_owned()),
            complete: true,
        };
        insta::assert_snapshot!(plain(&record), @r#"192.0.2.1 - me\" [21/Sep/2026:14:13:20 +0000] "GET /simple/?a=%0a HTTP/1.1" 200 12 "a\u{a}b\" \u{1b}[0m" 1.5ms"#);
        let parsed: serde_json::Value = serde_json::from_str(&as_json(&record)).unwrap();
        assert_eq!(parsed["user-agent"], "a\nb\" \u{1b}[0m {\"ci\": null}");
        assert!(!as_json(&record).contains('\n'));
    }
}
