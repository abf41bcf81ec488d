//! Selected and generated requirements files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use wheelhouse_config::{
    Environment, FileOptions, FileRole, FileSource, ReadContext, RequirementLine, RequirementsFile,
    read_requirements,
};

use super::{Case, Generator, InDirectory, compare, options_value};

fn our_requirements(case: &Case, directory: &Path) -> Result<Value, String> {
    let environment: Environment = case.variables(directory).into_iter().collect();
    let context = ReadContext {
        environment: &environment,
        working_directory: directory,
        reader: &InDirectory(directory),
    };
    let role = if case.constraint {
        FileRole::Constraints
    } else {
        FileRole::Requirements
    };
    let file = FileSource::parse(&case.file).map_err(|error| error.to_string())?;
    let found = read_requirements(&[(role, file)], &context, FileOptions::default())
        .map_err(|error| error.to_string())?;
    Ok(requirements_value(&found))
}

fn requirements_value(found: &RequirementsFile) -> Value {
    let lines = |lines: &[RequirementLine]| lines.iter().map(line_value).collect::<Vec<_>>();
    let mut value = options_value(&found.options, None);
    value["requirements"] = json!(lines(&found.requirements));
    value["constraints"] = json!(lines(&found.constraints));
    value
}

fn line_value(line: &RequirementLine) -> Value {
    let mut hashes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for hash in &line.hashes {
        let (algorithm, digest) = hash.split_once(':').unwrap();
        hashes.entry(algorithm).or_default().push(digest);
    }
    let mut settings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in &line.config_settings {
        settings.entry(key).or_default().push(value);
    }
    let settings: BTreeMap<_, _> = settings
        .into_iter()
        .map(|(key, values)| match values.as_slice() {
            [value] => (key, json!(value)),
            values => (key, json!(values)),
        })
        .collect();
    json!({
        "text": line.text.trim(),
        "editable": line.editable,
        "location": format!("line {} of {}", line.location.line, line.location.source),
        "hashes": hashes,
        "config_settings": settings,
    })
}

fn requirements_corpus() -> Vec<Case> {
    let nested = [
        (
            "p/r.txt",
            "a\n-r b.txt\n-c ../c.txt\n-f links\n-f none\n./d",
        ),
        ("p/b.txt", "b --hash=sha256:aa\n-r ../p/e.txt"),
        ("c.txt", "c<1\n--no-index\n-r p/e.txt"),
        ("p/e.txt", "e"),
        ("p/links/x", ""),
    ];
    let recursive = [("r.txt", "-r s.txt"), ("s.txt", "-c ./x/../r.txt")];
    let mut constraint = Case::files(&nested);
    constraint.constraint = true;
    let utf16: Vec<u8> = "\u{feff}a==1\r\nb"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let variables = [
        ("TOKEN", "secret"),
        ("EMPTY", ""),
        ("NEST", "${TOKEN}"),
        ("HASH", " #x"),
    ];
    vec![
        Case::files(&nested),
        constraint,
        Case::files(&recursive),
        Case::files(&[("r.txt", "-r s.txt\n-r s.txt"), ("s.txt", "a")]),
        Case::text("-r missing.txt"),
        Case::text("a${TOKEN}b ${NEST}${TOKEN} ${EMPTY}${UNSET}${lower}$TOKEN${HASH}")
            .with(&variables),
        Case::text("-i https://${TOKEN}@h/ # ${TOKEN}").with(&variables),
        Case::bytes(b"\xef\xbb\xbfa==1\r\nb\r\n"),
        Case::bytes(&utf16),
        Case::bytes(b"# -*- coding: latin-1 -*-\na # \xe9\n"),
        Case::bytes(b"#!x\n# vim: set fileencoding=cp1252 :\na @ file:///\x80\n"),
        Case::bytes(b"# coding: klingon\na"),
        Case::bytes(b"a # \xe9"),
        Case::bytes("a\u{2028}b\u{85}c\x0cd\x1ce".as_bytes()),
        Case::text("-e ./a --config-settings a=b -C a=c\n-e 'b c' ; d\nx -e y\n-e a -e b"),
        Case::text("--pre x\n--hash=sha256:aa\n--pre -- --no-index\na -\nb --"),
        Case::text("--extra-index-url a\n-i b\n--extra-index-url=c -ic\n--index-url="),
        Case::text("-f a -f b\n--find-links=c"),
        Case::text("--use-feature=fast-deps --use-feature truststore"),
        Case::text("--no-binary=a --only-binary=:all: --no-binary :none:,b\nx --no-binary c"),
        Case::text("--only-final=a --pre --all-releases b,A"),
        Case::text("--trusted-host a:80 --trusted-host=b --prefer-binary --require-hashes"),
        Case::text("a\t--pre\nb  --pre\n c\n"),
    ]
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn reads_requirements_files_like_pip() {
    compare("requirements", &requirements_corpus(), our_requirements);
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn reads_generated_requirements_files_like_pip() {
    const PIECES: [&str; 44] = [
        "\n",
        "\n",
        "\n",
        " ",
        " ",
        "\\\n",
        "\\",
        "#",
        " # x",
        "'",
        "\"",
        "a",
        "b==1",
        "${A}",
        "${B}",
        "=",
        "--",
        "-",
        "-i",
        "-e",
        "-f",
        "-C",
        "-C a=b",
        "-e c",
        "--pre",
        "--pre=",
        "--hash=sha256:a",
        " --hash sha512:b",
        "--no-index",
        "--no",
        "--no-binary=",
        ":all:",
        ":none:",
        ",",
        "--only-binary a",
        "--index-url",
        "--ext=u",
        "--config-setting 'a=b c'",
        "--trust=h\n",
        "--require",
        "\t",
        "\r",
        "\u{85}",
        "--all-releases=a",
    ];
    let mut dice = Generator(1);
    let variables = [("A", "x"), ("B", "${A} --pre")];
    let cases: Vec<_> = (0..400)
        .map(|_| Case::text(&dice.text(&PIECES, 14)).with(&variables))
        .collect();
    compare("requirements", &cases, our_requirements);
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn reads_generated_option_lines_like_pip() {
    const PIECES: [&str; 22] = [
        "--pre",
        "-i u",
        "-iv",
        "--extra-index-url=w",
        "--extra-index-url x",
        "--no-index",
        "-f r.txt",
        "--find-links=y",
        "--no-binary=a,b",
        "--only-binary=b,:all:,c",
        "--no-binary :none:",
        "--only-binary=B.c",
        "--all-releases=a,:none:,b",
        "--only-final :all:",
        "--prefer-binary",
        "--require-hashes",
        "\n-e ./d",
        "\nreq --hash sha256:a",
        "--no-require-hashes",
        "--use-feature fast-deps",
        "--trusted-host=h",
        "\n-r s.txt",
    ];
    let mut dice = Generator(2);
    let cases: Vec<_> = (0..300)
        .map(|_| {
            let lines: Vec<_> = (0..8)
                .map(|_| format!("{}{}", dice.pick(&PIECES), dice.pick(&["\n", " ", "\n"])))
                .collect();
            Case::files(&[
                ("r.txt", &lines.concat()),
                ("s.txt", "nested --no-binary n\n-i nested"),
            ])
        })
        .collect();
    compare("requirements", &cases, our_requirements);
}
