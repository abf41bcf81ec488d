//! pip's configuration: selected and generated files and variables.

use std::path::Path;

use serde_json::{Value, json};
use wheelhouse_config::{ConfigurationRequest, Environment, PathConventions, PipConfiguration};

use super::{Case, Generator, InDirectory, compare, options_value};

fn our_configuration(case: &Case, directory: &Path) -> Result<Value, String> {
    let environment: Environment = case.variables(directory).into_iter().collect();
    let prefix = directory.join("prefix");
    let request = ConfigurationRequest {
        environment: &environment,
        working_directory: directory,
        sections: &["wheel"],
        prefix: Some(&prefix),
        isolated: false,
        platform: PathConventions::Unix,
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
    value().map_err(|error: wheelhouse_config::ConfigurationError| error.to_string())
}

/// Returns a case whose directories contain no other configuration.
fn case_with_configuration(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Case {
    let places = [
        ("HOME", "{directory}/home"),
        ("XDG_CONFIG_DIRS", "/nowhere"),
    ];
    Case::files(files).with(&places).with(variables)
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn reads_configuration_like_pip() {
    const USER: &str = "home/.config/pip/pip.conf";
    const SITE: &str = "prefix/pip.conf";
    let global = "[global]\ntimeout=1\nindex-url=https://a/\n[wheel]\ntimeout=2";
    let cases = [
        case_with_configuration(&[(USER, global)], &[]),
        case_with_configuration(
            &[(USER, global), (SITE, "[global]\ntimeout=3\nindex_url=")],
            &[],
        ),
        case_with_configuration(
            &[(USER, global)],
            &[("PIP_DEFAULT_TIMEOUT", "4"), ("PIP_INDEX_URL", "")],
        ),
        case_with_configuration(
            &[(USER, global), ("x.conf", "[wheel]\npre=1")],
            &[("PIP_CONFIG_FILE", "x.conf")],
        ),
        case_with_configuration(&[(USER, global)], &[("PIP_CONFIG_FILE", "/dev/null")]),
        case_with_configuration(&[(USER, global)], &[("PIP_CONFIG_FILE", "missing")]),
        case_with_configuration(&[("home/.pip/pip.conf", "[global]\npypi-url=b")], &[]),
        case_with_configuration(
            &[
                ("home/.pip/pip.conf", "[global]\nproxy=b"),
                (USER, "[DEFAULT]\nno-index=y\n[x]\n"),
            ],
            &[],
        ),
        case_with_configuration(&[(USER, "[DEFAULT]\nno-index=y\n[wheel]\n")], &[]),
        case_with_configuration(
            &[
                (USER, "[global]\nfind-links=\n  a\n  ~/b c\n"),
                ("home/b", ""),
            ],
            &[],
        ),
        case_with_configuration(
            &[(USER, "[global]\nno-binary=:all:\n[wheel]\nonly-binary=a")],
            &[("PIP_NO_BINARY", "b")],
        ),
        case_with_configuration(&[], &[("PIP_ONLY_BINARY", ":all:"), ("PIP_NO_BINARY", "a")]),
        case_with_configuration(&[], &[("PIP_NO_BINARY", "a"), ("PIP_ONLY_BINARY", ":all:")]),
        case_with_configuration(
            &[],
            &[("PIP_NO_BUILD_ISOLATION", "0"), ("PIP_NO_CACHE_DIR", "no")],
        ),
        case_with_configuration(
            &[],
            &[("PIP_NO_BUILD_ISOLATION", "1"), ("PIP_TRUSTED_HOST", "a b")],
        ),
        case_with_configuration(&[], &[("PIP_NO_INDEX", "maybe")]),
        case_with_configuration(&[], &[("PIP_TIMEOUT", "soon")]),
        case_with_configuration(&[], &[("PIP_PRE", "1"), ("PIP_ONLY_FINAL", "a")]),
        case_with_configuration(
            &[],
            &[
                ("PIP_PRE", "1"),
                ("PIP_EXTRA_INDEX_URL", "a  b"),
                ("PIP_REQUIRE_HASHES", "on"),
            ],
        ),
        case_with_configuration(
            &[],
            &[
                ("PIP_CONSTRAINT", "a b"),
                ("PIP_REQUIREMENT", "c"),
                ("PIP_PREFER_BINARY", "t"),
            ],
        ),
        case_with_configuration(&[(USER, "[global]\na=1\nA=2")], &[]),
        case_with_configuration(&[(USER, "timeout=1")], &[]),
        case_with_configuration(&[(USER, "[global]\ntimeout")], &[]),
    ];
    compare("configuration", &cases, our_configuration);
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn reads_generated_configuration_files_like_pip() {
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
    let mut dice = Generator(3);
    let cases: Vec<_> = (0..300)
        .map(|_| {
            let one = format!("[global]\n{}", dice.text(&PIECES, 8));
            let two = format!(
                "[{}]\n{}",
                dice.pick(&["global", "wheel"]),
                dice.text(&PIECES, 6)
            );
            case_with_configuration(
                &[("home/.pip/pip.conf", &one), ("prefix/pip.conf", &two)],
                &[],
            )
        })
        .collect();
    compare("configuration", &cases, our_configuration);
}
