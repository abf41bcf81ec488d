//! Tests that the reference documents are current: `docs/reference/cli.md` is the help of the program, and
//! `docs/reference/configuration.md` and the JSON Schema list the keys of `[tool.wheelhouse]`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

use crate::cli::args::CommandLine;
use wheelhouse_config::key_reference;

/// Rewrites the documents instead of comparing them.
const UPDATE: &str = "WHEELHOUSE_UPDATE_DOCS";

const HEAD: &str = "\
# Command line

The help of the program, command by command. Exit codes are in [exit-codes.md](exit-codes.md), what `--json` prints in
[events.md](events.md), what pip's options and variables become in [pip-compatibility.md](../explanation/pip-compatibility.md).

<!-- Written by a test: WHEELHOUSE_UPDATE_DOCS=1 cargo test -p wheelhouse --lib reference -->
";

fn document() -> String {
    let mut root = CommandLine::command().term_width(100);
    root.build();
    let mut text = HEAD.to_owned();
    write_help(&mut text, &mut root);
    text
}

fn write_help(text: &mut String, command: &mut Command) {
    let name = command.get_bin_name().unwrap_or("wheelhouse").to_owned();
    let help = command.render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    let _ = write!(
        text,
        "\n## {name}\n\n```text\n{}\n```\n",
        help.join("\n").trim_end()
    );
    let subcommands = command
        .get_subcommands_mut()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");
    subcommands.for_each(|command| write_help(text, command));
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name)
}

#[track_caller]
fn compare(name: &str, document: &str) {
    let path = path(name);
    if std::env::var_os(UPDATE).is_some() {
        fs_err::write(&path, document).unwrap();
    }
    let written = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document,
        "docs/reference/{name} is out of date; rewrite it by running this test with {UPDATE}=1"
    );
}

#[test]
fn the_reference_is_the_real_help() {
    compare("cli.md", &document());
}

/// Compares the part of a document that lists keys.
#[track_caller]
fn compare_keys(name: &str, table: &str) {
    const START: &str = "<!-- keys: written by a test -->\n";
    const END: &str = "<!-- end of keys -->\n";
    let text = fs_err::read_to_string(path(name)).unwrap();
    let (head, rest) = text.split_once(START).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    compare(name, &format!("{head}{START}{table}{END}{tail}"));
}

#[test]
fn the_reference_of_keys_has_those_there_are() {
    compare_keys("configuration.md", &key_reference::table());
    compare("pyproject.schema.json", &key_reference::json_schema());
}

#[test]
fn the_reference_of_the_farm_has_its_keys() {
    compare_keys("farm.md", &wheelhouse_farm::config::reference::table());
    compare(
        "farm.schema.json",
        &wheelhouse_farm::config::reference::json_schema(),
    );
}
