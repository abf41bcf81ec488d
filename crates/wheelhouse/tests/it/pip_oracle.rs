//! Compares the reading of requirements files and configuration with what pip itself makes of them.
//!
//! Needs the Python of `./test`, for its pip. Needs no network.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wheelhouse::config::{
    ConfigurationRequest, Environment, FileOptions, LocalReader, PipConfiguration, Platform,
    ReadContext, RequirementLine, Requirements, Role, Source, read_requirements,
};

use crate::support::test_python;

/// Reads cases from the directories named in `cases.json`, and prints what pip makes of each.
const ORACLE: &str = r#"
import json, logging, os, sys
import pip
logging.disable(logging.CRITICAL)
version = tuple(int(part) for part in pip.__version__.split(".")[:2])
assert version >= (26, 3), version

def control(value, names):
    return {name: sorted(getattr(value, name)) for name in names}

def requirements(case):
    from optparse import Values
    from pip._internal.cli import cmdoptions
    from pip._internal.index.collector import LinkCollector
    from pip._internal.index.package_finder import PackageFinder
    from pip._internal.models.format_control import FormatControl
    from pip._internal.models.release_control import ReleaseControl
    from pip._internal.models.search_scope import SearchScope
    from pip._internal.models.selection_prefs import SelectionPreferences
    from pip._internal.network.session import PipSession
    from pip._internal.req import req_file
    # pip has one list for all uses of this option in a process, so that cases would mix.
    feature = cmdoptions.use_new_feature
    fresh = lambda: feature.func(*feature.args, **{**feature.keywords, "default": []})
    known = req_file.SUPPORTED_OPTIONS
    req_file.SUPPORTED_OPTIONS = [fresh if it is feature else it for it in known]
    session = PipSession()
    scope = SearchScope.create(find_links=[], index_urls=[], no_index=False)
    finder = PackageFinder.create(
        link_collector=LinkCollector(session=session, search_scope=scope),
        selection_prefs=SelectionPreferences(
            allow_yanked=True,
            format_control=FormatControl(),
            release_control=ReleaseControl(),
        ),
    )
    options = Values({"require_hashes": False, "no_require_hashes": False, "features_enabled": []})
    try:
        lines = list(req_file.parse_requirements(case["file"], session, finder, options, case["constraint"]))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    line = lambda it: {
        "text": it.requirement.strip(),
        "editable": it.is_editable,
        "location": it.line_source,
        "hashes": it.options.get("hashes", {}),
        "config_settings": it.options.get("config_settings", {}),
    }
    return {
        "requirements": [line(it) for it in lines if not it.constraint],
        "constraints": [line(it) for it in lines if it.constraint],
        "index_urls": finder.index_urls,
        "no_index": finder.search_scope.no_index,
        "find_links": finder.find_links,
        "formats": control(finder.format_control, ["no_binary", "only_binary"]),
        "releases": control(finder.release_control, ["all_releases", "only_final"]),
        "prefer_binary": finder._candidate_prefs.prefer_binary,
        "trusted_hosts": sorted(set(finder.trusted_hosts)),
        "require_hashes": options.require_hashes,
        "no_require_hashes": options.no_require_hashes,
        "features": [
            it for it in options.features_enabled if it not in cmdoptions.ALWAYS_ENABLED_FEATURES
        ],
    }

def configuration(case):
    from pip._internal.cli.cmdoptions import check_release_control_exclusive
    from pip._internal.commands import create_command
    from pip._internal.index.collector import LinkCollector
    from pip._internal.network.session import PipSession
    sys.prefix = os.path.abspath("prefix")
    try:
        options = create_command("wheel").parser.get_default_values()
        check_release_control_exclusive(options)
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "index_urls": [] if options.no_index else [options.index_url, *options.extra_index_urls],
        "no_index": bool(options.no_index),
        "find_links": LinkCollector.create(PipSession(), options).find_links,
        "formats": control(options.format_control, ["no_binary", "only_binary"]),
        "releases": control(options.release_control, ["all_releases", "only_final"]),
        "prefer_binary": bool(options.prefer_binary),
        "trusted_hosts": sorted(set(options.trusted_hosts)),
        "require_hashes": bool(options.require_hashes),
        "no_require_hashes": bool(options.no_require_hashes),
        "features": options.features_enabled,
        "timeout": float(options.timeout),
        "build_isolation": bool(options.build_isolation),
        "cache_is_disabled": options.cache_dir is False,
        "constraint": options.constraints,
        "requirement": options.requirements,
    }

answers = []
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
for case in json.load(open("cases.json")):
    os.chdir(case["directory"])
    os.environ.clear()
    for name, value in case["environment"]:
        os.environ[name] = value
    answers.append({"requirements": requirements, "configuration": configuration}[case["kind"]](case))
print(json.dumps(answers))
"#;

/// Holds files, variables in order, and which file to begin with.
#[derive(Debug, Clone, Default)]
struct Case {
    files: Vec<(String, Vec<u8>)>,
    environment: Vec<(String, String)>,
    file: String,
    constraint: bool,
}

impl Case {
    fn text(content: &str) -> Self {
        Self::files(&[("r.txt", content)])
    }

    fn files(files: &[(&str, &str)]) -> Self {
        let files: Vec<_> = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
            .collect();
        let file = files
            .first()
            .map(|(name, _)| name.clone())
            .unwrap_or_default();
        Self {
            files,
            file,
            ..Self::default()
        }
    }

    fn bytes(content: &[u8]) -> Self {
        let mut case = Self::text("");
        case.files[0].1 = content.to_vec();
        case
    }

    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment.extend(variables.iter().map(owned));
        self
    }

    /// Returns the variables, with the directory of the case in place of `{directory}`.
    fn variables(&self, directory: &Path) -> Vec<(String, String)> {
        let directory = directory.to_str().unwrap();
        self.environment
            .iter()
            .map(|(name, value)| (name.clone(), value.replace("{directory}", directory)))
            .collect()
    }

    fn write(&self, directory: &Path) {
        for (name, content) in &self.files {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }
}

/// Asks pip about the cases; each has a directory of its own.
fn ask_pip(kind: &str, cases: &[Case], root: &Path) -> Option<Vec<Value>> {
    let mut asked = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let directory = root.join(index.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        case.write(&directory);
        asked.push(json!({
            "kind": kind,
            "directory": directory,
            "environment": case.variables(&directory),
            "file": case.file,
            "constraint": case.constraint,
        }));
    }
    std::fs::write(root.join("cases.json"), json!(asked).to_string()).unwrap();
    let mut python = Command::new(test_python()?);
    python
        .args(["-c", ORACLE])
        .current_dir(root)
        .env("LC_ALL", "C.UTF-8");
    let output = python.output().expect("Python can be run");
    let answer = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}\n{errors}"))
}

/// Compares our answer with pip's, case by case, and shows the first differences at once.
fn compare(kind: &str, cases: &[Case], ours: impl Fn(&Case, &Path) -> Result<Value, String>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let Some(answers) = ask_pip(kind, cases, &root) else {
        return;
    };
    let mut differences = String::new();
    let (mut count, mut read) = (0, 0);
    for (index, (case, answer)) in cases.iter().zip(answers).enumerate() {
        let own = ours(case, &root.join(index.to_string()));
        let agrees = match &own {
            Ok(value) => *value == answer,
            Err(_) => answer.get("error").is_some(),
        };
        count += usize::from(!agrees);
        read += usize::from(own.is_ok());
        if !agrees && count <= 5 {
            let files: Vec<_> = (case.files.iter())
                .map(|(name, content)| (name, String::from_utf8_lossy(content)))
                .collect();
            let variables = &case.environment;
            writeln!(
                differences,
                "{files:?} {variables:?}\n  pip:  {answer}\n  ours: {own:?}"
            )
            .unwrap();
        }
    }
    let total = cases.len();
    assert!(
        5 * read >= total,
        "only {read} of {total} cases can be read, which proves little"
    );
    assert!(
        count == 0,
        "{count} differences, among them:\n{differences}"
    );
}

fn our_requirements(case: &Case, directory: &Path) -> Result<Value, String> {
    let environment: Environment = case.variables(directory).into_iter().collect();
    let context = ReadContext {
        environment: &environment,
        working_directory: directory,
        reader: &InDirectory(directory),
    };
    let role = if case.constraint {
        Role::Constraints
    } else {
        Role::Requirements
    };
    let file = Source::parse(&case.file).map_err(|error| error.to_string())?;
    let found = read_requirements(&[(role, file)], &context, FileOptions::default())
        .map_err(|error| error.to_string())?;
    Ok(requirements_value(&found))
}

/// Answers as if the process were in a directory.
struct InDirectory<'a>(&'a Path);

impl wheelhouse::config::ReadSource for InDirectory<'_> {
    fn read(&self, source: &Source) -> std::io::Result<Vec<u8>> {
        LocalReader.read(source)
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.join(path).exists()
    }
}

fn requirements_value(found: &Requirements) -> Value {
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

fn options_value(options: &FileOptions, default_index: Option<&str>) -> Value {
    let default_index = default_index.filter(|_| !options.no_index);
    let index_urls: Vec<_> = (options.index_url.as_deref().or(default_index).into_iter())
        .chain(options.extra_index_urls.iter().map(String::as_str))
        .collect();
    json!({
        "index_urls": index_urls,
        "no_index": options.no_index,
        "find_links": options.find_links,
        "formats": {
            "no_binary": options.format_control.no_binary(),
            "only_binary": options.format_control.only_binary(),
        },
        "releases": {
            "all_releases": options.release_control.all_releases(),
            "only_final": options.release_control.only_final(),
        },
        "prefer_binary": options.prefer_binary,
        "trusted_hosts": options.trusted_hosts.iter().collect::<BTreeSet<_>>(),
        "require_hashes": options.require_hashes,
        "no_require_hashes": options.no_require_hashes,
        "features": options.features,
    })
}

fn our_configuration(case: &Case, directory: &Path) -> Result<Value, String> {
    let environment: Environment = case.variables(directory).into_iter().collect();
    let prefix = directory.join("prefix");
    let request = ConfigurationRequest {
        environment: &environment,
        working_directory: directory,
        sections: &["wheel"],
        prefix: Some(&prefix),
        isolated: false,
        platform: Platform::Unix,
    };
    let value = || {
        let configuration = PipConfiguration::load(&request, &InDirectory(directory))?;
        let options = configuration.file_options(&InDirectory(directory))?;
        let mut value = options_value(&options, Some("https://pypi.org/simple"));
        let timeout = configuration
            .seconds("timeout")?
            .map_or(15.0, |it| it.as_secs_f64());
        value["timeout"] = json!(timeout);
        value["build_isolation"] = json!(configuration.build_isolation()?.unwrap_or(true));
        value["cache_is_disabled"] = json!(configuration.cache_is_disabled()?);
        value["constraint"] = json!(configuration.list("constraint"));
        value["requirement"] = json!(configuration.list("requirement"));
        Ok(value)
    };
    value().map_err(|error: wheelhouse::config::ConfigurationError| error.to_string())
}

/// Draws numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let index = usize::try_from(self.0 >> 33).unwrap() % from.len();
        from[index]
    }

    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        let lengths: Vec<String> = (0..=most).map(|length| length.to_string()).collect();
        let lengths: Vec<&str> = lengths.iter().map(String::as_str).collect();
        let length: usize = self.pick(&lengths).parse().unwrap();
        (0..length).map(|_| self.pick(pieces)).collect()
    }
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
fn requirements_files_are_read_as_pip_reads_them() {
    compare("requirements", &requirements_corpus(), our_requirements);
}

#[test]
fn arbitrary_requirements_files_are_read_as_pip_reads_them() {
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
    let mut dice = Dice(1);
    let variables = [("A", "x"), ("B", "${A} --pre")];
    let cases: Vec<_> = (0..400)
        .map(|_| Case::text(&dice.text(&PIECES, 14)).with(&variables))
        .collect();
    compare("requirements", &cases, our_requirements);
}

#[test]
fn arbitrary_option_lines_are_read_as_pip_reads_them() {
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
    let mut dice = Dice(2);
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

/// Gives a case the directories that no other configuration is in.
fn configured(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Case {
    let places = [
        ("HOME", "{directory}/home"),
        ("XDG_CONFIG_DIRS", "/nowhere"),
    ];
    Case::files(files).with(&places).with(variables)
}

#[test]
fn configuration_is_read_as_pip_reads_it() {
    const USER: &str = "home/.config/pip/pip.conf";
    const SITE: &str = "prefix/pip.conf";
    let global = "[global]\ntimeout=1\nindex-url=https://a/\n[wheel]\ntimeout=2";
    let cases = [
        configured(&[(USER, global)], &[]),
        configured(
            &[(USER, global), (SITE, "[global]\ntimeout=3\nindex_url=")],
            &[],
        ),
        configured(
            &[(USER, global)],
            &[("PIP_DEFAULT_TIMEOUT", "4"), ("PIP_INDEX_URL", "")],
        ),
        configured(
            &[(USER, global), ("x.conf", "[wheel]\npre=1")],
            &[("PIP_CONFIG_FILE", "x.conf")],
        ),
        configured(&[(USER, global)], &[("PIP_CONFIG_FILE", "/dev/null")]),
        configured(&[(USER, global)], &[("PIP_CONFIG_FILE", "missing")]),
        configured(&[("home/.pip/pip.conf", "[global]\npypi-url=b")], &[]),
        configured(
            &[
                ("home/.pip/pip.conf", "[global]\nproxy=b"),
                (USER, "[DEFAULT]\nno-index=y\n[x]\n"),
            ],
            &[],
        ),
        configured(&[(USER, "[DEFAULT]\nno-index=y\n[wheel]\n")], &[]),
        configured(
            &[
                (USER, "[global]\nfind-links=\n  a\n  ~/b c\n"),
                ("home/b", ""),
            ],
            &[],
        ),
        configured(
            &[(USER, "[global]\nno-binary=:all:\n[wheel]\nonly-binary=a")],
            &[("PIP_NO_BINARY", "b")],
        ),
        configured(&[], &[("PIP_ONLY_BINARY", ":all:"), ("PIP_NO_BINARY", "a")]),
        configured(&[], &[("PIP_NO_BINARY", "a"), ("PIP_ONLY_BINARY", ":all:")]),
        configured(
            &[],
            &[("PIP_NO_BUILD_ISOLATION", "0"), ("PIP_NO_CACHE_DIR", "no")],
        ),
        configured(
            &[],
            &[("PIP_NO_BUILD_ISOLATION", "1"), ("PIP_TRUSTED_HOST", "a b")],
        ),
        configured(&[], &[("PIP_NO_INDEX", "maybe")]),
        configured(&[], &[("PIP_TIMEOUT", "soon")]),
        configured(&[], &[("PIP_PRE", "1"), ("PIP_ONLY_FINAL", "a")]),
        configured(
            &[],
            &[
                ("PIP_PRE", "1"),
                ("PIP_EXTRA_INDEX_URL", "a  b"),
                ("PIP_REQUIRE_HASHES", "on"),
            ],
        ),
        configured(
            &[],
            &[
                ("PIP_CONSTRAINT", "a b"),
                ("PIP_REQUIREMENT", "c"),
                ("PIP_PREFER_BINARY", "t"),
            ],
        ),
        configured(&[(USER, "[global]\na=1\nA=2")], &[]),
        configured(&[(USER, "timeout=1")], &[]),
        configured(&[(USER, "[global]\ntimeout")], &[]),
    ];
    compare("configuration", &cases, our_configuration);
}

#[test]
fn arbitrary_configuration_files_are_read_as_pip_reads_them() {
    const PIECES: [&str; 24] = [
        "\n",
        "\n\n",
        "  ",
        "    x y\n",
        "\ty ; z\n",
        "  # z\n",
        "; z\n",
        "#\n",
        "[wheel]\n",
        "[DEFAULT]\n",
        "[x] y\n",
        "find-links=\n",
        "Constraint = a b\n",
        "--requirement: b\n",
        "index-url=c\n",
        "no-binary=:all:\n",
        "only_binary=g\r\n",
        "trusted-host =a",
        "Extra_Index-URL : = d\r",
        "timeout=3\n",
        "no-cache-dir= 0\n",
        "pre = YES \n",
        "pypi-url=e\n",
        "=",
    ];
    let mut dice = Dice(3);
    let cases: Vec<_> = (0..300)
        .map(|_| {
            let one = format!("[global]\n{}", dice.text(&PIECES, 8));
            let two = format!(
                "[{}]\n{}",
                dice.pick(&["global", "wheel"]),
                dice.text(&PIECES, 6)
            );
            configured(
                &[("home/.pip/pip.conf", &one), ("prefix/pip.conf", &two)],
                &[],
            )
        })
        .collect();
    compare("configuration", &cases, our_configuration);
}
