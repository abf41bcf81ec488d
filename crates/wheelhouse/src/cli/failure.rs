//! Errors as messages: a sentence, its detail, and what to do.
//!
//! Responsible for their form, and for the last look for credentials. Never words an error.

use std::fmt::Write as _;

use serde_json::json;
use wheelhouse_model::redact::redacted;
use wheelhouse_model::{Error, Kind};

use super::render::EVENT_SCHEMA;
use super::style;
use super::{exit, streams};

/// Tells the user of a failure.
pub(crate) fn report(error: &Error, json: bool) {
    if json {
        streams::data(&format!("{}\n", as_json(error)));
    } else {
        streams::talk(&as_text(error));
    }
}

/// The message, as lines without an end.
pub(crate) fn as_text(error: &Error) -> String {
    if error.kind() == Kind::Interrupted {
        return "interrupted".to_owned();
    }
    let mut text = style::labelled(style::ERROR, "error", &redacted(&error.sentence()));
    if let Some(detail) = error.detail() {
        for line in redacted(detail).trim_end().lines() {
            let _ = write!(text, "\n{}", style::indented(line));
        }
    }
    if let Some(hint) = error.hint() {
        let hint = style::labelled(style::HINT, "hint", &redacted(hint));
        let _ = write!(text, "\n{hint}");
    }
    text
}

fn as_json(error: &Error) -> serde_json::Value {
    json!({
        "schema": EVENT_SCHEMA,
        "event": "error",
        "kind": exit::name(error.kind()),
        "code": exit::code(error.kind()),
        "message": redacted(&error.sentence()),
        "detail": error.detail().map(redacted),
        "hint": error.hint().map(redacted),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Error {
        let cause = Error::new(Kind::Build, "https://me:secret@host/ said no")
            .with_hint("Ask https://me:secret@host/ again.")
            .with_detail("line 1\n\nline 3\n");
        Error::new(Kind::Build, "failed to build example==1.0").caused_by(cause)
    }

    #[test]
    fn a_message_has_detail_and_hint_once_each() {
        let text = anstream::adapter::strip_str(&as_text(&example())).to_string();
        insta::assert_snapshot!(text, @"
        error: failed to build example==1.0: https://****@host/ said no
          line 1

          line 3
        hint: Ask https://****@host/ again.
        ");
    }

    #[test]
    fn programs_get_the_same() {
        let json = as_json(&example());
        assert_eq!(json["kind"], "build");
        assert_eq!(json["code"], 5);
        assert_eq!(json["hint"], "Ask https://****@host/ again.");
        assert!(!json.to_string().contains("secret"));
    }

    #[test]
    fn an_interruption_is_one_word() {
        assert_eq!(
            as_text(&Error::new(Kind::Interrupted, "interrupted")),
            "interrupted"
        );
    }
}
