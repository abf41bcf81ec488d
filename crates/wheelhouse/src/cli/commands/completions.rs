//! The `completions` and `man` commands: files that are generated from the declaration of the command line.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use crate::cli::args::CommandLine;
use crate::cli::output;

/// Prints the completion script for `shell`.
pub(crate) fn print(shell: Shell) {
    output::data(&script(shell));
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut CommandLine::command(),
        "wheelhouse",
        &mut script,
    );
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes all man pages to `directory`, or prints the main page.
pub(crate) fn man(directory: Option<&Path>) -> Result<()> {
    let command = CommandLine::command();
    let Some(directory) = directory else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(command).render(&mut page);
        rendered.context(Kind::Publish, || "failed to render the man page".to_owned())?;
        output::data(&String::from_utf8_lossy(&page));
        return Ok(());
    };
    let failed = || format!("failed to write man pages into `{}`", directory.display());
    fs_err::create_dir_all(directory).context(Kind::Publish, failed)?;
    clap_mangen::generate_to(command, directory).context(Kind::Publish, failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_shell_has_a_script() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            assert!(script.contains("requirement"), "{shell}");
            assert!(script.contains("prune"), "{shell}");
        }
    }

    #[test]
    fn every_verb_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        man(Some(directory.path())).unwrap();
        for page in [
            "wheelhouse.1",
            "wheelhouse-build.1",
            "wheelhouse-cache-prune.1",
        ] {
            assert!(directory.path().join(page).is_file(), "{page}");
        }
    }
}
