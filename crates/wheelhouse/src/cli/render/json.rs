//! Renders events as JSON lines, as documented in `docs/reference/events.md`. No event is omitted.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Event, Observer};

use super::{Renderer, Verbosity};
use crate::cli::hints::HintStyle;

/// The schema version of events.
pub(crate) const EVENT_SCHEMA: &str = "wheelhouse-event/1";

pub(crate) struct JsonRenderer<Stream> {
    stream: Mutex<Stream>,
    verbosity: Verbosity,
}

impl<Stream: Write + Send> JsonRenderer<Stream> {
    pub(crate) fn new(stream: Stream, verbosity: Verbosity) -> Self {
        Self {
            stream: Mutex::new(stream),
            verbosity,
        }
    }
}

impl<Stream: Write + Send> Observer for JsonRenderer<Stream> {
    fn wants_output(&self) -> bool {
        self.verbosity >= Verbosity::Verbose
    }

    fn observe(&self, event: &Event) {
        let line = format!("{}\n", mask(&as_json(event).to_string()));
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed pipe is not an error.
        let _ = stream
            .write_all(line.as_bytes())
            .and_then(|()| stream.flush());
    }
}

fn as_json(event: &Event) -> Value {
    let mut value = json!(event);
    value["schema"] = EVENT_SCHEMA.into();
    if let Some(hint) = value.get("hint").and_then(Value::as_str) {
        value["hint"] = HintStyle::current().hint(hint).into();
    }
    value
}

impl<Stream: Write + Send> Renderer for JsonRenderer<Stream> {
    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let json = JsonRenderer::new(Vec::new(), Verbosity::Normal);
        json.observe(&Event::warning("see https://me:secret@host/"));
        json.observe(&Event::Locked {
            packages: 2,
            kept: true,
        });
        let text = String::from_utf8(json.stream.into_inner().unwrap()).unwrap();
        insta::assert_snapshot!(text, @r#"
        {"event":"warning","message":"see https://****@host/","schema":"wheelhouse-event/1"}
        {"event":"locked","kept":true,"packages":2,"schema":"wheelhouse-event/1"}
        "#);
    }
}
