//! Bounds on everything that is read from outside: servers, archives, hooks and files of the user.
//!
//! Each bound is far above the largest that is published, and low enough that memory and time stay small. The functions
//! judge text before a parser sees it: the parsers of requirements and of TOML recurse, so deep nesting would end the
//! process, and the time that markers take grows with the square of their clauses.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

/// An index page, inflated (bytes). The largest on `PyPI` have about 40 MiB.
pub const PAGE: u64 = 256 << 20;

/// Core metadata: `METADATA`, `PKG-INFO` and `.metadata` files, inflated (bytes). The largest published are below 2 MiB.
pub const METADATA: u64 = 16 << 20;

/// The bills of materials in one wheel (PEP 770), inflated (bytes). Those of large Rust projects have about 1 MiB.
pub const SBOMS_BYTES: u64 = 8 << 20;

/// The files with bills of materials in one wheel. Builders write one or two.
pub const SBOMS: usize = 100;

/// A `pyproject.toml` (bytes). Large ones have 100 KiB.
pub const PYPROJECT: u64 = 1 << 20;

/// A file that the user names: requirements, constraints, configuration, a lock or a manifest (bytes). Requirements of
/// whole distributions with all hashes have about 1 MiB, locks of monorepos about 10 MiB.
pub const LOCAL_FILE: u64 = 64 << 20;

/// A file whose size neither its index nor its server announces (bytes). Servers that stream without a length are
/// scripts and proxies; large wheels lie on servers that announce them.
pub const UNANNOUNCED_FILE: u64 = 1 << 30;

/// The layers of an image. Container engines mount up to 500.
pub const LAYERS: usize = 1_000;

/// The files, directories and links in all layers of an image.
pub const IMAGE_ENTRIES: u64 = 500_000;

/// The result of a hook (bytes): a file name, or a list of build requirements.
pub const HOOK_RESULT: u64 = 1 << 20;

/// The length of one requirement (bytes). URLs and markers of exporters take a few KiB.
pub const REQUIREMENT: usize = 64 << 10;

/// The deepest nesting of parentheses in a requirement, and of arrays and tables in TOML. Markers that tools write nest about
/// 10 deep.
pub const NESTING: usize = 100;

/// The clauses of one requirement: its extras, the comparisons of its versions and those of its marker. The longest
/// published have about 100; 1,000 take about a second.
pub const CLAUSES: usize = 1_000;

/// The requirements that one package has. `apache-airflow` has about 1,500 with its extras.
pub const REQUIREMENTS: usize = 20_000;

/// The requirements that the build of one source has. Large ones have about 30.
pub const BUILD_REQUIREMENTS: usize = 1_000;

/// The archives at URLs that requirements name, and that these name in turn.
pub const DIRECT_REFERENCES: usize = 1_000;

/// The largest number of builds that wait for one another, each for what it requires to be built. About 5 occur.
pub const BUILD_DEPTH: usize = 20;

/// A server that sends less than [`LEAST_RATE`] over this time, or over `--timeout` if that is longer, is given up. A server
/// may be silent for `--timeout`, so no less can be demanded of it. curl calls the two `--speed-time` and `--speed-limit`.
pub const RATE_WINDOW: Duration = Duration::from_secs(15);

/// The least rate of a server (bytes per second). Far below a modem: only servers that mean to stall are slower.
pub const LEAST_RATE: u64 = 100;

/// A bound that a text exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// It has more than so many bytes.
    #[error("it is larger than {}", Size(*.0))]
    Size(u64),
    /// One of its requirements has more than [`REQUIREMENT`] bytes.
    #[error("a requirement is longer than {} KiB", REQUIREMENT >> 10)]
    Length,
    /// It nests deeper than [`NESTING`].
    #[error("it is nested more than {NESTING} deep")]
    Nesting,
    /// One of its requirements has more than [`CLAUSES`] clauses.
    #[error("a requirement has more than {CLAUSES} extras and comparisons")]
    Clauses,
    /// It lists more than so many requirements.
    #[error("it has more than {0} requirements")]
    Requirements(usize),
}

/// Shows a number of bytes in the largest unit that divides it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            size if size.is_multiple_of(1 << 30) => write!(formatter, "{} GiB", size >> 30),
            size if size.is_multiple_of(1 << 20) => write!(formatter, "{} MiB", size >> 20),
            size => write!(formatter, "{size} bytes"),
        }
    }
}

/// Returns the beginning of `text`, for a message.
#[must_use]
pub fn excerpt(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Checks that `length` bytes are not more than `limit`.
///
/// # Errors
/// They are more.
pub fn size(length: u64, limit: u64) -> Result<(), Excess> {
    if length > limit {
        return Err(Excess::Size(limit));
    }
    Ok(())
}

/// Reads all of `reader`, but never more than `limit` bytes.
///
/// # Errors
/// `InvalidData` with [`Excess::Size`] if there is more, and those of `reader`.
pub fn read(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    size(bytes.len() as u64, limit)
        .map_err(|excess| io::Error::new(io::ErrorKind::InvalidData, excess))?;
    Ok(bytes)
}

/// Checks a requirement, a marker or a list of version specifiers.
///
/// # Errors
/// It is too long, nests too deep, or has too many clauses.
pub fn requirement(text: &str) -> Result<(), Excess> {
    if text.len() > REQUIREMENT {
        return Err(Excess::Length);
    }
    let (mut depth, mut clauses) = (0_usize, 0_usize);
    let (mut quote, mut lists_extras) = (None, false);
    let mut previous = ' ';
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            // `python_version in '3.8 3.9'` compares with each word, `3.8|3.9` likewise.
            (Some(_), ' ' | ',' | '|') => clauses += 1,
            (None, '"' | '\'') => quote = Some(character),
            (None, '(' | '[') => {
                depth += 1;
                lists_extras = character == '[';
            }
            (None, ')' | ']') => {
                depth = depth.saturating_sub(1);
                lists_extras = false;
            }
            (None, ',') if lists_extras => clauses += 1,
            (None, '<' | '>' | '=' | '!' | '~') if !is_comparison(previous) => clauses += 1,
            _ => {}
        }
        if depth > NESTING {
            return Err(Excess::Nesting);
        }
        if clauses > CLAUSES {
            return Err(Excess::Clauses);
        }
        previous = character;
    }
    Ok(())
}

fn is_comparison(character: char) -> bool {
    matches!(character, '<' | '>' | '=' | '!' | '~')
}

/// Checks core metadata: its size, and each field that is parsed as a requirement or as version specifiers.
///
/// # Errors
/// It is too large, or one of the fields is refused by [`requirement`].
pub fn metadata(bytes: &[u8]) -> Result<(), Excess> {
    size(bytes.len() as u64, METADATA)?;
    let mut requirements = 0;
    // Fields may be continued on further lines, and the end of the headers is not the same for all parsers. So every
    // paragraph that begins like such a field is checked, up to the next line that begins another one.
    let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if !is_parsed_field(line) {
            continue;
        }
        requirements += 1;
        if requirements > REQUIREMENTS {
            return Err(Excess::Requirements(REQUIREMENTS));
        }
        let mut field = line.to_vec();
        while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
            field.extend_from_slice(more);
            if field.len() > REQUIREMENT {
                return Err(Excess::Length);
            }
        }
        requirement(&String::from_utf8_lossy(&field))?;
    }
    Ok(())
}

fn is_parsed_field(line: &[u8]) -> bool {
    const FIELDS: [&[u8]; 4] = [
        b"requires-dist",
        b"requires-python",
        b"requires:",
        b"provides-extra",
    ];
    FIELDS.iter().any(|field| {
        line.get(..field.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(field))
    })
}

/// Checks how deep the arrays, tables and dotted keys of a TOML document nest.
///
/// # Errors
/// They nest too deep.
pub fn toml(text: &str) -> Result<(), Excess> {
    // The dots in the key at each level of brackets; a dotted key nests as well.
    let mut levels = vec![0_usize];
    let mut depth = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        // The outermost level stays.
        let Some(dots) = levels.last_mut() else { break };
        match byte {
            b'#' => at = end_of_line(bytes, at),
            b'"' | b'\'' => at = end_of_string(bytes, at) - 1,
            b'.' => {
                *dots += 1;
                depth += 1;
            }
            b',' | b'\n' => {
                depth -= *dots;
                *dots = 0;
            }
            b'[' | b'{' => {
                levels.push(0);
                depth += 1;
            }
            b']' | b'}' if levels.len() > 1 => {
                depth -= levels.pop().unwrap_or_default() + 1;
            }
            _ => {}
        }
        if depth > NESTING {
            return Err(Excess::Nesting);
        }
        at += 1;
    }
    Ok(())
}

/// Checks a `pyproject.toml`: how deep it nests, and what it says of requirements.
///
/// # Errors
/// It is too large, nests too deep, or one of its requirements is refused by [`requirement`].
pub fn pyproject(text: &str) -> Result<(), Excess> {
    size(text.len() as u64, PYPROJECT)?;
    toml(text)?;
    // What is not valid is reported by the parser that comes after.
    let Ok(document) = text.parse::<toml::Table>() else {
        return Ok(());
    };
    let project = document.get("project").and_then(toml::Value::as_table);
    let texts = ["description", "readme"];
    let fields = project.into_iter().flatten();
    let fields = fields.filter(|(key, _)| !texts.contains(&key.as_str()));
    let tools = document.get("tool").and_then(|tools| tools.get("uv"));
    let tables = ["build-system", "dependency-groups"].map(|name| document.get(name));
    let tables = tables.into_iter().flatten().chain(tools);
    let mut values: Vec<&toml::Value> = fields.map(|(_, value)| value).chain(tables).collect();
    while let Some(value) = values.pop() {
        match value {
            toml::Value::String(text) => requirement(text)?,
            toml::Value::Array(items) => values.extend(items),
            toml::Value::Table(table) => values.extend(table.values()),
            _ => {}
        }
    }
    Ok(())
}

fn end_of_line(bytes: &[u8], start: usize) -> usize {
    let length = bytes[start..].iter().position(|byte| *byte == b'\n');
    // The end of the line ends a key, too.
    length.map_or(bytes.len(), |length| start + length - 1)
}

/// Returns the end of the TOML string at `start`, past its closing quotes.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let is_long = bytes[start..].starts_with(&[quote; 3]);
    let width = if is_long { 3 } else { 1 };
    let mut at = start + width;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 1,
            // An unclosed string is an error, which the parser reports.
            b'\n' if !is_long => return at,
            byte if byte == quote && (!is_long || bytes[at..].starts_with(&[quote; 3])) => {
                return at + width;
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The progress of a server over a window of time, against the least rate.
#[derive(Clone, Debug)]
pub struct Rate {
    window: Duration,
    /// The time since the start when the window began, and what had come until then.
    begun: (Duration, u64),
    received: u64,
}

impl Rate {
    /// Begins to measure. A server that may be silent for `timeout` is not given up before.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            window: RATE_WINDOW.max(timeout),
            begun: (Duration::ZERO, 0),
            received: 0,
        }
    }

    /// Counts `bytes` that came when `elapsed` had passed since the start.
    ///
    /// # Errors
    /// Fewer bytes came over the window than the least rate.
    pub fn count(&mut self, bytes: usize, elapsed: Duration) -> Result<(), TooSlow> {
        self.received += bytes as u64;
        let (since, before) = self.begun;
        let passed = elapsed.saturating_sub(since);
        if passed < self.window {
            return Ok(());
        }
        if self.received - before < LEAST_RATE * passed.as_secs() {
            return Err(TooSlow(passed.as_secs()));
        }
        self.begun = (elapsed, self.received);
        Ok(())
    }
}

/// A server sent less than the least rate over so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it sent less than {LEAST_RATE} bytes per second for {0} s")]
pub struct TooSlow(u64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(depth: usize) -> String {
        let (open, close) = ("(".repeat(depth), ")".repeat(depth));
        format!("b ; {open}python_version < '2'{close}")
    }

    #[test]
    fn accepts_published_requirements() {
        for text in [
            "requests[security,socks]>=2.8.1,!=2.9.*,<3",
            "a @ https://host/a-1.0.tar.gz#sha256=0 ; (os_name == 'posix' or (python_version < \"3.9\"))",
            &nested(NESTING),
        ] {
            assert_eq!(requirement(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn rejects_nested_and_long_requirements() {
        assert_eq!(requirement(&nested(NESTING + 1)), Err(Excess::Nesting));
        assert_eq!(requirement(&nested(1_000_000)), Err(Excess::Length));
        let versions: Vec<String> = (0..2_000).map(|one| format!("!=2.{one}")).collect();
        let joined = versions.join(",");
        assert_eq!(requirement(&format!("b {joined}")), Err(Excess::Clauses));
        let extras = "e,".repeat(2_000);
        assert_eq!(requirement(&format!("b[{extras}]")), Err(Excess::Clauses));
        let words = "3.1 ".repeat(2_000);
        let marker = format!("b ; python_version in '{words}'");
        assert_eq!(requirement(&marker), Err(Excess::Clauses));
        let quoted = format!("b ; sys_platform == '{}'", "(".repeat(2_000));
        assert_eq!(requirement(&quoted), Ok(()));
    }

    #[test]
    fn checks_every_parsed_field() {
        let fields = [
            format!("Requires-Dist: {}", nested(200)),
            format!("requires-dist : b ;\n {}", &nested(200)[4..]),
            format!("Requires-Python: {}", "!=3.1,".repeat(2_000)),
        ];
        for field in fields {
            let text = format!("Name: a\nVersion: 1\n{field}\n\nbody\n");
            assert!(metadata(text.as_bytes()).is_err(), "{text}");
        }
        let description = format!("Name: a\n\nRequires a lot\n{}", "(".repeat(5_000));
        assert_eq!(metadata(description.as_bytes()), Ok(()));
        let many = "Requires-Dist: b\n".repeat(REQUIREMENTS + 1);
        let excess = Excess::Requirements(REQUIREMENTS);
        assert_eq!(metadata(many.as_bytes()), Err(excess));
    }

    #[test]
    fn rejects_nested_toml() {
        for text in [
            format!("a = {}{}", "[".repeat(200), "]".repeat(200)),
            format!("[{}]", vec!["a"; 200].join(".")),
            format!("{} = 1", vec!["a"; 200].join(".")),
            format!("a = {}1{}", "{a.b=".repeat(60), "}".repeat(60)),
        ] {
            assert_eq!(toml(&text), Err(Excess::Nesting), "{text}");
        }
    }

    #[test]
    fn checks_requirements_of_project() {
        let requires = nested(200).replace('(', "\\u0028");
        for text in [
            format!("[build-system]\nrequires = [\"{requires}\"]"),
            format!("[project]\ndependencies = [\"\"\"\n{requires}\"\"\"]"),
            format!("[project.optional-dependencies]\na = [\"{requires}\"]"),
            format!("[dependency-groups]\na = [\"{requires}\"]"),
        ] {
            assert_eq!(pyproject(&text), Err(Excess::Nesting), "{text}");
        }
        let smileys = ":(".repeat(500);
        let text = format!("[project]\ndescription = '{smileys}'\n[tool.a]\nb = '{smileys}'");
        assert_eq!(pyproject(&text), Ok(()));
    }

    #[test]
    fn accepts_ordinary_toml() {
        let numbers = "1.5, ".repeat(1_000);
        let tables = "[a.b]\nc.d = 'x.y' # (((\n".repeat(1_000);
        let text = format!(
            "{tables}e = [{numbers}]\nf = '''\n[[[' '''\ng = \"\\\"[\"\nh = \"{}\"",
            "[(".repeat(500)
        );
        assert_eq!(toml(&text), Ok(()));
    }

    #[test]
    fn stops_reading_at_limit() {
        assert_eq!(read(&b"1234"[..], 4).unwrap(), b"1234");
        let error = read(io::repeat(0), 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 1 MiB");
    }

    #[test]
    fn measures_rate_within_window() {
        let seconds = Duration::from_secs;
        let mut rate = Rate::new(seconds(3));
        assert_eq!(rate.count(1, seconds(14)), Ok(()));
        assert_eq!(rate.count(1, seconds(15)), Err(TooSlow(15)));
        let mut rate = Rate::new(seconds(60));
        assert_eq!(rate.count(1, seconds(59)), Ok(()));
        assert_eq!(rate.count(6_000, seconds(60)), Ok(()));
        assert_eq!(rate.count(100, seconds(121)), Err(TooSlow(61)));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let _ = (requirement(&text), pyproject(&text), metadata(&bytes));
        }

        #[test]
        fn arbitrary_brackets_never_panic(text in "[\\[\\]{}.,\n\"'#\\\\a=]{0,200}") {
            let _ = toml(&text);
        }
    }
}
