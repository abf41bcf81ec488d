//! Reads files and the files that they name, in order, and detects recursion.

use std::collections::HashSet;

use wheelhouse_types::limits;

use super::global_options::FileOptions;
use super::line::{LineOption, OptionError, ParsedLine, parse_line};
use super::lines::{LogicalLine, expand_variables, logical_lines};
use super::{
    FileRole, LineLocation, ReadContext, RequirementLine, RequirementsError, RequirementsFile,
    RequirementsWarning, WarningKind,
};
use crate::encoding::decode;
use crate::file_source::FileSource;

/// Reads requirements and constraints files, one after the other, and all files that they name.
///
/// `options` are the initial values, which the files extend or replace as in pip.
///
/// # Errors
/// Fails if a file cannot be read or decoded, if it includes itself, and if a line has an
/// option that pip does not know.
pub fn read_requirements(
    files: &[(FileRole, FileSource)],
    context: &ReadContext<'_>,
    options: FileOptions,
) -> Result<RequirementsFile, RequirementsError> {
    let mut reading = RequirementsReader {
        context,
        found: RequirementsFile {
            options,
            ..RequirementsFile::default()
        },
        open: Vec::new(),
        settled: HashSet::new(),
        option_lines: 0,
        count: 0,
    };
    for (role, source) in files {
        reading.read_file(*role, source, None)?;
    }
    Ok(reading.found)
}

/// The limit on nested files, which a server could extend forever.
const DEEPEST: usize = 100;

/// After this number of files, those that add nothing new are skipped: files that name others twice double
/// at each level.
pub(super) const MANY: usize = 1_000;

/// The limit on files.
const MOST: usize = 10_000;

struct RequirementsReader<'a> {
    context: &'a ReadContext<'a>,
    found: RequirementsFile,
    /// The stack of files that are being read.
    open: Vec<OpenFile>,
    /// Files that were read and, including those that they name, have no options. Reading them again has no
    /// effect.
    settled: HashSet<(FileRole, FileSource)>,
    /// The number of lines with options.
    option_lines: usize,
    /// The number of files.
    count: usize,
}

struct OpenFile {
    absolute: FileSource,
    named_in: Option<FileSource>,
}

/// A parsed line, and its text before variables are expanded.
struct ReadLine {
    location: LineLocation,
    role: FileRole,
    written: String,
    parsed: ParsedLine,
}

impl RequirementsReader<'_> {
    fn read_file(
        &mut self,
        role: FileRole,
        source: &FileSource,
        named_by: Option<&LineLocation>,
    ) -> Result<(), RequirementsError> {
        let absolute = source.absolute(self.context.working_directory);
        let content = self.context.reader.read(&absolute);
        let content = content.map_err(|cause| unreadable(role, source, named_by, cause))?;
        let text = self.decode(role, source, &content)?;
        let named_in = named_by.map(|location| location.source.clone());
        let option_lines = self.option_lines;
        self.count += 1;
        self.open.push(OpenFile { absolute, named_in });
        for line in logical_lines(&text) {
            let line = self.parse(role, source, line)?;
            self.take(&line)?;
        }
        let file = self.open.pop();
        if let Some(file) = file.filter(|_| self.option_lines == option_lines) {
            self.settled.insert((role, file.absolute));
        }
        Ok(())
    }

    fn decode(
        &mut self,
        role: FileRole,
        source: &FileSource,
        content: &[u8],
    ) -> Result<String, RequirementsError> {
        let locale_encoding = self.context.environment.locale_encoding();
        let decoded =
            decode(content, locale_encoding).map_err(|cause| RequirementsError::Decode {
                file: source.clone(),
                role,
                cause,
            })?;
        if let Some(encoding) = decoded.fell_back_to {
            let location = LineLocation {
                source: source.clone(),
                line: 1,
            };
            let kind = WarningKind::LocaleEncoding(encoding);
            self.found
                .notices
                .push(RequirementsWarning { location, kind });
        }
        Ok(decoded.text)
    }

    fn parse(
        &self,
        role: FileRole,
        source: &FileSource,
        line: LogicalLine,
    ) -> Result<ReadLine, RequirementsError> {
        let location = LineLocation {
            source: source.clone(),
            line: line.number,
        };
        let written = line.text;
        let parsed = parse_line(&expand_variables(&written, self.context.environment))
            .and_then(reject_empty_editable)
            .map_err(|cause| without_secrets(cause, &written));
        match parsed {
            Ok(parsed) => Ok(ReadLine {
                location,
                role,
                written,
                parsed,
            }),
            Err(cause) => Err(RequirementsError::Line {
                location,
                written,
                cause,
            }),
        }
    }

    fn take(&mut self, line: &ReadLine) -> Result<(), RequirementsError> {
        self.found.options.apply_controls(&line.parsed);
        self.notice_leftovers(line);
        let editable = line.parsed.values(LineOption::Editable).next();
        if !line.parsed.requirement.is_empty() || editable.is_some() {
            return self.take_requirement(line);
        }
        for (option, role) in [
            (LineOption::Requirement, FileRole::Requirements),
            (LineOption::Constraint, FileRole::Constraints),
        ] {
            if let Some(named) = line.parsed.values(option).next() {
                self.notice_beside_file(line, option);
                return self.read_named(line, role, named);
            }
        }
        self.option_lines += usize::from(!line.parsed.options.is_empty());
        let (options, source) = (&mut self.found.options, &line.location.source);
        let file = source.absolute(self.context.working_directory);
        let kinds = options.apply_line(&line.parsed, &file, self.context.reader);
        self.notice(line, kinds);
        Ok(())
    }

    fn take_requirement(&mut self, line: &ReadLine) -> Result<(), RequirementsError> {
        let parsed = &line.parsed;
        self.notice_beside_requirement(line);
        let requirement = RequirementLine {
            text: requirement_text(parsed),
            written: parse_line(&line.written).map_or(String::new(), |it| requirement_text(&it)),
            editable: parsed.has(LineOption::Editable),
            hashes: accepted_hashes(parsed),
            config_settings: parsed
                .values(LineOption::ConfigSettings)
                .filter_map(|setting| setting.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            location: line.location.clone(),
            base: self.context.working_directory.to_owned(),
        };
        let found = &mut self.found;
        let most = limits::REQUIREMENTS;
        if found.requirements.len() + found.constraints.len() >= most {
            let location = requirement.location;
            return Err(RequirementsError::TooMany { location, most });
        }
        match line.role {
            FileRole::Requirements => found.requirements.push(requirement),
            FileRole::Constraints => found.constraints.push(requirement),
        }
        Ok(())
    }

    fn read_named(
        &mut self,
        line: &ReadLine,
        role: FileRole,
        named: &str,
    ) -> Result<(), RequirementsError> {
        let location = &line.location;
        let joined = location.source.join(named, self.context.working_directory);
        let file = joined.map_err(|cause| RequirementsError::Url {
            location: location.clone(),
            named: line.written.clone(),
            cause,
        })?;
        if let Some(open) = self.open.iter().find(|open| open.absolute == file) {
            return Err(RequirementsError::Recursive {
                location: location.clone(),
                file,
                first_named_in: open.named_in.clone(),
            });
        }
        if self.count >= MANY && self.settled.contains(&(role, file.clone())) {
            return Ok(());
        }
        if self.open.len() >= DEEPEST || self.count >= MOST {
            let location = location.clone();
            return Err(RequirementsError::TooDeep { location, file });
        }
        self.read_file(role, &file, Some(location))
    }

    fn notice(&mut self, line: &ReadLine, kinds: impl IntoIterator<Item = WarningKind>) {
        let notices = kinds.into_iter().map(|kind| RequirementsWarning {
            location: line.location.clone(),
            kind,
        });
        self.found.notices.extend(notices);
    }

    fn notice_leftovers(&mut self, line: &ReadLine) {
        if !line.parsed.leftovers.is_empty() {
            // The unexpanded text is shown, because expanded words may be secret.
            let written = parse_line(&line.written).map(|written| written.leftovers);
            self.notice(line, [WarningKind::Leftover(written.unwrap_or_default())]);
        }
    }

    fn notice_beside_file(&mut self, line: &ReadLine, first: LineOption) {
        let mut seen_first = false;
        let kinds: Vec<_> = (line.parsed.options.iter().map(|given| given.option))
            .filter(|option| !applies_anywhere(*option))
            .filter_map(|option| match option == first {
                true if std::mem::replace(&mut seen_first, true) => {
                    Some(WarningKind::OnlyFirst(option.name()))
                }
                true => None,
                false => Some(WarningKind::BesideFile(option.name())),
            })
            .collect();
        self.notice(line, kinds);
    }

    fn notice_beside_requirement(&mut self, line: &ReadLine) {
        let editable = line.parsed.has(LineOption::Editable);
        let options = line.parsed.options.iter().map(|given| given.option);
        let mut kinds: Vec<_> = options
            .filter_map(|option| match option {
                LineOption::Hash if editable => Some(WarningKind::OnEditable(option.name())),
                LineOption::Hash | LineOption::ConfigSettings | LineOption::Editable => None,
                _ if applies_anywhere(option) => None,
                _ => Some(WarningKind::BesideRequirement(option.name())),
            })
            .collect();
        let editables = line.parsed.values(LineOption::Editable).count();
        if editables > usize::from(line.parsed.requirement.is_empty()) {
            let name = LineOption::Editable.name();
            kinds.push(if line.parsed.requirement.is_empty() {
                WarningKind::OnlyFirst(name)
            } else {
                WarningKind::BesideRequirement(name)
            });
        }
        self.notice(line, kinds);
    }
}

/// Returns whether pip applies the option on lines with a requirement or file, too.
fn applies_anywhere(option: LineOption) -> bool {
    use LineOption::{AllReleases, NoBinary, OnlyBinary, OnlyFinal};
    matches!(option, NoBinary | OnlyBinary | AllReleases | OnlyFinal)
}

fn requirement_text(line: &ParsedLine) -> String {
    let editable = line.values(LineOption::Editable).next();
    match editable {
        Some(editable) if line.requirement.is_empty() => editable.to_owned(),
        _ => line.requirement.clone(),
    }
}

/// Returns the hashes of a requirement; pip ignores those of editables.
fn accepted_hashes(line: &ParsedLine) -> Vec<String> {
    if line.has(LineOption::Editable) {
        return Vec::new();
    }
    line.values(LineOption::Hash).map(str::to_owned).collect()
}

fn reject_empty_editable(line: ParsedLine) -> Result<ParsedLine, OptionError> {
    if line.values(LineOption::Editable).next() == Some("") {
        return Err(OptionError::NoValue(LineOption::Editable.name()));
    }
    Ok(line)
}

/// Finds the error in the unexpanded line, because the values of variables may be secret.
fn without_secrets(cause: OptionError, written: &str) -> OptionError {
    match parse_line(written) {
        Err(cause) => cause,
        Ok(_) if written.contains("${") => OptionError::InVariable,
        Ok(_) => cause,
    }
}

fn unreadable(
    role: FileRole,
    source: &FileSource,
    named_by: Option<&LineLocation>,
    cause: std::io::Error,
) -> RequirementsError {
    let file = source.clone();
    match named_by.cloned() {
        Some(named_by) => RequirementsError::ReadNested {
            file,
            role,
            named_by,
            cause,
        },
        None => RequirementsError::Read { file, role, cause },
    }
}
