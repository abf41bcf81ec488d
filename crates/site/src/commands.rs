//! The commands that install from a wheelhouse, ready to be copied into a shell or a file.

use std::borrow::Cow;

use url::{Host, Url};

/// The URL under which a client reaches the server, for the commands that a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkContext {
    base: Option<Url>,
}

/// The place of a wheelhouse that a report describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportLocation<'a> {
    /// A directory, as the user names it.
    Directory(&'a str),
    /// An image, as skopeo names it.
    Image(&'a str),
}

/// The text of a command or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstallCommand {
    /// Fits into the id of an element.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

impl LinkContext {
    /// Creates the context of `base_url`, the URL of the page `/` as the client sees it: `https://host/pypi`. It may come
    /// from the headers of a request. Text that is not an `http` or `https` URL gives commands with a placeholder.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        let base = Url::parse(base_url).ok().and_then(|mut url| {
            let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
            url.set_query(None);
            url.set_fragment(None);
            // Credentials must not be copied from page to page.
            let is_clean = url.set_username("").is_ok() && url.set_password(None).is_ok();
            (is_web && is_clean).then_some(url)
        });
        Self { base }
    }

    fn index(&self) -> String {
        let base = self.base.as_ref().map_or("https://HOST", Url::as_str);
        format!("{}/simple/", base.trim_end_matches('/'))
    }

    /// Returns the host for `--trusted-host`, without which pip takes no packages over plain HTTP.
    fn untrusted_host(&self) -> Option<String> {
        let url = self.base.as_ref().filter(|url| url.scheme() == "http")?;
        let is_local = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let host = url.host_str().filter(|_| !is_local)?;
        Some(match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    }

    /// Returns the commands that install `requirement`, or the requirements of an application, from the server.
    pub(crate) fn commands(&self, requirement: Option<&str>) -> Vec<InstallCommand> {
        let index = self.index();
        let quoted = quote(&index);
        let what = subject(requirement);
        let host = self.untrusted_host();
        let trust = host.as_deref().map_or_else(String::new, |host| {
            format!(" --trusted-host {}", quote(host))
        });
        let trusted = host.map_or_else(String::new, |host| format!("\nPIP_TRUSTED_HOST={host}"));
        commands([
            format!("pip install --index-url {quoted}{trust} {what}"),
            format!("uv pip install --default-index {quoted} {what}"),
            format!("RUN pip install --no-cache-dir --index-url {quoted}{trust} {what}"),
            format!("PIP_INDEX_URL={index}{trusted}"),
        ])
    }
}

impl ReportLocation<'_> {
    /// Returns the commands that install from the wheelhouse without a server.
    pub(crate) fn commands(self) -> Vec<InstallCommand> {
        let what = subject(None);
        let mount = "--mount=type=bind,source=requirements.txt,target=requirements.txt";
        match self {
            Self::Directory(directory) => {
                let quoted = quote(directory);
                commands([
                    format!("pip install --no-index --find-links {quoted} {what}"),
                    format!("uv pip install --no-index --find-links {quoted} {what}"),
                    format!(
                        "RUN --mount=type=bind,source={quoted},target=/wheels \\\n    {mount} \\\n    \
                         pip install --no-index --find-links /wheels {what}"
                    ),
                    format!("PIP_NO_INDEX=1\nPIP_FIND_LINKS={directory}"),
                ])
            }
            Self::Image(image) => {
                let extract = format!("wheelhouse extract {} wheelhouse", quote(image));
                let reference = image.strip_prefix("docker://").unwrap_or(image);
                let from = quote(reference);
                commands([
                    format!("{extract}\npip install --no-index --find-links wheelhouse {what}"),
                    format!("{extract}\nuv pip install --no-index --find-links wheelhouse {what}"),
                    format!(
                        "RUN --mount=type=bind,from={from},source=/opt/app-root/wheelhouse,target=/wheels \\\n    \
                         {mount} \\\n    pip install --no-index --find-links /wheels {what}"
                    ),
                    "PIP_NO_INDEX=1\nPIP_FIND_LINKS=wheelhouse".to_owned(),
                ])
            }
        }
    }
}

fn subject(requirement: Option<&str>) -> Cow<'_, str> {
    requirement.map_or(Cow::Borrowed("-r requirements.txt"), quote)
}

fn commands(texts: [String; 4]) -> Vec<InstallCommand> {
    let titles = [
        ("pip", "pip"),
        ("uv", "uv"),
        ("dockerfile", "Dockerfile"),
        ("s2i", ".s2i/environment"),
    ];
    let titled = titles.into_iter().zip(texts);
    titled
        .map(|((id, title), text)| InstallCommand {
            id,
            title,
            text: text.replace(
                |character: char| character.is_control() && character != '\n',
                "",
            ),
        })
        .collect()
}

/// Quotes `text` for a POSIX shell if it has characters that a shell interprets.
fn quote(text: &str) -> Cow<'_, str> {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(base_url: &str, requirement: Option<&str>) -> Vec<String> {
        let commands = LinkContext::new(base_url).commands(requirement);
        commands.into_iter().map(|command| command.text).collect()
    }

    #[test]
    fn commands_name_index_and_requirement() {
        assert_eq!(
            texts("https://wheels.example/pypi", Some("six==1.17.0")),
            [
                "pip install --index-url https://wheels.example/pypi/simple/ six==1.17.0",
                "uv pip install --default-index https://wheels.example/pypi/simple/ six==1.17.0",
                "RUN pip install --no-cache-dir --index-url https://wheels.example/pypi/simple/ six==1.17.0",
                "PIP_INDEX_URL=https://wheels.example/pypi/simple/",
            ]
        );
    }

    #[test]
    fn plain_http_needs_trust() {
        let commands = texts("http://wheels:8080/", None);
        assert_eq!(
            commands[0],
            "pip install --index-url http://wheels:8080/simple/ --trusted-host wheels:8080 -r requirements.txt"
        );
        assert_eq!(
            commands[3],
            "PIP_INDEX_URL=http://wheels:8080/simple/\nPIP_TRUSTED_HOST=wheels:8080"
        );
        for local in [
            "http://localhost:8080",
            "http://127.0.0.1:8080",
            "http://[::1]:80",
        ] {
            assert!(!texts(local, None)[0].contains("trusted"), "{local}");
        }
    }

    #[test]
    fn hostile_urls_cannot_add_commands() {
        for base in [
            "http://host/$(reboot)",
            "http://host/;reboot",
            "http://host/`reboot`",
            "http://host/'\nreboot",
        ] {
            let command = texts(base, Some("six==1!2.0")).swap_remove(0);
            let outside: String = command.split('\'').step_by(2).collect();
            assert!(
                !outside.contains([';', '$', '`', '(', '&', '|']),
                "{command}"
            );
            assert!(command.ends_with("'six==1!2.0'"), "{command}");
            assert!(!command.contains('\n'), "{command}");
        }
        assert!(texts("javascript:alert(1)", None)[0].contains("https://HOST/simple/"));
        assert!(texts("https://me:secret@host/?q#f", None)[0].contains("https://host/simple/"));
    }

    #[test]
    fn report_commands_need_no_server() {
        let commands = ReportLocation::Directory("my wheels").commands();
        assert_eq!(
            commands[0].text,
            "pip install --no-index --find-links 'my wheels' -r requirements.txt"
        );
        let commands = ReportLocation::Image("docker://registry.example/wheels:1").commands();
        assert!(commands[0].text.starts_with("wheelhouse extract docker://"));
        assert!(commands[2].text.contains("from=registry.example/wheels:1,"));
    }
}
