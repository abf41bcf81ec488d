//! `[tool.wheelhouse]` of a `pyproject.toml`: the options of a project.
//!
//! The table of keys ([`KEYS`]) is also the source of documentation and schema. Precedence is implemented in
//! `pip_config`.

use std::path::{Path, PathBuf};

use toml::Value;
use wheelhouse_types::{Error, Kind, Result, names_image, toml_reader};

use crate::file_source::{FileSource, ReadSource};
use crate::setting::{
    ConfigurationFile, ConfigurationLevel, ConfigurationOrigin, FileStatus, OptionKind, Setting,
    SettingStatus,
};
use wheelhouse_types::image_location::ImageLocation;

pub mod reference;
#[cfg(test)]
mod tests;

/// The name of the file.
pub const FILE_NAME: &str = "pyproject.toml";

const TABLE: &str = "tool.wheelhouse";

/// The table in it that configures a farm, which is read by the commands that use one.
const FARM: &str = "farm";

/// A key of the table.
#[derive(Clone, Copy)]
struct Key {
    /// The name of the corresponding command line option, without hyphens.
    name: &'static str,
    aliases: &'static [&'static str],
    kind: ValueKind,
    /// The name of the option in the settings, if it differs.
    option: Option<&'static str>,
    /// The description for documentation and schema.
    does: &'static str,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    Flag,
    Text,
    /// A date, a time or a duration.
    Date,
    /// An integer with this minimum.
    Number(u32),
    Seconds,
    Path,
    /// A path if it contains a slash, otherwise the name of a program.
    Program,
    /// A URL, a path or an image.
    Location,
    Texts,
    Locations,
    Choice(&'static [&'static str]),
    /// HTTP status codes.
    Codes(&'static [i64]),
    /// A table of strings, or strings of the form `KEY=VALUE`.
    Pairs,
}

const fn key(name: &'static str, kind: ValueKind, does: &'static str) -> Key {
    Key {
        name,
        aliases: &[],
        kind,
        option: None,
        does,
    }
}

const fn aliased(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: ValueKind,
    does: &'static str,
) -> Key {
    Key {
        aliases,
        ..key(name, kind, does)
    }
}

const fn known_as(option: &'static str, key: Key) -> Key {
    Key {
        option: Some(option),
        ..key
    }
}

static KEYS: &[Key] = {
    use ValueKind::{
        Choice, Codes, Date, Flag, Location, Locations, Number, Pairs, Path, Program, Seconds,
        Text, Texts,
    };
    &[
        key(
            "all-releases",
            Texts,
            "Packages of which pre-releases are allowed, or `:all:`.",
        ),
        key(
            "allow-network",
            Texts,
            "Packages whose builds have network access.",
        ),
        key(
            "allow-read",
            Locations,
            "Paths that builds may read, besides those of the system.",
        ),
        key(
            "allow-write",
            Texts,
            "Paths that the builds of packages may write, as `PACKAGE:PATH`.",
        ),
        aliased(
            "build-constraint",
            &["build-constraints"],
            Locations,
            "Files with constraints on the versions of build dependencies.",
        ),
        key("build-env", Texts, "Variables that builds inherit."),
        key(
            "build-timeout",
            Seconds,
            "The time limit for each call of a build backend.",
        ),
        key(
            "cache-fetched",
            Flag,
            "Shares downloaded files, too, not only built wheels.",
        ),
        key(
            "cache-from",
            Texts,
            "Shared caches that are read, such as `s3://BUCKET/PREFIX`.",
        ),
        key(
            "cache-key-closure",
            Flag,
            "Shares only builds whose build requirements are pinned.",
        ),
        key(
            "cache-timeout",
            Seconds,
            "The time that a shared cache may take to respond.",
        ),
        key(
            "cache-to",
            Text,
            "The shared cache that is read and written.",
        ),
        key(
            "cache-verify-key",
            Path,
            "The public key that must have signed what a shared cache has.",
        ),
        key("cert", Path, "Trusted certificates (PEM)."),
        key(
            "client-cert",
            Path,
            "A client certificate and its key (PEM).",
        ),
        key(
            "config-settings",
            Pairs,
            "Settings for build backends, as a table or as a list of `[PACKAGE:]KEY=VALUE`.",
        ),
        aliased(
            "constraint",
            &["constraints"],
            Locations,
            "Files with constraints on versions.",
        ),
        known_as(
            "uploaded-prior-to",
            key(
                "exclude-newer",
                Date,
                "Ignores files that were uploaded after this date, time or duration.",
            ),
        ),
        key("extra-index-url", Texts, "Additional indexes."),
        key(
            "find-links",
            Locations,
            "Additional directories, pages, archives and images to search.",
        ),
        key(
            "ignore-error-codes",
            Codes(&[401, 403]),
            "HTTP status codes of an index that mean \"not found\".",
        ),
        key(
            "index-strategy",
            Choice(&["best-match", "first-index", "first-match"]),
            "Selects the versions that count when several indexes have a package.",
        ),
        key("index-url", Location, "The main index."),
        key("jobs", Number(1), "The number of concurrent builds."),
        key(
            "keyring-provider",
            Choice(&["disabled", "subprocess", "auto", "import"]),
            "The source of credentials.",
        ),
        key(
            "no-binary",
            Texts,
            "Packages that are built from source, or `:all:`.",
        ),
        key(
            "no-build-isolation",
            Flag,
            "Builds in the environment of the Python instead of isolated environments.",
        ),
        key("no-deps", Flag, "Ignores dependencies."),
        key("no-index", Flag, "Disables all indexes."),
        key(
            "no-require-hashes",
            Flag,
            "Does not require hashes for all requirements if one has a hash.",
        ),
        key(
            "only-binary",
            Texts,
            "Packages that are never built, or `:all:`.",
        ),
        key(
            "only-final",
            Texts,
            "Packages of which pre-releases are never selected, or `:all:`.",
        ),
        known_as(
            "wheel-dir",
            key(
                "output",
                Path,
                "The directory of the wheelhouse (`build`, `image`).",
            ),
        ),
        aliased(
            "override",
            &["overrides"],
            Locations,
            "Files that override all requirements on their packages.",
        ),
        key(
            "platform",
            Texts,
            "Platforms, one target for each Python (`download`, `lock`).",
        ),
        key("pre", Flag, "Allows pre-releases."),
        key(
            "prefer-binary",
            Flag,
            "Prefers an older wheel to a newer sdist.",
        ),
        key("proxy", Text, "The proxy."),
        key(
            "python",
            Program,
            "The Python that the wheels are for: a path or a version.",
        ),
        key(
            "python-version",
            Texts,
            "Versions of Python, one target for each platform (`download`, `lock`).",
        ),
        key(
            "require-hashes",
            Flag,
            "Requires a version and a hash for every requirement.",
        ),
        key(
            "retries",
            Number(0),
            "The number of retries of a failed request.",
        ),
        key(
            "sandbox",
            Choice(&["auto", "require", "off"]),
            "How much of the sandbox of builds is required.",
        ),
        key(
            "timeout",
            Seconds,
            "The time that a server may take to respond.",
        ),
        key(
            "trusted-host",
            Texts,
            "Hosts for which plain HTTP and untrusted certificates are allowed.",
        ),
    ]
};

/// Returns the names of all keys.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    let names = |key: &'static Key| std::iter::once(key.name).chain(key.aliases.iter().copied());
    KEYS.iter().flat_map(names)
}

/// The configuration of a project.
#[derive(Debug, Default)]
pub struct ProjectConfiguration {
    pub(super) settings: Vec<Setting>,
    pub(super) file: Option<ConfigurationFile>,
}

/// Returns the kind of an option by its name in the settings, if a project may set it.
pub(super) fn kind(option: &str) -> Option<OptionKind> {
    let key = KEYS.iter().find(|key| key.option() == option)?;
    Some(match key.kind {
        ValueKind::Flag => OptionKind::Flag,
        ValueKind::Texts | ValueKind::Locations | ValueKind::Codes(_) if !key.accumulates() => {
            OptionKind::List
        }
        ValueKind::Texts | ValueKind::Pairs => OptionKind::Accumulated,
        _ => OptionKind::Text,
    })
}

impl ProjectConfiguration {
    /// Reads the table of the `pyproject.toml` at `path`. A file that is not valid TOML is treated as empty: the error is
    /// reported when it is read as a project.
    ///
    /// # Errors
    /// `Input` if the table has an unknown key, or a value of the wrong type.
    pub fn read(path: &Path, reader: &dyn ReadSource) -> Result<Self> {
        let status = |status| ConfigurationFile {
            path: path.to_owned(),
            level: ConfigurationLevel::Project,
            status,
        };
        let text = match reader.read(&FileSource::File(path.to_owned())) {
            Ok(bytes) => String::from_utf8(bytes).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(_) => None,
        };
        let Some(document) = text.and_then(|text| toml_reader::parse(&text).ok()) else {
            return Ok(Self {
                settings: Vec::new(),
                file: Some(status(FileStatus::Unreadable)),
            });
        };
        let table = document.get("tool").and_then(|tool| tool.get("wheelhouse"));
        let Some(table) = table else {
            return Ok(Self::default());
        };
        let Some(table) = table.as_table() else {
            return Err(wrong(path, TABLE, "a table"));
        };
        let options = table.iter().filter(|(name, _)| *name != FARM);
        let settings = options.map(|(name, value)| setting(path, name, value));
        Ok(Self {
            settings: settings.collect::<Result<_>>()?,
            file: Some(status(FileStatus::Read)),
        })
    }
}

fn setting(path: &Path, name: &str, value: &Value) -> Result<Setting> {
    let named = |key: &&Key| key.name == name || key.aliases.contains(&name);
    let key = KEYS.iter().find(named).ok_or_else(|| unknown(path, name))?;
    let place = format!("{TABLE}.{name}");
    let values = key.kind.values(path, &place, value)?;
    let separator = if key.accumulates() { "," } else { " " };
    Ok(Setting {
        option: key.option().to_owned(),
        value: values.join(separator),
        values: Some(values),
        origin: ConfigurationOrigin::Project {
            path: path.to_owned(),
            key: name.to_owned(),
        },
        status: SettingStatus::Used,
    })
}

impl Key {
    fn option(&self) -> &'static str {
        self.option.unwrap_or(self.name)
    }

    /// Returns whether a value is added to those with lower precedence, as in pip's configuration.
    fn accumulates(&self) -> bool {
        let controls = ["all-releases", "no-binary", "only-binary", "only-final"];
        controls.contains(&self.name) || self.kind == ValueKind::Pairs
    }
}

impl ValueKind {
    /// Describes a valid value for messages.
    fn expected(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Text | Self::Path | Self::Program | Self::Location => "a string".to_owned(),
            Self::Date => "a date, a time, or a string with one or with a duration".to_owned(),
            Self::Number(least) => format!("an integer of at least {least}"),
            Self::Seconds => "a positive number of seconds".to_owned(),
            Self::Texts | Self::Locations => "a string or an array of strings".to_owned(),
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
            Self::Codes(codes) => {
                let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
                format!("an array of {}", codes.join(", "))
            }
            Self::Pairs => {
                "a table of strings or arrays of strings, or an array of `KEY=VALUE`".to_owned()
            }
        }
    }

    /// Converts a value to strings. Paths are made absolute relative to the directory of the file.
    fn values(self, path: &Path, place: &str, value: &Value) -> Result<Vec<String>> {
        let wrong = || wrong(path, place, &self.expected());
        let directory = path.parent().unwrap_or(path);
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
        let texts = |value: &Value| match value {
            Value::Array(items) => items.iter().map(text).collect(),
            one => Ok(vec![text(one)?]),
        };
        match self {
            Self::Flag => {
                let flag = value.as_bool().ok_or_else(wrong)?;
                Ok(vec![flag.to_string()])
            }
            Self::Text => Ok(vec![text(value)?]),
            Self::Date => match value {
                Value::Datetime(date) => Ok(vec![date.to_string()]),
                value => Ok(vec![text(value)?]),
            },
            Self::Number(least) => {
                let number = value.as_integer().filter(|number| *number >= least.into());
                Ok(vec![number.ok_or_else(wrong)?.to_string()])
            }
            Self::Seconds => {
                let number = match value {
                    Value::Integer(number) => Some(number.to_string()),
                    Value::Float(number) => Some(number.to_string()),
                    _ => None,
                };
                let is_positive =
                    |text: &String| text.parse().is_ok_and(|number: f64| number > 0.0);
                Ok(vec![number.filter(is_positive).ok_or_else(wrong)?])
            }
            Self::Path => Ok(vec![below(directory, &text(value)?)]),
            Self::Program => {
                let text = text(value)?;
                let is_path = text.contains('/');
                Ok(vec![if is_path {
                    below(directory, &text)
                } else {
                    text
                }])
            }
            Self::Location => Ok(vec![located(directory, &text(value)?)?]),
            Self::Texts => texts(value),
            Self::Locations => {
                let texts: Vec<String> = texts(value)?;
                texts.iter().map(|text| located(directory, text)).collect()
            }
            Self::Choice(choices) => {
                let text = text(value)?;
                if choices.contains(&&*text) {
                    Ok(vec![text])
                } else {
                    Err(wrong())
                }
            }
            Self::Codes(codes) => {
                let items = value.as_array().ok_or_else(wrong)?;
                let code = |item: &Value| {
                    let code = item.as_integer().filter(|code| codes.contains(code));
                    code.map(|code| code.to_string()).ok_or_else(wrong)
                };
                items.iter().map(code).collect()
            }
            Self::Pairs => match value {
                Value::Table(table) => {
                    let pairs = table.iter().map(|(key, value)| {
                        let values: Vec<String> = texts(value)?;
                        Ok(values
                            .into_iter()
                            .map(move |value| format!("{key}={value}")))
                    });
                    let pairs: Vec<_> = pairs.collect::<Result<_>>()?;
                    Ok(pairs.into_iter().flatten().collect())
                }
                value => {
                    let pairs: Vec<String> = texts(value)?;
                    if pairs.iter().all(|pair| pair.contains('=')) {
                        Ok(pairs)
                    } else {
                        Err(wrong())
                    }
                }
            },
        }
    }
}

/// Makes a path absolute relative to `directory`.
fn below(directory: &Path, text: &str) -> String {
    // Components normalize the path, which is shown to the user.
    let path: PathBuf = directory.join(text).components().collect();
    path.display().to_string()
}

/// Returns a URL unchanged; makes a path, or that of an image, absolute.
fn located(directory: &Path, text: &str) -> Result<String> {
    if names_image(text) {
        let image: ImageLocation = text.parse()?;
        return Ok(image.below(directory).to_string());
    }
    let is_elsewhere = text.contains("://") || text.starts_with("file:") || text.starts_with('~');
    Ok(if is_elsewhere {
        text.to_owned()
    } else {
        below(directory, text)
    })
}

fn wrong(path: &Path, place: &str, expected: &str) -> Error {
    let message = format!("`{place}` in `{}` is not {expected}", path.display());
    Error::new(Kind::Input, message)
}

fn unknown(path: &Path, name: &str) -> Error {
    let message = format!("`{}` has the unknown key `{TABLE}.{name}`", path.display());
    let names = KEYS
        .iter()
        .flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
    let similar = names.map(|known| (strsim::jaro_winkler(known, name), known));
    let nearest = similar.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let hint = match nearest {
        Some((similarity, known)) if similarity > 0.75 => format!("Did you mean `{known}`?"),
        _ => {
            let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            format!("Use one of {}.", names.join(", "))
        }
    };
    Error::new(Kind::Input, message).with_hint(hint)
}
