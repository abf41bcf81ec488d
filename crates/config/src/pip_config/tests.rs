//! Configuration as a whole, read from a map instead of a filesystem.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

#[derive(Default)]
struct Machine {
    files: BTreeMap<PathBuf, Option<String>>,
    environment: Vec<(String, String)>,
    isolated: bool,
}

impl ReadSource for Machine {
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>> {
        let FileSource::File(path) = source else {
            panic!("{source} is not a path")
        };
        match self.files.get(path) {
            Some(Some(text)) => Ok(text.clone().into_bytes()),
            Some(None) => Err(io::ErrorKind::PermissionDenied.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }
}

impl Machine {
    fn new(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut environment: Vec<_> = environment.iter().map(owned).collect();
        environment.push(("HOME".to_owned(), "/home/a".to_owned()));
        let files = files
            .iter()
            .map(|(path, text)| (path.into(), Some((*text).to_owned())));
        Self {
            files: files.collect(),
            environment,
            isolated: false,
        }
    }

    fn try_load(&self) -> Result<PipConfiguration, ConfigurationError> {
        let environment = self.environment.iter().cloned().collect();
        let request = ConfigurationRequest {
            environment: &environment,
            working_directory: Path::new("/srv"),
            sections: &["wheel"],
            prefix: Some(Path::new("/venv")),
            isolated: self.isolated,
            platform: PathConventions::Unix,
        };
        PipConfiguration::load(&request, self)
    }

    fn load(&self) -> PipConfiguration {
        self.try_load().unwrap()
    }
}

fn load(files: &[(&str, &str)], environment: &[(&str, &str)]) -> PipConfiguration {
    Machine::new(files, environment).load()
}

const GLOBAL: &str = "/etc/pip.conf";
const USER: &str = "/home/a/.config/pip/pip.conf";
const LEGACY: &str = "/home/a/.pip/pip.conf";
const SITE: &str = "/venv/pip.conf";

fn timeout(value: &str) -> String {
    format!("[global]\ntimeout={value}")
}

#[test]
fn levels_have_precedence() {
    let (one, two, three, four) = (timeout("1"), timeout("2"), timeout("3"), timeout("4"));
    let mut files = vec![(GLOBAL, one.as_str())];
    assert_eq!(load(&files, &[]).text("timeout"), Some("1"));
    files.push((LEGACY, &two));
    assert_eq!(load(&files, &[]).text("timeout"), Some("2"));
    files.push((USER, &three));
    assert_eq!(load(&files, &[]).text("timeout"), Some("3"));
    files.push((SITE, &four));
    assert_eq!(load(&files, &[]).text("timeout"), Some("4"));
    files.push(("/srv/named.conf", "[global]\ntimeout=5"));
    let named = ("PIP_CONFIG_FILE", "named.conf");
    assert_eq!(load(&files, &[named]).text("timeout"), Some("5"));
    let variables = [named, ("PIP_DEFAULT_TIMEOUT", "6")];
    let configuration = load(&files, &variables);
    assert_eq!(configuration.text("timeout"), Some("6"));
    assert_eq!(configuration.used("timeout").count(), 1);
}

#[test]
fn command_section_overrides_global_sections() {
    let files = [
        (GLOBAL, "[wheel]\ntimeout=1\n[install]\nretries=9"),
        (USER, "[global]\ntimeout=2"),
    ];
    let configuration = load(&files, &[]);
    assert_eq!(configuration.text("timeout"), Some("1"));
    assert_eq!(configuration.text("retries"), None);
    let other = configuration
        .settings()
        .iter()
        .find(|it| it.option == "retries")
        .unwrap();
    assert_eq!(other.status, SettingStatus::OtherSection);
    let origin = "`/etc/pip.conf` line 4, section `[install]`";
    assert_eq!(other.origin.to_string(), origin);
}

#[test]
fn pip_config_file_replaces_user_file_or_all() {
    let files = [
        (USER, "[global]\ntimeout=1"),
        ("/a.conf", "[global]\nretries=2"),
        (GLOBAL, "[global]\nproxy=3"),
    ];
    let configuration = load(&files, &[("PIP_CONFIG_FILE", "/a.conf")]);
    assert_eq!(configuration.text("timeout"), None);
    assert_eq!(configuration.text("retries"), Some("2"));
    assert_eq!(configuration.text("proxy"), Some("3"));
    let configuration = load(&files, &[("PIP_CONFIG_FILE", "/missing.conf")]);
    assert_eq!(configuration.text("timeout"), Some("1"));
    let missing = configuration.files().last().unwrap();
    assert_eq!(missing.status, FileStatus::Missing);
    let variables = [("PIP_CONFIG_FILE", "/dev/null"), ("PIP_RETRIES", "4")];
    let configuration = load(&files, &variables);
    assert!(configuration.files().is_empty());
    assert_eq!(configuration.settings().len(), 1);
}

#[test]
fn isolated_mode_reads_global_and_site_files() {
    let files = [(USER, "[global]\ntimeout=1"), (SITE, "[global]\nretries=2")];
    let mut machine = Machine::new(&files, &[("PIP_PROXY", "3")]);
    machine.isolated = true;
    let configuration = machine.load();
    assert_eq!(configuration.text("timeout"), None);
    assert_eq!(configuration.text("retries"), Some("2"));
    assert_eq!(configuration.text("proxy"), None);
}

#[test]
fn empty_values_are_unset() {
    let files = [
        (GLOBAL, "[global]\nindex-url=https://a/\nproxy=b"),
        (USER, "[global]\nproxy="),
    ];
    let configuration = load(&files, &[("PIP_INDEX_URL", "")]);
    assert_eq!(configuration.text("index-url"), Some("https://a/"));
    // An empty value of a file with higher precedence replaces the value of the same section.
    assert_eq!(configuration.text("proxy"), None);
}

#[test]
fn lists_replace_and_format_controls_accumulate() {
    let files = [(
        GLOBAL,
        "[global]\nfind-links =\n  a\n  b c\nno-binary = :all:\nextra-index-url = d\n\
         [wheel]\nonly-binary = e\nextra-index-url = f",
    )];
    let configuration = load(
        &files,
        &[
            ("PIP_NO_BINARY", "g,:none:,h"),
            ("PIP_EXTRA_INDEX_URL", "i j"),
        ],
    );
    assert_eq!(configuration.list("find-links"), ["a", "b", "c"]);
    assert_eq!(configuration.list("extra-index-url"), ["i", "j"]);
    let options = configuration.file_options(&Machine::default()).unwrap();
    let control = "--no-binary=h --only-binary=e";
    assert_eq!(options.format_control.to_string(), control);
}

#[test]
fn variables_keep_order_for_format_controls() {
    let control = |variables: &[(&str, &str)]| {
        let options = load(&[], variables)
            .file_options(&Machine::default())
            .unwrap();
        options.format_control.to_string()
    };
    let (all, one) = (("PIP_ONLY_BINARY", ":all:"), ("PIP_NO_BINARY", "a"));
    assert_eq!(control(&[all, one]), "--only-binary=:all: --no-binary=a");
    assert_eq!(control(&[one, all]), "--only-binary=:all:");
}

#[test]
fn keeps_unknown_options() {
    let variables = [
        ("PIP_BUILD_TRACKER", "a"),
        ("PIP_VERSION", "b"),
        ("pip_retries", "c"),
    ];
    let configuration = load(&[], &variables);
    let [setting] = configuration.settings() else {
        panic!("{configuration:?}")
    };
    assert_eq!(setting.option, "build-tracker");
    assert_eq!(setting.status, SettingStatus::UnknownOption);
    assert_eq!(setting.origin.to_string(), "`PIP_BUILD_TRACKER`");
}

#[test]
fn parses_typed_values() {
    let variables = [
        ("PIP_TIMEOUT", "2.5"),
        ("PIP_RETRIES", "3"),
        ("PIP_VERBOSE", "2"),
        ("PIP_QUIET", "yes"),
        ("PIP_NO_BUILD_ISOLATION", "0"),
        ("PIP_NO_CACHE_DIR", "off"),
        ("PIP_PRE", "YES"),
        ("PIP_CERT", "~/ca.pem"),
        ("PIP_CONFIG_SETTINGS", "a=b=c"),
    ];
    let configuration = load(&[], &variables);
    assert_eq!(
        configuration.seconds("timeout").unwrap(),
        Some(Duration::from_millis(2500))
    );
    assert_eq!(configuration.number("retries").unwrap(), Some(3));
    assert_eq!(configuration.count("verbose").unwrap(), Some(2));
    assert_eq!(configuration.count("quiet").unwrap(), Some(1));
    assert!(configuration.count("timeout").is_err());
    assert_eq!(configuration.build_isolation().unwrap(), Some(false));
    assert!(configuration.cache_is_disabled().unwrap());
    assert_eq!(configuration.flag("pre").unwrap(), Some(true));
    assert_eq!(
        configuration.path("cert"),
        Some(PathBuf::from("/home/a/ca.pem"))
    );
    assert_eq!(configuration.config_settings().unwrap(), [("a", "b=c")]);
    let options = configuration.file_options(&Machine::default()).unwrap();
    assert_eq!(options.release_control.allows_prereleases("x"), Some(true));
}

#[test]
fn configuration_is_base_of_requirements_files() {
    let variables = [
        ("PIP_INDEX_URL", "https://a/"),
        ("PIP_FIND_LINKS", "~/wheels ~/none d"),
        ("PIP_TRUSTED_HOST", "e f"),
        ("PIP_REQUIRE_HASHES", "1"),
    ];
    let machine = Machine::new(&[("/home/a/wheels", "")], &variables);
    let options = machine.load().file_options(&machine).unwrap();
    assert_eq!(options.index_url.as_deref(), Some("https://a/"));
    assert_eq!(options.find_links, ["/home/a/wheels", "~/none", "d"]);
    assert_eq!(options.trusted_hosts, ["e", "f"]);
    assert!(options.require_hashes);
    let variables = [
        ("PIP_NO_INDEX", "on"),
        ("PIP_INDEX_URL", "a"),
        ("PIP_EXTRA_INDEX_URL", "b"),
    ];
    let options = load(&[], &variables).file_options(&machine).unwrap();
    assert!(options.no_index && options.index_url.is_none() && options.extra_index_urls.is_empty());
}

#[test]
fn errors_name_variable_or_file() {
    let configuration = load(
        &[(GLOBAL, "[global]\nno-index = maybe")],
        &[("PIP_TIMEOUT", "soon")],
    );
    let error = configuration.flag("no-index").unwrap_err();
    let message = "`/etc/pip.conf` line 2, section `[global]` sets `no-index` to `maybe`, which is \
                   not a truth value such as yes or no, true or false, 1 or 0";
    assert_eq!(error.to_string(), message);
    let error = configuration.seconds("timeout").unwrap_err();
    let message = "`PIP_TIMEOUT` sets `timeout` to `soon`, which is not a number of seconds";
    assert_eq!(error.to_string(), message);
    let variables = [("PIP_PRE", "1"), ("PIP_ONLY_FINAL", "a")];
    let error = load(&[], &variables)
        .file_options(&Machine::default())
        .unwrap_err();
    let message = "`pre`, set in `PIP_PRE`, cannot be used with `all-releases` or `only-final`";
    assert_eq!(error.to_string(), message);
}

#[test]
fn reports_invalid_files_and_skips_unreadable_ones() {
    let error = Machine::new(&[(USER, "test]\nhello=4")], &[])
        .try_load()
        .unwrap_err();
    let message = "configuration file `/home/a/.config/pip/pip.conf` cannot be parsed";
    assert_eq!(error.to_string(), message);
    let mut machine = Machine::new(&[], &[]);
    machine.files.insert(GLOBAL.into(), None);
    let configuration = machine.load();
    assert_eq!(configuration.files()[1].status, FileStatus::Unreadable);
}
