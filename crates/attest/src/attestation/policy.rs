//! The policy for attestations: for each package, the publishers that are accepted (TOML).

use std::str::FromStr as _;

use serde::Deserialize;
use thiserror::Error;
use wheelhouse_types::PackageName;

use super::certificate::Identity;

/// The policy of `verify --attestations`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AttestationPolicy {
    /// The treatment of files without attestations.
    #[serde(default)]
    without_attestations: MissingAttestations,
    #[serde(default, rename = "package")]
    rules: Vec<PolicyRule>,
}

/// The reason why a text is not a policy. Displays as a fragment without the name of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidPolicy {
    /// The text is not UTF-8, not TOML, or has other fields.
    #[error("it is not a policy for attestations: {0}")]
    Malformed(String),
    /// The name is neither that of a package nor a start of one with `*`.
    #[error("`{0}` is neither a package name nor the start of one with `*`")]
    Name(String),
    /// The policy has no rule.
    #[error("it has no [[package]]")]
    Empty,
}

/// The treatment of files without attestations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingAttestations {
    /// They fail the check.
    #[default]
    Fail,
    /// They are reported.
    Warn,
    /// They are accepted.
    Accept,
}

/// The rule for the packages of one name or pattern.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicyRule {
    name: String,
    /// `None` accepts every publisher that the trust root confirms.
    publishers: Option<Vec<Publisher>>,
    without_attestations: Option<MissingAttestations>,
}

/// A publisher that is accepted.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Publisher {
    /// A workflow of GitHub Actions.
    GitHub {
        /// `OWNER/NAME`.
        repository: String,
        /// The name of the file in `.github/workflows`; any if it is left out.
        workflow: Option<String>,
        /// The deployment environment; any if it is left out.
        environment: Option<String>,
    },
    /// A pipeline of gitlab.com.
    GitLab {
        /// `NAMESPACE/PROJECT`.
        repository: String,
        /// The path of the file with the pipeline; any if it is left out.
        workflow: Option<String>,
        /// The deployment environment; any if it is left out.
        environment: Option<String>,
    },
    /// A service account of Google Cloud.
    Google {
        /// The address of the account.
        email: String,
    },
    /// Any identity, by the provider that authenticates it.
    Other {
        /// The URL of the provider.
        issuer: String,
        /// The name in the certificate: a URI or an address.
        subject: String,
    },
}

impl AttestationPolicy {
    /// Parses a policy.
    ///
    /// # Errors
    /// The reason why it is not a policy.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidPolicy> {
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|error| InvalidPolicy::Malformed(error.to_string()))?;
        let policy: Self = toml::from_str(text)
            .map_err(|error| InvalidPolicy::Malformed(error.to_string().trim_end().to_owned()))?;
        for rule in &policy.rules {
            let start = rule.name.strip_suffix('*').unwrap_or(&rule.name);
            let is_name = PackageName::from_str(start.trim_end_matches(['-', '_', '.'])).is_ok();
            if !is_name && rule.name != "*" {
                return Err(InvalidPolicy::Name(rule.name.escape_debug().to_string()));
            }
        }
        if policy.rules.is_empty() {
            return Err(InvalidPolicy::Empty);
        }
        Ok(policy)
    }

    /// Returns the first rule for `package`.
    #[must_use]
    pub fn rule(&self, package: &PackageName) -> Option<&PolicyRule> {
        self.rules.iter().find(|rule| rule.is_for(package))
    }

    /// Returns the treatment of the files of `package` without attestations.
    #[must_use]
    pub fn without_attestations(&self, package: &PackageName) -> MissingAttestations {
        let rule = self.rule(package);
        rule.and_then(|rule| rule.without_attestations)
            .unwrap_or(self.without_attestations)
    }
}

impl PolicyRule {
    fn is_for(&self, package: &PackageName) -> bool {
        let normalized = |text: &str| text.to_ascii_lowercase().replace(['_', '.'], "-");
        match self.name.strip_suffix('*') {
            Some(start) => package.as_ref().starts_with(&normalized(start)),
            None => PackageName::from_str(&self.name).is_ok_and(|name| name == *package),
        }
    }

    /// Returns whether the rule accepts the publisher with this identity.
    #[must_use]
    pub fn accepts(&self, identity: &Identity) -> bool {
        let publishers = self.publishers.as_ref();
        publishers
            .is_none_or(|publishers| publishers.iter().any(|publisher| publisher.is(identity)))
    }
}

impl Publisher {
    /// Returns whether the certified identity is that of this publisher.
    #[must_use]
    pub fn is(&self, identity: &Identity) -> bool {
        match self {
            Self::GitHub {
                repository,
                workflow,
                environment,
            } => Pipeline {
                issuer: "https://token.actions.githubusercontent.com",
                repository: &format!("https://github.com/{repository}"),
                directory: "/.github/workflows/",
                workflow: workflow.as_deref(),
                environment: environment.as_deref(),
            }
            .is(identity),
            Self::GitLab {
                repository,
                workflow,
                environment,
            } => Pipeline {
                issuer: "https://gitlab.com",
                repository: &format!("https://gitlab.com/{repository}"),
                directory: "//",
                workflow: workflow.as_deref(),
                environment: environment.as_deref(),
            }
            .is(identity),
            Self::Google { email } => {
                identity.issuer == "https://accounts.google.com" && identity.subject == *email
            }
            Self::Other { issuer, subject } => {
                identity.issuer == *issuer && identity.subject == *subject
            }
        }
    }
}

/// A workflow in a repository.
struct Pipeline<'a> {
    issuer: &'a str,
    /// The URL.
    repository: &'a str,
    /// Separates the repository from the workflow.
    directory: &'a str,
    workflow: Option<&'a str>,
    environment: Option<&'a str>,
}

impl Pipeline<'_> {
    fn is(&self, identity: &Identity) -> bool {
        let repository = identity.repository.as_deref().unwrap_or_default();
        // Both hosts ignore the case of names.
        identity.issuer == self.issuer
            && repository.eq_ignore_ascii_case(self.repository)
            && self.workflow.is_none_or(|workflow| {
                let url = format!("{repository}{}{workflow}", self.directory);
                let versions = [&identity.commit, &identity.reference];
                versions.into_iter().flatten().any(|version| {
                    identity.workflow.as_deref() == Some(&*format!("{url}@{version}"))
                })
            })
            && self
                .environment
                .is_none_or(|wanted| identity.environment.as_deref() == Some(wanted))
    }
}
