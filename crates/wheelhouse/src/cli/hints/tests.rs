use std::io;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};

use super::*;
use crate::cli::args::CommandLine;
use wheelhouse_config::{
    ConfigurationRequest, Environment, FileSource, PathConventions, PipConfiguration, SettingStatus,
};

#[test]
fn hints_of_an_s2i_build_name_variables_and_files() {
    for (said, expected) in [
        (
            "Check the spelling; if another index has it, name that with --extra-index-url.",
            "Check the spelling; if another index has it, name that with PIP_EXTRA_INDEX_URL.",
        ),
        (
            "not for `beta` (try: `--all-releases beta`)",
            "not for `beta` (try: `PIP_ALL_RELEASES=beta`)",
        ),
        (
            "Allow a published wheel of it (--no-binary excludes it), or build with --no-build-isolation.",
            "Allow a published wheel of it (PIP_NO_BINARY excludes it), or build with PIP_NO_BUILD_ISOLATION=0.",
        ),
        (
            "Give one with --hash to use it nevertheless.",
            "Give one with `--hash` in the requirements file to use it nevertheless.",
        ),
        (
            "If that is intended, update the lock or the `--hash`.",
            "If that is intended, update the lock or the `--hash`.",
        ),
        (
            "Resolve again with --upgrade.",
            "Build without --incremental.",
        ),
        (
            "Pass requirements with -r FILE.",
            "Pass requirements with REQUIREMENTS_FILE=FILE.",
        ),
        (
            "The lock pins this; `wheelhouse lock --upgrade` pins it anew.",
            "The lock pins this; `wheelhouse lock --upgrade` pins it anew.",
        ),
        (
            "It is too slow. Give it more time with --build-timeout SECONDS. Try again.",
            "It is too slow. Try again.",
        ),
        ("Try again. `wheelhouse cache prune` helps.", "Try again."),
        ("Is it an `http:` URL?", "Is it an `http:` URL?"),
    ] {
        assert_eq!(HintStyle::S2iBuild.hint(said).as_deref(), Some(expected));
        assert_eq!(HintStyle::CommandLine.hint(said).as_deref(), Some(said));
    }
    assert_eq!(
        HintStyle::S2iBuild.hint("Run once without --offline."),
        None
    );
}

#[test]
fn only_builds_in_containers_have_hints_of_their_own() {
    let of = |arguments: &str| {
        let arguments = format!("wheelhouse {arguments}");
        let (command_line, _) =
            crate::cli::args::parse(arguments.split(' ').map(Into::into)).unwrap();
        HintStyle::of(&command_line.command)
    };
    assert_eq!(of("s2i assemble"), HintStyle::S2iBuild);
    assert_eq!(of("s2i tools"), HintStyle::S2iBuild);
    assert_eq!(of("s2i init"), HintStyle::CommandLine);
    assert_eq!(of("build six"), HintStyle::CommandLine);
}

/// Fails for a hint with an option that is in none of the tables.
#[test]
fn every_option_of_a_hint_is_known() {
    let hints = hints();
    assert!(hints.len() > 50, "{hints:?}");
    for hint in hints {
        for mention in MENTION.captures_iter(&rephrased(&hint)) {
            let option = match mention.name("quoted") {
                Some(quoted) => quoted.as_str().split(' ').next().unwrap_or_default(),
                None => &mention["option"],
            };
            assert!(
                !option.starts_with('-') || of_option(option).is_some(),
                "{option} of the hint {hint:?} is neither in OPTIONS nor among PHRASES"
            );
        }
    }
}

#[test]
fn every_phrase_is_one_of_a_hint() {
    let hints = hints();
    for (said, _) in PHRASES {
        assert!(hints.iter().any(|hint| hint.contains(said)), "{said:?}");
    }
}

#[test]
fn every_option_is_sorted_and_one_of_the_program() {
    assert!(OPTIONS.is_sorted_by_key(|(option, _)| *option));
    let mut options = Vec::new();
    collect(&CommandLine::command(), &mut options);
    for (option, equivalent) in OPTIONS {
        let is_elsewhere = matches!(equivalent, Equivalent::OfLine | Equivalent::Same);
        assert!(
            is_elsewhere || options.iter().any(|known| known == option),
            "{option}"
        );
    }
}

fn collect(command: &Command, options: &mut Vec<String>) {
    let names = |argument: &Arg| {
        let long = argument.get_long_and_visible_aliases().unwrap_or_default();
        let short = argument.get_short().map(|letter| format!("-{letter}"));
        let long = long.into_iter().map(|name| format!("--{name}"));
        long.chain(short).collect::<Vec<_>>()
    };
    options.extend(command.get_arguments().flat_map(names));
    for command in command.get_subcommands() {
        collect(command, options);
    }
}

#[test]
fn every_variable_of_pip_is_obeyed() {
    let variables = OPTIONS
        .iter()
        .filter_map(|(_, equivalent)| match equivalent {
            Equivalent::Variable(variable) => variable.split('=').next(),
            _ => None,
        });
    let variables = variables.filter(|variable| variable.starts_with("PIP_"));
    let environment: Environment = variables.map(|variable| (variable, "1")).collect();
    let request = ConfigurationRequest {
        environment: &environment,
        working_directory: Path::new("/"),
        sections: &["wheel"],
        prefix: None,
        isolated: false,
        platform: PathConventions::current(),
    };
    let nothing = |_: &FileSource| Err(io::ErrorKind::NotFound.into());
    let configuration = PipConfiguration::load(&request, &nothing).unwrap();
    assert!(!configuration.settings().is_empty());
    for setting in configuration.settings() {
        assert_eq!(setting.status, SettingStatus::Used, "{}", setting.option);
    }
}

/// Returns the sentences among the string literals of the program, which include its hints.
fn hints() -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let literal = Regex::new(r#""((?:[^"\\]|\\(?s:.))*)""#).unwrap();
    let line_break = Regex::new(r"\\\n\s*").unwrap();
    let mut hints = Vec::new();
    for path in walkdir::WalkDir::new(crates) {
        let path = path.unwrap().into_path();
        let text = path.to_string_lossy();
        let is_test = text.contains("/tests") || text.ends_with("_tests.rs");
        let is_help = text.contains("/cli/args/") || text.ends_with("/cli/hints.rs");
        // The commands on the pages for people are not those of this program.
        let is_page = text.contains("/site/src/");
        if !text.ends_with(".rs") || is_test || is_help || is_page {
            continue;
        }
        let code = fs_err::read_to_string(&path).unwrap();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n").replace("'\"'", "");
        for captures in literal.captures_iter(&code) {
            let literal = line_break.replace_all(&captures[1], "");
            let is_sentence = literal.ends_with('.') || literal.starts_with(char::is_uppercase);
            if is_sentence && literal.contains(' ') {
                hints.push(literal.into_owned());
            }
        }
    }
    hints
}
