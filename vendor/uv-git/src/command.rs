//! Credentials for the commands of git, by way of their environment.

use percent_encoding::percent_decode_str;
use url::Url;

const USERNAME: &str = "WHEELHOUSE_GIT_USERNAME";
const PASSWORD: &str = "WHEELHOUSE_GIT_PASSWORD";

/// What git asks for the credentials: a shell function that prints what is in the environment.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
    \"$WHEELHOUSE_GIT_USERNAME\" \"$WHEELHOUSE_GIT_PASSWORD\"; }; f";

/// The parts of a command of git that talks to a server with the credentials of a URL.
#[derive(Debug)]
pub struct CommandCredentials {
    /// The URL without them.
    pub url: Url,
    /// Values of `-c`.
    pub config: Vec<String>,
    /// Variables with the credentials.
    pub variables: Vec<(&'static str, String)>,
}

impl CommandCredentials {
    /// Returns the parts for `url`, unless it is not of a web server or has no credentials.
    pub fn of(url: &Url) -> Option<Self> {
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || !has_credentials {
            return None;
        }
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let variables = vec![
            (USERNAME, decode(url.username())),
            (PASSWORD, decode(url.password().unwrap_or_default())),
        ];
        let mut url = url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let root = &url[..url::Position::BeforePath];
        // The empty value drops what the user has configured, which could answer with other credentials.
        let config = vec![
            format!("credential.{root}.helper="),
            format!("credential.{root}.helper={HELPER}"),
        ];
        Some(Self {
            url,
            config,
            variables,
        })
    }

    /// Adds options and variables to `command`, before the name of its subcommand.
    pub(crate) fn apply(&self, command: &mut cargo_util::ProcessBuilder) {
        for config in &self.config {
            command.arg("-c").arg(config);
        }
        for (name, value) in &self.variables {
            command.env(name, value);
        }
    }
}
