//! Options of pip and similar tools: those without effect are accepted, and for others an error names the replacement.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args};

/// The options of pip without effect here, accepted so that scripts for pip continue to work.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line, and named as such"
)]
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PipCompatibility {
    #[arg(long, global = true, hide = true)]
    no_input: bool,

    #[arg(long, global = true, hide = true)]
    disable_pip_version_check: bool,

    #[arg(long, global = true, hide = true)]
    no_python_version_warning: bool,

    #[arg(long, global = true, hide = true)]
    no_clean: bool,

    #[arg(long, global = true, hide = true)]
    use_pep517: bool,

    #[arg(long, global = true, hide = true, value_name = "ACTION")]
    exists_action: Option<String>,

    #[arg(long, global = true, hide = true, value_name = "DIR")]
    src: Option<String>,

    #[arg(long, global = true, hide = true, value_name = "NUMBER")]
    resume_retries: Option<String>,

    #[arg(long, global = true, hide = true, value_name = "FEATURE", action = ArgAction::Append)]
    use_feature: Vec<String>,

    /// The same as `--color never`.
    #[arg(long, global = true, hide = true)]
    pub(super) no_color: bool,

    /// The value `off` is the same as `--no-progress`.
    #[arg(long, global = true, hide = true, value_name = "STYLE")]
    progress_bar: Option<String>,
}

impl PipCompatibility {
    pub(super) fn hides_progress(&self) -> bool {
        self.progress_bar.as_deref() == Some("off")
    }

    /// Returns a warning about the options that have no effect.
    pub(crate) fn note(&self) -> Option<String> {
        let given = [
            (self.no_input, "--no-input"),
            (
                self.disable_pip_version_check,
                "--disable-pip-version-check",
            ),
            (
                self.no_python_version_warning,
                "--no-python-version-warning",
            ),
            (self.no_clean, "--no-clean"),
            (self.use_pep517, "--use-pep517"),
            (self.exists_action.is_some(), "--exists-action"),
            (self.src.is_some(), "--src"),
            (self.resume_retries.is_some(), "--resume-retries"),
            (!self.use_feature.is_empty(), "--use-feature"),
        ];
        let given: Vec<_> = (given.iter().filter(|(given, _)| *given))
            .map(|(_, name)| format!("`{name}`"))
            .collect();
        (!given.is_empty()).then(|| format!("pip options without effect: {}", given.join(", ")))
    }
}

/// Options of pip, pip-tools and uv, and their replacements.
#[rustfmt::skip]
const INSTEAD: [(&str, &str); 20] = [
    ("--abi", "use `wheelhouse download --target PYTHON-PLATFORM` for another Python or platform"),
    ("--build-option", "pass settings to the build backend with `--config-settings KEY=VALUE`"),
    ("--debug", "use `-vv`"),
    ("--dest", "use `--output DIR`"),
    ("--generate-hashes", "use `wheelhouse lock`, which writes the hashes of every file"),
    ("--global-option", "pass settings to the build backend with `--config-settings KEY=VALUE`"),
    ("--ignore-requires-python", "use `--python` with a Python that the package supports"),
    ("--implementation", "use `wheelhouse download --target PYTHON-PLATFORM` for another Python or platform"),
    ("--index", "use `--index-url URL`, or `--extra-index-url URL` for an additional one"),
    ("--isolated", "unset pip's variables, and set PIP_CONFIG_FILE=/dev/null"),
    ("--no-binary-package", "use `--no-binary NAME`"),
    ("--no-build", "use `--only-binary :all:`"),
    ("--no-build-package", "use `--only-binary NAME`"),
    ("--no-index-url", "use `--no-index`"),
    ("--no-refresh", "use `--offline` to skip the indexes, which are otherwise checked on each run"),
    ("--platform", "use it with `wheelhouse build`, or with `wheelhouse download` for any system"),
    ("--python-version", "use `--python VERSION`, or `wheelhouse download --python-version VERSION` for a Python that is not installed"),
    ("--refresh", "use `--upgrade` for the newest versions, or `--no-cache` to ignore the cache; index pages are checked on each run"),
    ("--reinstall", "use `--no-cache` to fetch and build everything again"),
    ("--target", "use `--output DIR`, or `wheelhouse download --target PYTHON-PLATFORM` for another system"),
];

/// Replaces clap's suggestion, which has similar letters, with the option of the same meaning.
pub(super) fn explained(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let name = given.split('=').next().unwrap_or(given);
    let Some((_, instead)) = INSTEAD.iter().find(|(option, _)| *option == name) else {
        return error;
    };
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::SuggestedSubcommand);
    error.remove(ContextKind::TrailingArg);
    let tip = StyledStr::from(*instead);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    error
}
