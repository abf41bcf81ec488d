//! Hides credentials in anything that may be shown or written.

use url::Url;

/// Returns `text` with the user information of every URL in it replaced by `****`.
///
/// Works on whole URLs and on texts that contain some: `pip install https://user:secret@host/`. A password that should
/// have been escaped and was not (`https://user:se/cret@host/`) is hidden as well, though that is no URL.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme_end) = rest.find("://") {
        let (before, after) = rest.split_at(scheme_end + 3);
        out.push_str(before);
        let (authority, tail) = after.split_at(authority_end(after));
        match authority.rsplit_once('@') {
            // A bare user name such as `git@` in `ssh://git@host` is no secret.
            Some((user, host)) if user.contains(':') || !is_ssh(before) => {
                out.push_str("****@");
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    without_bare_credentials(out)
}

/// Hides the credentials of words such as `user:password@host/name`, as people write registries.
fn without_bare_credentials(text: String) -> String {
    if !text.contains('@') {
        return text;
    }
    let is_end = |one: char| one.is_whitespace() || "\"'<>`".contains(one);
    let words = text.split_inclusive(is_end);
    words
        .map(|word| without_bare_user(word).unwrap_or_else(|| word.to_owned()))
        .collect()
}

fn without_bare_user(word: &str) -> Option<String> {
    let (user, rest) = word.rsplit_once('@')?;
    let (name, password) = user.split_once(':')?;
    let is_path = user.contains('/') || matches!(name, "file" | "mailto" | "pkg");
    let (host, _) = rest.split_once('/')?;
    let is_bare = !is_path && !name.is_empty() && !password.is_empty() && !host.is_empty();
    is_bare.then(|| format!("****@{rest}"))
}

/// Where the user information and host end that begin `text` (bytes).
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
        // What follows the colon is no port, so it is the beginning of a password.
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

/// Returns `url` without user name and password (a bare SSH user stays).
#[must_use]
pub fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
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
    fn credentials_are_hidden_wherever_they_stand() {
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
                redacted(&format!("`https://a:p{mark}s@s@h/x` is no URL")),
                "`https://****@h/x` is no URL"
            );
        }
        assert_eq!(
            redacted("'user:secret@h:5000/a/b:1' is no name"),
            "'****@h:5000/a/b:1' is no name"
        );
        for url in [
            "https://h:8080/a@1.0",
            "https://h/a:b@1.0",
            "h:5000/name@sha256:0123",
            "git@h:a/b",
            "a:b@c",
        ] {
            assert_eq!(redacted(url), url);
        }
    }

    #[test]
    fn a_url_loses_its_credentials() {
        let url = Url::parse("https://a:b@h/x?y").unwrap();
        assert_eq!(without_credentials(&url).as_str(), "https://h/x?y");
    }
}
