//! Files of index pages, with the malformed optional fields removed that uv rejects.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use uv_pypi_types::PypiFile;

/// Removes optional fields that uv cannot read from `file`.
///
/// # Errors
/// The reason why the file cannot be used.
pub(super) fn usable_file(file: Value) -> Result<Value, String> {
    let Value::Object(mut file) = file else {
        return Err("its entry is not an object".to_owned());
    };
    let hashes = match file.remove("hashes") {
        Some(Value::Object(hashes)) => hashes,
        _ => Map::new(),
    };
    let hashes = usable_hashes(hashes)?;
    // uv does not support SHA-1; `Distributions::artifact` reads it from the URL.
    if let (Some(sha1), Some(Value::String(url))) = (hashes.get("sha1"), file.get_mut("url"))
        && let Some(sha1) = sha1.as_str()
        && !url.contains('#')
    {
        let _ = write!(url, "#sha1={sha1}");
    }
    file.retain(|name, value| is_readable(name, value));
    file.insert("hashes".to_owned(), Value::Object(hashes));
    let file = Value::Object(file);
    match serde_json::from_value::<PypiFile>(file.clone()) {
        Ok(PypiFile {
            requires_python: Some(Err(error)),
            ..
        }) => Err(format!(
            "its Requires-Python is not valid: `{}`",
            error.line()
        )),
        Ok(_) => Ok(file),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns whether uv can read the optional field `name` with `value`.
fn is_readable(name: &str, value: &Value) -> bool {
    if matches!(name, "filename" | "url") {
        return true;
    }
    let probe = json!({"filename": "", "url": "", "hashes": {}, name: value});
    serde_json::from_value::<PypiFile>(probe).is_ok()
}

fn usable_hashes(hashes: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut usable = Map::new();
    for (name, digest) in hashes {
        let name = name.to_ascii_lowercase();
        let (Some(length), Value::String(digest)) = (digest_length(&name), digest) else {
            continue;
        };
        let is_hexadecimal = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digest.len() != length || !is_hexadecimal {
            return Err(format!("its {name} is not a digest: `{digest}`"));
        }
        usable.insert(name, Value::String(digest.to_ascii_lowercase()));
    }
    Ok(usable)
}

/// Returns the number of hexadecimal digits of a digest, if the algorithm is supported.
pub(super) fn digest_length(algorithm: &str) -> Option<usize> {
    match algorithm {
        "md5" => Some(32),
        "sha1" => Some(40),
        "sha256" => Some(64),
        "sha384" => Some(96),
        "sha512" => Some(128),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(extra: &Value) -> Value {
        let mut file = json!({"filename": "a-1.tar.gz", "url": "a-1.tar.gz", "hashes": {}});
        for (name, value) in extra.as_object().unwrap() {
            file[name] = value.clone();
        }
        file
    }

    #[test]
    fn removes_malformed_optional_fields() {
        for malformed in [
            json!({"size": null}),
            json!({"size": -1}),
            json!({"yanked": null}),
            json!({"hashes": null}),
            json!({"hashes": {"sha9": "1", "sha256": null}}),
            json!({"upload-time": "yesterday"}),
            json!({"upload-time": ""}),
            json!({"core-metadata": "yes"}),
            json!({"dist-info-metadata": []}),
            json!({"requires-python": 3}),
            json!({"gpg-sig": {"a": 1}}),
        ] {
            let usable =
                usable_file(file(&malformed)).unwrap_or_else(|why| panic!("{malformed}: {why}"));
            serde_json::from_value::<PypiFile>(usable).unwrap();
        }
    }

    #[test]
    fn rejects_unusable_file_with_reason() {
        for (malformed, word) in [
            (json!({"filename": null}), "invalid type"),
            (json!({"url": 1}), "invalid type"),
            (json!({"hashes": {"sha256": "abc"}}), "its sha256"),
            (json!({"requires-python": "new"}), "Requires-Python"),
        ] {
            let why = usable_file(file(&malformed)).unwrap_err();
            assert!(why.contains(word), "{malformed}: {why}");
        }
        assert!(usable_file(json!("a-1.tar.gz")).is_err());
    }

    #[test]
    fn adds_sha1_to_url() {
        let sha1 = "a".repeat(40);
        let usable = usable_file(file(&json!({"hashes": {"sha1": sha1}}))).unwrap();
        assert_eq!(usable["url"], format!("a-1.tar.gz#sha1={sha1}"));
    }
}
