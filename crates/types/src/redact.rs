//! Hides credentials in anything that may be shown or written.

use url::Url;

/// Returns `text` with the user information of every URL in it, and the values of query parameters that hold credentials
/// (`?token=`), replaced by `****`.
///
/// Works on whole URLs and on texts that contain some: `pip install https://user:secret@host/`. A password that should
/// have been escaped and was not (`https://user:se/cret@host/`) is hidden as well, though that is not a valid URL.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme_end) = rest.find("://") {
        let (before, after) = rest.split_at(scheme_end + 3);
        out.push_str(before);
        let (authority, tail) = after.split_at(authority_end(after));
        match authority.rsplit_once('@') {
            // A bare user name such as `git@` in `ssh://git@host` is not a secret.
            Some((user, host)) if user.contains(':') || !is_ssh(before) => {
                out.push_str("****@");
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = push_query(&mut out, tail);
    }
    out.push_str(rest);
    without_bare_credentials(out)
}

/// Appends the rest of the URL with which `tail` begins, up to and with its query, to `out`. Returns what follows.
fn push_query<'a>(out: &mut String, tail: &'a str) -> &'a str {
    let ends = |one: char| one.is_whitespace() || "#\"'<>`\\()".contains(one);
    let (url, rest) = tail.split_at(tail.find(ends).unwrap_or(tail.len()));
    let Some((path, query)) = url.split_once('?') else {
        out.push_str(url);
        return rest;
    };
    out.push_str(path);
    let mut before = '?';
    for pair in query.split('&') {
        out.push(before);
        before = '&';
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret(name) => {
                out.push_str(name);
                out.push_str("=****");
            }
            _ => out.push_str(pair),
        }
    }
    rest
}

/// Returns whether the query parameter `name` holds a credential, such as a token or the signature of a presigned URL.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = [
        "token",
        "secret",
        "passw",
        "signature",
        "credential",
        "apikey",
        "api_key",
        "api-key",
    ];
    let names = ["auth", "authorization", "key", "pwd", "sig"];
    parts.iter().any(|part| name.contains(part)) || names.contains(&&*name)
}

/// Hides the credentials of words such as `user:password@host/name`, as people write registries, and of URLs whose scheme
/// is missing or mistyped, as well where they have become part of a path.
fn without_bare_credentials(text: String) -> String {
    if !text.contains('@') {
        return text;
    }
    let is_end = |one: char| one.is_whitespace() || "\"'<>`".contains(one);
    let words = text.split_inclusive(is_end);
    words.map(without_bare_users).collect()
}

fn without_bare_users(word: &str) -> String {
    let parts = word.split('/').enumerate();
    let is_path = word.contains('/');
    let parts = parts.map(|(position, part)| {
        let is_registry = position == 0 && is_path;
        without_bare_user(part, is_registry).unwrap_or_else(|| part.to_owned())
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Returns `part` of a word, what is between two slashes, without credentials if it has some. What follows them has to look
/// like a host, unless `any_host` will do.
fn without_bare_user(part: &str, any_host: bool) -> Option<String> {
    let (user, host) = part.rsplit_once('@')?;
    let (name, password) = user.split_once(':')?;
    let is_other = matches!(name, "file" | "mailto" | "pkg" | "");
    let is_host = (any_host && !host.is_empty()) || is_host(host);
    (!is_other && !password.is_empty() && is_host).then(|| format!("****@{host}"))
}

/// Returns whether `text` begins with a host, and not with a version: it has a port, four numbers, or ends with letters.
fn is_host(text: &str) -> bool {
    let is_end = |one: char| !(one.is_ascii_alphanumeric() || "-.:".contains(one));
    let text = &text[..text.find(is_end).unwrap_or(text.len())];
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|one| one.is_ascii_digit());
    let labels: Vec<&str> = host.split('.').collect();
    let is_name = labels.last().is_some_and(|last| {
        labels.len() > 1 && last.len() > 1 && last.bytes().all(|one| one.is_ascii_alphabetic())
    });
    let is_address = labels.len() == 4 && labels.iter().all(|label| is_number(label));
    is_number(port) || is_name || is_address || host == "localhost"
}

/// Returns the end (bytes) of the user information and host that begin `text`.
pub(crate) fn authority_end(text: &str) -> usize {
    let until = |ends: fn(char) -> bool| text.find(ends).unwrap_or(text.len());
    // A quotation mark may be in a password.
    let end = until(|one| one.is_whitespace() || "/?#".contains(one));
    if text[..end].contains('@') {
        return end;
    }
    let end = until(|one| one.is_whitespace() || "/?#\"'<>`".contains(one));
    if let Some((_, port)) = text[..end].split_once(':')
        && !port.is_empty()
        && !port.bytes().all(|byte| byte.is_ascii_digit())
    {
        // The text after the colon is not a port, so it is the beginning of a password.
        let word = until(|one| one.is_whitespace() || "\"'<>`".contains(one));
        if let Some(at) = text[..word].rfind('@') {
            let host =
                text[at..].find(|one: char| one.is_whitespace() || "/?#\"'<>`".contains(one));
            return host.map_or(text.len(), |host| at + host);
        }
    }
    end
}

fn is_ssh(before: &str) -> bool {
    before.ends_with("ssh://")
}

/// Returns whether the query of `url` holds credentials.
#[must_use]
pub fn has_query_secrets(url: &Url) -> bool {
    let mut pairs = url.query().unwrap_or_default().split('&');
    pairs.any(is_secret_pair)
}

fn is_secret_pair(pair: &str) -> bool {
    is_secret(pair.split('=').next().unwrap_or_default())
}

/// Returns `url` without user name and password (a bare SSH user stays), and without the parameters of its query that hold
/// credentials.
#[must_use]
pub fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    if has_query_secrets(&url) {
        let pairs = url.query().unwrap_or_default().split('&');
        let others: Vec<&str> = pairs.filter(|pair| !is_secret_pair(pair)).collect();
        let others = others.join("&");
        url.set_query((!others.is_empty()).then_some(&others));
    }
    if url.scheme().ends_with("ssh") && url.password().is_none() {
        return url;
    }
    // Both fail only for URLs that cannot have credentials at all.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_credentials_anywhere_in_text() {
        assert_eq!(redacted("https://a:b@h/x"), "https://****@h/x");
        assert_eq!(redacted("https://token@h/x"), "https://****@h/x");
        assert_eq!(redacted("see https://a:p@ss@h."), "see https://****@h.");
        for mark in ["'", "\"", "`", "<", ">"] {
            assert_eq!(
                redacted(&format!("https://a:p{mark}s@h/x")),
                "https://****@h/x"
            );
            let quoted = format!("{mark}https://h{mark} a@b {mark}https://a:b@h/x{mark}");
            let hidden = format!("{mark}https://h{mark} a@b {mark}https://****@h/x{mark}");
            assert_eq!(redacted(&quoted), hidden);
        }
        assert_eq!(
            redacted("x @ git+ssh://git@h/r.git"),
            "x @ git+ssh://git@h/r.git"
        );
        assert_eq!(redacted("no url: a@b"), "no url: a@b");
        for mark in ["/", "#", "?"] {
            assert_eq!(
                redacted(&format!("`https://a:p{mark}s@s@h/x` is not a URL")),
                "`https://****@h/x` is not a URL"
            );
        }
        assert_eq!(
            redacted("'user:secret@h:5000/a/b:1' is not a name"),
            "'****@h:5000/a/b:1' is not a name"
        );
        for (text, hidden) in [
            ("http:/a:secret@127.0.0.1:1/x", "http:/****@127.0.0.1:1/x"),
            (
                "file:///srv/a:secret@h.example/simple.",
                "file:///srv/****@h.example/simple.",
            ),
            ("`a:secret@localhost`", "`****@localhost`"),
            ("a:secret@h:80", "****@h:80"),
        ] {
            assert_eq!(redacted(text), hidden);
        }
        for url in [
            "https://h:8080/a@1.0",
            "https://h/a:b@1.0",
            "h:5000/name@sha256:0123",
            "git@h:a/b",
            "a:b@c",
            "a:b@1.0",
            "mailto:me@h.example",
        ] {
            assert_eq!(redacted(url), url);
        }
    }

    #[test]
    fn removes_credentials_of_url() {
        let url = Url::parse("https://a:b@h/x?y").unwrap();
        assert_eq!(without_credentials(&url).as_str(), "https://h/x?y");
        for (url, without) in [
            ("https://h/x?token=a&y=1#z", "https://h/x?y=1#z"),
            ("https://h/x?sig=a%2F", "https://h/x"),
            ("https://h/x?author=a&page=2", "https://h/x?author=a&page=2"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(without_credentials(&url).as_str(), without);
        }
    }

    #[test]
    fn hides_credentials_in_queries() {
        for (text, hidden) in [
            (
                "see https://h/x?y=1&token=abc#f, or (http://i?X-Amz-Signature=0a)",
                "see https://h/x?y=1&token=****#f, or (http://i?X-Amz-Signature=****)",
            ),
            ("'https://h/?job_token=a'", "'https://h/?job_token=****'"),
            (
                "{\"url\": \"https://h/?key=a\"}",
                "{\"url\": \"https://h/?key=****\"}",
            ),
            (
                "https://h/?author=a&signature=",
                "https://h/?author=a&signature=",
            ),
            ("is it token=1?", "is it token=1?"),
        ] {
            assert_eq!(redacted(text), hidden);
        }
    }
}
