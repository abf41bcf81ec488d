//! The declarations in `meson.build`: languages, and the C++ standard.

/// The declaration of a project in `meson.build`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MesonProject {
    pub(super) languages: Vec<String>,
    /// `c++17` or the like, if one standard is named.
    pub(super) cpp_standard: Option<String>,
}

impl MesonProject {
    /// Reads the call of `project()`, which must be the first statement.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let call = text
            .lines()
            .position(|line| line.trim_start().starts_with("project("))?;
        let lines = text.lines().skip(call).take(100);
        let mut strings: Vec<String> = Vec::new();
        let mut languages = None;
        let (mut depth, mut quoted) = (0_i32, None::<String>);
        let code = lines.collect::<Vec<_>>().join("\n");
        let mut characters = code.chars();
        while let Some(character) = characters.next() {
            match (&mut quoted, character) {
                (Some(_), '\'') => strings.extend(quoted.take()),
                (Some(text), other) => text.push(other),
                (None, '\'') => quoted = Some(String::new()),
                (None, '#') => {
                    let _ = characters.find(|end| *end == '\n');
                }
                // The first keyword ends the languages.
                (None, ':') if languages.is_none() => languages = Some(strings.clone()),
                (None, '(' | '[') => depth += 1,
                (None, ')' | ']') => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                (None, _) => {}
            }
        }
        let languages = languages.unwrap_or_else(|| strings.clone());
        let standard = strings
            .iter()
            .find_map(|text| text.strip_prefix("cpp_std="));
        let is_one = |standard: &&str| {
            let digits = standard
                .strip_prefix("gnu++")
                .or(standard.strip_prefix("c++"));
            digits.is_some_and(|digits| digits.len() == 2)
        };
        Some(Self {
            // The first string is the name of the project.
            languages: languages.into_iter().skip(1).collect(),
            cpp_standard: standard.filter(is_one).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<String>, Option<String>) {
        let project = MesonProject::parse(text).unwrap();
        (project.languages, project.cpp_standard)
    }

    #[test]
    fn reads_languages_and_standard_of_meson_projects() {
        let text = "# comment (\nproject(\n  'example', # 'c'\n  'c', 'cpp', 'fortran',\n  version: '1.0',\n\
            default_options: [\n 'buildtype=debugoptimized',\n 'cpp_std=c++17',\n ],\n)\nx = ['cpp_std=c++20']\n";
        let (languages, standard) = parse(text);
        assert_eq!(languages, ["c", "cpp", "fortran"]);
        assert_eq!(standard.as_deref(), Some("c++17"));
        assert_eq!(parse("project('x', ['c', 'cython'])").0, ["c", "cython"]);
        assert_eq!(parse("project('x')"), (Vec::new(), None));
        assert_eq!(MesonProject::parse("x = 1"), None);
    }
}
