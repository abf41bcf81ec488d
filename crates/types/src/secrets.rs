//! Credentials in variables and options: detection, and masking in all output.
//!
//! Builds see the environment and may print it. [`mask`] and [`Masking`] replace every registered value, in the forms in which
//! programs write it.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use percent_encoding::percent_decode_str;

use crate::redact::{authority_end, redacted};

/// Stands for a credential.
const MASK: &str = "****";

/// Shorter values are part of other words too often (bytes).
const SHORTEST: usize = 6;

/// Values that are not secrets, whatever the name of the variable.
const TRIVIAL: [&str; 8] = [
    "changeme",
    "default",
    "disabled",
    "enabled",
    "example",
    "password",
    "secret",
    "undefined",
];

/// Parts of the names of variables that hold credentials.
const PARTS: [&str; 7] = [
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "CREDENTIAL",
    "APIKEY",
];

/// Ends of such names.
const ENDS: [&str; 5] = ["_KEY", "_PASS", "_PAT", "_PWD", "_AUTH"];

/// Ends of the names of variables that say where credentials are.
const PLACES: [&str; 5] = ["_FILE", "_PATH", "_DIR", "_HOME", "_SOCK"];

/// The values that are masked, the longest first.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Returns whether the variable or option `name` holds a credential, or its value contains one.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    is_secret_name(name) || !find_in_text(value).is_empty()
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    // A shell keeps its working directories there.
    let is_place =
        PLACES.iter().any(|end| name.ends_with(end)) || matches!(name.as_str(), "PWD" | "OLDPWD");
    let has_part = PARTS.iter().any(|part| name.contains(part));
    let has_end = ENDS
        .iter()
        .any(|end| name.ends_with(end) || name == end[1..]);
    !is_place && (has_part || has_end)
}

/// Returns the credentials in the value of the variable or option `name`.
#[must_use]
pub fn find_in_variable(name: &str, value: &str) -> Vec<String> {
    let mut secrets = find_in_text(value);
    if is_secret_name(name) {
        secrets.push(value.to_owned());
        // A private key is printed line by line.
        if value.trim().contains('\n') {
            secrets.extend(value.lines().map(|line| line.trim().to_owned()));
        }
    }
    secrets
}

/// Returns the credentials of the URLs in `text`, in the forms in which they are sent and shown.
#[must_use]
pub fn find_in_text(text: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut rest = text;
    while let Some(scheme_end) = rest.find("://") {
        let (scheme, after) = rest.split_at(scheme_end + 3);
        let (authority, tail) = after.split_at(authority_end(after));
        if let Some((user_info, _)) = authority.rsplit_once('@') {
            let decoded = percent_decode_str(user_info).decode_utf8_lossy();
            for user_info in [user_info, &decoded] {
                match user_info.split_once(':') {
                    Some((_, password)) => {
                        secrets.push(password.to_owned());
                        secrets.push(STANDARD.encode(user_info));
                    }
                    None if !scheme.ends_with("ssh://") => secrets.push(user_info.to_owned()),
                    None => {}
                }
            }
        }
        rest = tail;
    }
    secrets
}

/// Has `secrets` masked from now on, but for those that are short or trivial.
pub fn register(secrets: impl IntoIterator<Item = String>) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    for secret in secrets
        .into_iter()
        .filter(|secret| is_worth_masking(secret))
    {
        let quoted = serde_json::Value::from(secret.as_str()).to_string();
        known.push(quoted.trim_matches('"').to_owned());
        known.push(secret);
    }
    known.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    known.dedup();
}

fn is_worth_masking(secret: &str) -> bool {
    let first = secret.chars().next();
    let is_monotone = secret.chars().all(|one| Some(one) == first);
    let is_trivial = TRIVIAL.contains(&secret.to_ascii_lowercase().as_str());
    secret.len() >= SHORTEST && !is_monotone && !is_trivial
}

/// Returns `text` without the credentials of URLs and without what is [remembered](register).
#[must_use]
pub fn mask(text: &str) -> String {
    let mut text = redacted(text);
    for secret in &*KNOWN.read().unwrap_or_else(PoisonError::into_inner) {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), MASK);
        }
    }
    text
}

/// Returns the value of the variable or option `name` for a record: masked as a whole if `name` is that of a credential.
#[must_use]
pub fn mask_variable(name: &str, value: &str) -> String {
    if is_secret_name(name) {
        return MASK.to_owned();
    }
    mask(value)
}

/// Masks output that comes in pieces: what may be the beginning of a credential is held back until more comes.
#[derive(Debug, Default)]
pub struct Masking {
    held: Vec<u8>,
}

/// The most that is held back (bytes): longer lines are passed on in parts.
const HELD: usize = 64 << 10;

impl Masking {
    /// Takes the next piece, and returns what can be passed on.
    pub fn take<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        let Some(longest) = known.first().map(String::len) else {
            return Cow::Borrowed(bytes);
        };
        self.held.extend_from_slice(bytes);
        let line_end = self.held.iter().rposition(|byte| *byte == b'\n');
        if line_end.is_none() && self.held.len() <= HELD {
            return Cow::Borrowed(&[]);
        }
        mask_bytes(&known, &mut self.held);
        let line_end = self.held.iter().rposition(|byte| *byte == b'\n');
        let until = line_end.map_or(self.held.len().saturating_sub(longest), |end| end + 1);
        let held = self.held.split_off(until);
        Cow::Owned(std::mem::replace(&mut self.held, held))
    }

    /// Returns what is still held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        mask_bytes(&known, &mut self.held);
        std::mem::take(&mut self.held)
    }
}

/// Replaces each of `known` in `text`.
fn mask_bytes(known: &[String], text: &mut Vec<u8>) {
    for secret in known.iter().map(String::as_bytes) {
        let finder = memmem::Finder::new(secret);
        let mut from = 0;
        while let Some(at) = finder.find(&text[from..]) {
            let at = from + at;
            text.splice(at..at + secret.len(), MASK.bytes());
            from = at + MASK.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_credentials_by_name() {
        for name in [
            "MY_TOKEN",
            "npm_token",
            "PGPASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "API_KEY",
            "X_PASS",
            "client-secret",
        ] {
            assert!(is_secret(name, "x"), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "PWD",
            "OLDPWD",
            "MONKEY",
            "SSH_AUTH_SOCK",
            "TOKEN_FILE",
            "COMPASS",
            "LANG",
        ] {
            assert!(!is_secret(name, "x"), "{name}");
        }
        assert!(is_secret("DATABASE_URL", "postgres://app:x@db/app"));
        assert!(!is_secret("REPOSITORY", "ssh://git@host/r.git"));
    }

    #[test]
    fn extracts_passwords_of_urls_in_all_encodings() {
        let secrets = find_in_text("see https://user:p%40ssword@host/ and https://ghp_token@host/");
        for secret in ["p%40ssword", "p@ssword", "ghp_token"] {
            assert!(secrets.iter().any(|one| one == secret), "{secrets:?}");
        }
        assert!(secrets.contains(&STANDARD.encode("user:p@ssword")));
    }

    #[test]
    fn masks_variables_for_records() {
        assert_eq!(mask_variable("API_TOKEN", "x"), "****");
        let value = "-I/usr/include";
        assert_eq!(mask_variable("CFLAGS", value), value);
        let masked = mask_variable("REPOSITORY", "https://user:pa55word@host/a");
        assert!(!masked.contains("pa55word"), "{masked}");
    }

    #[test]
    fn masks_registered_secrets_in_any_chunks() {
        let secret = "tests-of-masking-5ecret";
        register([secret.to_owned(), "short".to_owned(), "aaaaaaaa".to_owned()]);
        let text = format!("it is {secret}, not short or aaaaaaaa\n{secret}");
        let masked = "it is ****, not short or aaaaaaaa\n****";
        assert_eq!(mask(&text), masked);
        for size in 1..text.len() {
            let mut masking = Masking::default();
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                out.extend_from_slice(&masking.take(piece));
            }
            out.extend(masking.finish());
            assert_eq!(String::from_utf8(out).unwrap(), masked, "{size}");
        }
        // An unterminated line is passed on in parts, which may split a credential.
        for start in HELD - secret.len()..=HELD + 1 {
            let mut masking = Masking::default();
            let mut out = masking.take(&vec![b'x'; start]).into_owned();
            out.extend_from_slice(&masking.take(secret.as_bytes()));
            out.extend_from_slice(&masking.take(b"x"));
            out.extend(masking.finish());
            assert!(out.ends_with(b"x****x"), "{start}");
        }
    }
}
