//! The options of `verify`.

use std::path::PathBuf;

use clap::Args;

use super::ImageReadArgs;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The directory: a wheelhouse, or one that `pip wheel` or `pip download` has made; or an image
    /// as `extract` takes it [default: wheelhouse]
    #[arg(value_name = "DIR|IMAGE")]
    place: Option<String>,

    /// The same, as pip calls what it installs from
    #[arg(
        short = 'f',
        long = "find-links",
        value_name = "DIR|IMAGE",
        conflicts_with = "place"
    )]
    links: Option<String>,

    /// Prove that what this file requires is there: a requirements file, a pyproject.toml, or - for the standard input
    #[arg(
        short,
        long = "requirement",
        visible_alias = "requirements",
        value_name = "FILE",
        help_heading = "What to prove"
    )]
    pub(crate) requirement_files: Vec<String>,

    /// Prove that exactly what this lock (pylock.toml) has is there
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "requirement_files",
        help_heading = "What to prove"
    )]
    pub(crate) lock: Option<PathBuf>,

    /// Prove it for this Python: a path, or a version of one that is installed
    #[arg(long, value_name = "PATH|VERSION", help_heading = "What to prove")]
    pub(crate) python: Option<String>,

    /// Have pip install it into an environment of its own [default]
    #[arg(long, overrides_with = "no_install", help_heading = "What to run")]
    install: bool,

    /// Build and install nothing of it
    #[arg(long, overrides_with = "install", help_heading = "What to run")]
    no_install: bool,

    /// Import every module that was installed, too
    #[arg(long, conflicts_with = "no_install", help_heading = "What to run")]
    pub(crate) import: bool,

    #[command(flatten)]
    pub(crate) read_args: ImageReadArgs,
}

impl VerifyArgs {
    /// The directory or image.
    pub(crate) fn place(&self) -> &str {
        let named = self.place.as_deref().or(self.links.as_deref());
        named.unwrap_or("wheelhouse")
    }

    /// Whether anything of the directory may be built and installed.
    pub(crate) fn installs(&self) -> bool {
        self.install || !self.no_install
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};

    fn installs(arguments: &[&str]) -> bool {
        let arguments = ["wheelhouse", "verify"].iter().chain(arguments);
        let (command_line, _) = parse(arguments.map(Into::into)).unwrap();
        let Command::Verify(verify) = command_line.command else {
            panic!("not the verb");
        };
        verify.installs()
    }

    #[test]
    fn the_last_word_on_installing_counts() {
        assert!(installs(&[]));
        assert!(installs(&["--no-install", "--install"]));
        assert!(!installs(&["--install", "--no-install"]));
    }
}
