//! Requirements files as a whole, read from a map instead of a filesystem.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::reader::MANY;
use super::*;

/// Files by their source, and existing directories.
#[derive(Default)]
struct MemoryTree {
    files: BTreeMap<String, Vec<u8>>,
    directories: Vec<PathBuf>,
    environment: Environment,
}

impl ReadSource for MemoryTree {
    fn read(&self, source: &FileSource) -> io::Result<Vec<u8>> {
        let content = self.files.get(&source.to_string()).cloned();
        content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn exists(&self, path: &Path) -> bool {
        self.directories.iter().any(|known| known == path)
    }
}

impl MemoryTree {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
            .collect();
        Self {
            files,
            ..Self::default()
        }
    }

    fn read_as(&self, role: FileRole, file: &str) -> Result<RequirementsFile, RequirementsError> {
        let context = ReadContext {
            environment: &self.environment,
            working_directory: Path::new("/srv"),
            reader: self,
        };
        let file = FileSource::parse(file).unwrap();
        read_requirements(&[(role, file)], &context, FileOptions::default())
    }

    fn read(&self, file: &str) -> RequirementsFile {
        self.read_as(FileRole::Requirements, file).unwrap()
    }

    fn error(&self, file: &str) -> String {
        let error = self.read_as(FileRole::Requirements, file).unwrap_err();
        chain(&error)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn read(content: &str) -> RequirementsFile {
    MemoryTree::new(&[("/srv/a.txt", content)]).read("a.txt")
}

fn texts(lines: &[RequirementLine]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

fn notices(requirements: &RequirementsFile) -> Vec<String> {
    requirements
        .notices
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn parses_requirement_with_options() {
    let found = read(
        "# first\n\
         Some.Project[extra] >= 2 ; python_version > '3' \\\n\
           --hash=sha256:aa --hash=sha512:bb \\\n\
           -C 'a=b c' --config-settings=d=e=f\n",
    );
    let [line] = found.requirements.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(line.text, "Some.Project[extra] >= 2 ; python_version > '3'");
    assert_eq!(line.hashes, ["sha256:aa", "sha512:bb"]);
    let settings = [
        ("a".to_owned(), "b c".to_owned()),
        ("d".to_owned(), "e=f".to_owned()),
    ];
    assert_eq!(line.config_settings, settings);
    assert_eq!(line.location.to_string(), "`a.txt` line 2");
    assert_eq!(line.base, Path::new("/srv"));
    assert!(!line.editable);
    assert!(found.notices.is_empty());
}

#[test]
fn marks_editable_requirements() {
    let found = read("-e git+https://host/a#egg=a\n--editable=./b --hash=sha256:aa\n-e c -C d=e");
    assert_eq!(
        texts(&found.requirements),
        ["git+https://host/a#egg=a", "./b", "c"]
    );
    assert!(found.requirements.iter().all(|line| line.editable));
    assert!(found.requirements[1].hashes.is_empty());
    assert_eq!(found.requirements[2].config_settings.len(), 1);
    let expected = ["`a.txt` line 2: `--hash` has no effect on an editable requirement"];
    assert_eq!(notices(&found), expected);
}

#[test]
fn reads_nested_files_in_place_with_their_role() {
    let tree = MemoryTree::new(&[
        ("/srv/parent/a.txt", "one\n-r b.txt\n-c ../c.txt\ntwo"),
        ("/srv/parent/b.txt", "three\n--requirement=/other/d.txt"),
        ("/srv/c.txt", "four<4\n-r parent/e.txt"),
        ("/other/d.txt", "five"),
        ("/srv/parent/e.txt", "six"),
    ]);
    let found = tree.read("./parent/a.txt");
    assert_eq!(
        texts(&found.requirements),
        ["one", "three", "five", "six", "two"]
    );
    assert_eq!(texts(&found.constraints), ["four<4"]);
    assert_eq!(
        found.requirements[0].location.to_string(),
        "`./parent/a.txt` line 1"
    );
    assert_eq!(
        found.requirements[2].location.to_string(),
        "`/other/d.txt` line 1"
    );
    let found = tree.read_as(FileRole::Constraints, "c.txt").unwrap();
    assert_eq!(texts(&found.constraints), ["four<4"]);
    assert_eq!(texts(&found.requirements), ["six"]);
}

#[test]
fn reads_files_at_urls() {
    let tree = MemoryTree::new(&[
        ("/srv/a.txt", "-r http://me.com/me/a.txt"),
        ("http://me.com/me/a.txt", "-r b.txt"),
        ("http://me.com/me/b.txt", "hello\n--find-links d"),
    ]);
    let found = tree.read("a.txt");
    assert_eq!(texts(&found.requirements), ["hello"]);
    assert_eq!(found.options.find_links, ["d"]);
    assert_eq!(tree.read("http://me.com/me/a.txt").requirements.len(), 1);
}

#[test]
fn reading_a_file_twice_is_not_recursion() {
    let tree = MemoryTree::new(&[
        ("/srv/a.txt", "requests"),
        ("/srv/b.txt", "-r a.txt"),
        ("/srv/c.txt", "-r a.txt\n-r b.txt"),
    ]);
    assert_eq!(
        texts(&tree.read("c.txt").requirements),
        ["requests", "requests"]
    );
}

#[test]
fn recursion_is_an_error() {
    let tree = MemoryTree::new(&[
        ("/srv/0.txt", "-r 1.txt"),
        ("/srv/1.txt", "\n-c 2.txt"),
        ("/srv/2.txt", "-r ./x/../0.txt"),
        ("/srv/3.txt", "-r 4.txt"),
        ("/srv/4.txt", "-r 5.txt"),
        ("/srv/5.txt", "-r 4.txt"),
        ("http://h/a", "-r a"),
    ]);
    let message = "`/srv/2.txt` line 1 names `/srv/0.txt`, which is already being read";
    assert_eq!(tree.error("0.txt"), message);
    let message = "`/srv/5.txt` line 1 names `/srv/4.txt`, which is already being read \
                   because `3.txt` names it";
    assert_eq!(tree.error("3.txt"), message);
    let message = "`http://h/a` line 1 names `http://h/a`, which is already being read";
    assert_eq!(tree.error("http://h/a"), message);
}

#[test]
fn limits_depth_of_nested_files() {
    let growing = |source: &FileSource| Ok(format!("-r {source}x").into_bytes());
    let context = ReadContext {
        environment: &Environment::default(),
        working_directory: Path::new("/srv"),
        reader: &growing,
    };
    let file = FileSource::parse("http://h/").unwrap();
    let outcome = read_requirements(
        &[(FileRole::Requirements, file)],
        &context,
        FileOptions::default(),
    );
    assert!(matches!(outcome, Err(RequirementsError::TooDeep { .. })));
}

#[test]
fn limits_number_of_nested_files() {
    let level = |number: usize| format!("-r d{}.txt\n-r d{}.txt\n", number + 1, number + 1);
    let levels: Vec<_> = (0..30)
        .map(|it| (format!("/srv/d{it}.txt"), level(it)))
        .collect();
    let mut files: Vec<_> = levels
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    files.push(("/srv/d30.txt", "pkg\n"));
    let found = MemoryTree::new(&files).read("/srv/d0.txt");
    assert!(
        found.requirements.len() <= MANY,
        "{}",
        found.requirements.len()
    );

    files.pop();
    files.push(("/srv/d30.txt", "--index-url https://host/simple\n"));
    let outcome = MemoryTree::new(&files).read_as(FileRole::Requirements, "/srv/d0.txt");
    assert!(matches!(outcome, Err(RequirementsError::TooDeep { .. })));
}

#[test]
fn missing_file_is_an_error_with_including_line() {
    let tree = MemoryTree::new(&[("/srv/a.txt", "a\n-c b.txt")]);
    let message = "constraints file `/srv/b.txt`, which `a.txt` line 2 names, cannot be read: \
                   entity not found";
    assert_eq!(tree.error("a.txt"), message);
    let message = "requirements file `c.txt` cannot be read: entity not found";
    assert_eq!(tree.error("c.txt"), message);
}

#[test]
fn invalid_line_is_an_error_with_its_text() {
    let tree = MemoryTree::new(&[("/srv/a.txt", "a\nb \\\n  --hash=somehash")]);
    let message = "`a.txt` line 2 reads `b   --hash=somehash`: option `--hash` has the value \
                   `somehash`, which is not `ALGORITHM:DIGEST` with one of sha256, sha384, sha512";
    assert_eq!(tree.error("a.txt"), message);
    let tree = MemoryTree::new(&[("/srv/a.txt", "--find-links=a\n--no-use-wheel")]);
    let message = "`a.txt` line 2 reads `--no-use-wheel`: option `--no-use-wheel` is unknown";
    assert_eq!(tree.error("a.txt"), message);
    let tree = MemoryTree::new(&[("/srv/a.txt", "-r http://")]);
    assert_eq!(
        tree.error("a.txt"),
        "`a.txt` line 1 names the file `-r http://`: empty host"
    );
}

#[test]
fn expands_variables_without_showing_values() {
    let mut tree = MemoryTree::new(&[
        (
            "/srv/a.txt",
            "https://${TOKEN}:x@host/a.zip\n-e ${PATH_1} ${TOKEN}\n${UNSET}",
        ),
        ("/srv/b.txt", "a -C ${TOKEN}"),
        ("/srv/c.txt", "--no-binary=${OPTION}"),
    ]);
    tree.environment = Environment::from_iter([
        ("TOKEN", "secret"),
        ("PATH_1", "./a"),
        ("OPTION", "-secret"),
    ]);
    let found = tree.read("a.txt");
    assert_eq!(
        texts(&found.requirements),
        ["https://secret:x@host/a.zip", "./a", "${UNSET}"]
    );
    assert_eq!(
        found.requirements[0].written,
        "https://${TOKEN}:x@host/a.zip"
    );
    assert_eq!(found.requirements[1].written, "${PATH_1}");
    let expected = ["`a.txt` line 2: `${TOKEN}` is ignored, because it follows options"];
    assert_eq!(notices(&found), expected);
    assert!(!tree.error("b.txt").contains("secret"));
    let message = "`c.txt` line 1 reads `--no-binary=${OPTION}`: the value of a variable makes the \
                   options invalid";
    assert_eq!(tree.error("c.txt"), message);
}

#[test]
fn later_index_replaces_earlier_like_in_pip() {
    let options =
        read("--extra-index-url a\n-i b\n--extra-index-url c --extra-index-url=d").options;
    assert_eq!(options.index_url.as_deref(), Some("b"));
    assert_eq!(options.extra_index_urls, ["c", "d"]);
    let found = read("-i a\n--extra-index-url b\n--no-index\n-i c");
    assert!(found.options.no_index);
    assert_eq!(found.options.index_url, None);
    assert!(found.options.extra_index_urls.is_empty());
    assert_eq!(
        notices(&found),
        ["`a.txt` line 4: `--index-url` has no effect after `--no-index`"]
    );
    let joined = read("--extra-index-url url1 \\\n--extra-index-url url2").options;
    assert_eq!(joined.extra_index_urls, ["url1", "url2"]);
}

#[test]
fn find_links_are_relative_to_file_if_they_exist() {
    let mut tree = MemoryTree::new(&[(
        "/srv/p/a.txt",
        "--find-links=rel\n-f other\n-f /abs\n-f https://h/ -f second",
    )]);
    tree.directories = vec![PathBuf::from("/srv/p/rel")];
    let found = tree.read("p/a.txt");
    assert_eq!(
        found.options.find_links,
        ["/srv/p/rel", "other", "/abs", "https://h/"]
    );
    let expected = ["`p/a.txt` line 4: only the first `--find-links` of a line has an effect"];
    assert_eq!(notices(&found), expected);
}

#[test]
fn other_options_accumulate() {
    let found = read(
        "--trusted-host=host1 --trusted-host=host2:8080\n--prefer-binary --require-hashes\n\
         --no-require-hashes\n--use-feature=fast-deps\n--use-feature fast-deps\n\
         --use-feature=truststore\n--pre\n--only-final b\n--uploaded-prior-to=P3D\n\
         --only-binary=wilma --no-binary=fred",
    );
    let options = &found.options;
    assert_eq!(options.trusted_hosts, ["host1", "host2:8080"]);
    assert!(options.prefer_binary && options.require_hashes && options.no_require_hashes);
    assert_eq!(options.features, ["fast-deps"]);
    assert_eq!(options.release_control.allows_prereleases("a"), Some(true));
    assert_eq!(options.release_control.allows_prereleases("b"), Some(false));
    assert_eq!(options.uploaded_prior_to.as_deref(), Some("P3D"));
    let control = "--no-binary=fred --only-binary=wilma";
    assert_eq!(options.format_control.to_string(), control);
    assert_eq!(
        notices(&found),
        ["`a.txt` line 6: feature `truststore` is always on"]
    );
}

#[test]
fn files_continue_from_previous_options() {
    let tree = MemoryTree::new(&[("/srv/a.txt", "--no-binary=:none:\n-i b")]);
    let mut options = FileOptions::default();
    options.format_control.apply_no_binary(":all:").unwrap();
    options.extra_index_urls.push("a".to_owned());
    let context = ReadContext {
        environment: &tree.environment,
        working_directory: Path::new("/srv"),
        reader: &tree,
    };
    let file = FileSource::parse("a.txt").unwrap();
    let found = read_requirements(&[(FileRole::Requirements, file)], &context, options).unwrap();
    assert_eq!(
        found.options.format_control,
        crate::format_control::FormatControl::default()
    );
    assert!(found.options.extra_index_urls.is_empty());
    assert_eq!(found.notices[0].kind, WarningKind::ExtraIndexesDropped);
}

#[test]
fn warns_about_options_without_effect() {
    let tree = MemoryTree::new(&[
        (
            "/srv/a.txt",
            "a --pre --no-binary=b -r b.txt\n-r b.txt --pre -r c.txt --only-binary c\n-e d -e e\n\
             f -e g\n--hash=sha256:aa h",
        ),
        ("/srv/b.txt", ""),
    ]);
    let found = tree.read("a.txt");
    assert_eq!(texts(&found.requirements), ["a", "d", "f"]);
    assert!(found.requirements[2].editable);
    assert_eq!(
        found.options.format_control.to_string(),
        "--no-binary=b --only-binary=c"
    );
    assert_eq!(
        notices(&found),
        [
            "`a.txt` line 1: `--pre` has no effect beside a requirement",
            "`a.txt` line 1: `--requirement` has no effect beside a requirement",
            "`a.txt` line 2: `--pre` has no effect beside the name of a file",
            "`a.txt` line 2: only the first `--requirement` of a line has an effect",
            "`a.txt` line 3: only the first `--editable` of a line has an effect",
            "`a.txt` line 4: `--editable` has no effect beside a requirement",
            "`a.txt` line 5: `h` is ignored, because it follows options",
            "`a.txt` line 5: `--hash` has no effect without a requirement",
        ]
    );
}

#[test]
fn detects_and_reports_encodings() {
    let mut tree = MemoryTree::new(&[]);
    let latin = b"# coding=latin1\nDjango==1.4.2 # Pas trop de caf\xe9".to_vec();
    tree.files.insert("/srv/a.txt".to_owned(), latin);
    tree.files
        .insert("/srv/b.txt".to_owned(), b"pip # \xff".to_vec());
    assert_eq!(texts(&tree.read("a.txt").requirements), ["Django==1.4.2"]);
    let message = "requirements file `b.txt` is not text: the content is not valid utf-8";
    assert_eq!(tree.error("b.txt"), message);
    tree.environment = Environment::from_iter([("LANG", "fr_FR.ISO-8859-1")]);
    let found = tree.read("b.txt");
    assert_eq!(texts(&found.requirements), ["pip"]);
    assert!(notices(&found)[0].starts_with("`b.txt` line 1: the file is not utf-8"));
}

prop_compose! {
    fn any_line()(
        text in "[a-z][a-z0-9]{0,8}(\\[x\\])?( ?== ?[0-9]{1,3})?( ?; ?python_version < '3')?",
        editable: bool,
        digests in prop::collection::vec("[0-9a-f]{1,8}", 0..3),
        settings in prop::collection::vec(("[a-z-]{1,5}", "[a-z '\"\\\\=-]{0,8}"), 0..3),
    ) -> RequirementLine {
        let digests = if editable { Vec::new() } else { digests };
        let hashes = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
        RequirementLine {
            written: text.clone(),
            text,
            editable,
            hashes,
            config_settings: settings,
            location: LineLocation { source: FileSource::parse("a.txt").unwrap(), line: 1 },
            base: PathBuf::from("/srv"),
        }
    }
}

proptest! {
    #[test]
    fn written_lines_round_trip(lines in prop::collection::vec(any_line(), 0..5)) {
        let text = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let mut found = read(&text);
        prop_assert!(found.notices.is_empty());
        for line in &mut found.requirements {
            line.location.line = 1;
        }
        prop_assert_eq!(found.requirements, lines);
    }

    #[test]
    fn arbitrary_bytes_never_panic(content: Vec<u8>, text in "(\\PC|-[a-zC]|--|\n|\\\\|=| ){0,40}") {
        let mut tree = MemoryTree::default();
        tree.files.insert("/srv/a.txt".to_owned(), content);
        tree.files.insert("/srv/b.txt".to_owned(), text.into_bytes());
        let _ = tree.read_as(FileRole::Requirements, "a.txt");
        let _ = tree.read_as(FileRole::Constraints, "b.txt");
    }
}
