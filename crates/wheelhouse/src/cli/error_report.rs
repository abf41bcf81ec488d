//! Errors as messages: a sentence, its detail, and a hint.
//!
//! Masks credentials, wherever the words of the error come from.

use std::fmt::Write as _;

use serde_json::json;
use wheelhouse_types::secrets::mask;
use wheelhouse_types::{Error, Kind};

use crate::cli::hints::HintStyle;
use crate::cli::render::EVENT_SCHEMA;
use crate::cli::style;
use crate::cli::{exit_code, output};

/// Writes an error to standard error or, with `json`, as a document to standard output.
pub(crate) fn report(error: &Error, json: bool) {
    let dialect = HintStyle::current();
    if json {
        output::data(&format!("{}\n", as_json(error, dialect)));
    } else {
        output::status(&as_text(error, dialect));
    }
}

/// Formats the error as lines without a final line break.
fn as_text(error: &Error, dialect: HintStyle) -> String {
    if error.kind() == Kind::Interrupted {
        return "interrupted".to_owned();
    }
    let mut text = style::labeled(style::ERROR, "error", &mask(&error.display_chain()));
    if let Some(detail) = dialect.detail(error) {
        for line in mask(&detail).trim_end().lines() {
            let _ = write!(text, "\n{}", style::indented(line));
        }
    }
    if let Some(hint) = hint(error, dialect) {
        let hint = style::labeled(style::HINT, "hint", &mask(&hint));
        let _ = write!(text, "\n{hint}");
    }
    text
}

fn hint(error: &Error, dialect: HintStyle) -> Option<String> {
    error.hint().and_then(|hint| dialect.hint(hint))
}

fn as_json(error: &Error, dialect: HintStyle) -> serde_json::Value {
    json!({
        "schema": EVENT_SCHEMA,
        "event": "error",
        "kind": exit_code::name(error.kind()),
        "code": exit_code::code(error.kind()),
        "message": mask(&error.display_chain()),
        "detail": dialect.detail(error).as_deref().map(mask),
        "hint": hint(error, dialect).as_deref().map(mask),
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
        let text = as_text(&example(), HintStyle::CommandLine);
        let text = anstream::adapter::strip_str(&text).to_string();
        insta::assert_snapshot!(text, @"
        error: failed to build example==1.0: https://****@host/ said no
          line 1

          line 3
        hint: Ask https://****@host/ again.
        ");
    }

    #[test]
    fn programs_get_the_same() {
        let json = as_json(&example(), HintStyle::CommandLine);
        assert_eq!(json["kind"], "build");
        assert_eq!(json["code"], 5);
        assert_eq!(json["hint"], "Ask https://****@host/ again.");
        assert!(!json.to_string().contains("secret"));
    }

    #[test]
    fn an_interruption_is_one_word() {
        let interrupted = Error::new(Kind::Interrupted, "interrupted");
        assert_eq!(as_text(&interrupted, HintStyle::CommandLine), "interrupted");
    }

    #[test]
    fn a_build_by_s2i_shows_the_log_and_names_variables() {
        let error = Error::new(Kind::Build, "failed to build example==1.0")
            .with_detail("line 3\nthe whole log: /cache/logs/example.log")
            .with_log("line 1\n\u{1b}[31mline 2\u{1b}[0m\u{1b}]0;title\u{7}\n10%\r100%\r\nline\u{9b} 3\t.")
            .with_hint("Give it more time with --build-timeout SECONDS. Or ask with --proxy URL.");
        let text = anstream::adapter::strip_str(&as_text(&error, HintStyle::S2iBuild)).to_string();
        insta::assert_snapshot!(text, @"
        error: failed to build example==1.0
          line 1
          line 2
          100%
          line 3	.
        hint: Or ask with PIP_PROXY=URL.
        ");
        let json = as_json(&error, HintStyle::S2iBuild);
        assert_eq!(json["detail"], "line 1\nline 2\n100%\nline 3\t.");
        assert_eq!(json["hint"], "Or ask with PIP_PROXY=URL.");
        let useless = Error::new(Kind::Fetch, "no").with_hint("Run once without --offline.");
        assert!(as_text(&useless, HintStyle::S2iBuild).ends_with(" no"));
        assert!(as_json(&useless, HintStyle::S2iBuild)["hint"].is_null());
    }
}
