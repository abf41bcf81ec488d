//! Parsing of single lines.

use super::*;
use proptest::prelude::*;

fn options_of(line: &str) -> Vec<(LineOption, String)> {
    parse_line(line)
        .unwrap()
        .options
        .into_iter()
        .map(|options_of| (options_of.option, options_of.value))
        .collect()
}

fn option(option: LineOption, value: &str) -> Vec<(LineOption, String)> {
    vec![(option, value.to_owned())]
}

#[test]
fn options_start_at_first_word_with_hyphen() {
    assert_eq!(split_at_options("--option"), ("", "--option"));
    assert_eq!(split_at_options("arg arg"), ("arg arg", ""));
    assert_eq!(split_at_options("arg arg -s"), ("arg arg", "-s"));
    assert_eq!(split_at_options("arg arg --long"), ("arg arg", "--long"));
    assert_eq!(split_at_options("arg  --long"), ("arg ", "--long"));
    assert_eq!(split_at_options("arg\t--long"), ("arg\t--long", ""));
    assert_eq!(split_at_options("a-b -- c"), ("a-b", "-- c"));
}

#[test]
fn parses_every_spelling_of_value() {
    for line in [
        "-i url",
        "-iurl",
        "-i 'url'",
        "--index-url=url",
        "--index-url url",
        "--index-url='url'",
        "--pypi-url \"url\"",
        "--index url",
        "--py=url",
    ] {
        assert_eq!(
            options_of(line),
            option(LineOption::IndexUrl, "url"),
            "{line}"
        );
    }
    assert_eq!(options_of("-i=url"), option(LineOption::IndexUrl, "=url"));
    assert_eq!(
        options_of("-i --pre"),
        option(LineOption::IndexUrl, "--pre")
    );
    assert_eq!(options_of("--index-url="), option(LineOption::IndexUrl, ""));
}

#[test]
fn accepts_unique_abbreviations() {
    assert_eq!(
        options_of("a --config-setting k=v"),
        option(LineOption::ConfigSettings, "k=v")
    );
    assert_eq!(
        options_of("a -Ck=v"),
        option(LineOption::ConfigSettings, "k=v")
    );
    assert_eq!(options_of("--pre"), option(LineOption::Pre, ""));
    let error = parse_line("--no b").unwrap_err();
    let message = "option `--no` could be any of --no-index, --no-binary, --no-require-hashes";
    assert_eq!(error.to_string(), message);
    let error = parse_line("--uploaded-prior P3D").unwrap_err();
    assert_eq!(error.to_string(), "option `--uploaded-prior` is unknown");
}

#[test]
fn keeps_order_of_options() {
    let line = parse_line("a --hash=sha256:b --config-settings=c=d --hash sha512:e:f").unwrap();
    assert_eq!(line.requirement, "a");
    let hashes: Vec<_> = line.values(LineOption::Hash).collect();
    assert_eq!(hashes, ["sha256:b", "sha512:e:f"]);
    assert!(line.has(LineOption::ConfigSettings));
}

#[test]
fn keeps_markers_before_options_only() {
    let line = parse_line("a ; python_version < '3' --hash=sha256:b").unwrap();
    assert_eq!(line.requirement, "a ; python_version < '3'");
    let line = parse_line("-e b ; c < '3'").unwrap();
    assert_eq!(line.leftovers, [";", "c", "<", "3"]);
    let line = parse_line("--pre -- --no-index").unwrap();
    assert_eq!(line.leftovers, ["--no-index"]);
    assert_eq!(line.options.len(), 1);
    assert_eq!(parse_line("a -").unwrap().leftovers, ["-"]);
}

#[test]
fn errors_name_option() {
    for (line, message) in [
        ("--bogus", "option `--bogus` is unknown"),
        ("-x", "option `-x` is unknown"),
        (
            "a --global-option=b",
            "option `--global-option` is no longer supported",
        ),
        ("-r", "option `--requirement` requires a value"),
        ("--pre=yes", "option `--pre` takes no value"),
        (
            "a -C b",
            "option `--config-settings` has the value `b`, which is not `KEY=VALUE`",
        ),
        (
            "a --hash=somehash",
            "option `--hash` has the value `somehash`, which is not `ALGORITHM:DIGEST` with one \
             of sha256, sha384, sha512",
        ),
        (
            "a --hash=md5:b",
            "option `--hash` has the value `md5:b`, which is not `ALGORITHM:DIGEST` with one of \
             sha256, sha384, sha512",
        ),
        (
            "--use-feature=resolvelib",
            "option `--use-feature` has the value `resolvelib`, which is not one of fast-deps, \
             inprocess-build-deps, venv-isolation, truststore, no-binary-enable-wheel-cache, \
             build-constraint",
        ),
        (
            "--no-binary --pre",
            "option `--no-binary` has the value `--pre`, which is not a list of packages",
        ),
        ("--'data", "a quotation mark is not closed"),
    ] {
        let error = parse_line(line).unwrap_err();
        assert_eq!(error.to_string(), message, "{line}");
    }
}

#[test]
fn removed_options_have_a_hint() {
    let error = parse_line("a --global-option=b").unwrap_err();
    assert!(error.hint().unwrap().contains("--config-settings"));
    assert_eq!(OptionError::Unknown(String::new()).hint(), None);
}

proptest! {
    #[test]
    fn arbitrary_lines_never_panic(line in "(\\PC|-|--|=| |'|\\\\|--hash|-e){0,20}") {
        let _ = parse_line(&line);
    }
}
