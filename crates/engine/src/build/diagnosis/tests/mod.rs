mod outputs;

use super::*;
use outputs::{OUTPUTS, UNEXPLAINED};

#[test]
fn well_known_causes_have_hints() {
    for (output, expected) in OUTPUTS {
        let hint = hint(output).unwrap_or_else(|| panic!("no hint for {output}"));
        for words in *expected {
            assert!(
                hint.contains(words),
                "{words:?} is not in {hint:?} for {output}"
            );
        }
    }
}

#[test]
fn other_outputs_have_none() {
    for output in UNEXPLAINED {
        assert_eq!(hint(output), None, "{output}");
    }
}

#[test]
fn the_first_decisive_cause_wins() {
    let hint_of = |parts: &[&str]| hint(&parts.concat()).unwrap();
    let header = "a.c:1:10: fatal error: zlib.h: No such file or directory\n";
    let module = "ModuleNotFoundError: No module named 'numpy'\n";
    let shell = "/bin/sh: 1: pg_config: not found\n";
    assert!(hint_of(&[header, module]).contains("zlib1g-dev"));
    assert!(hint_of(&[module, header]).contains("`numpy`"));
    assert!(hint_of(&[shell, header]).contains("zlib1g-dev"));
    assert!(hint_of(&[shell, "Error 127\n"]).contains("libpq-dev"));
}

#[test]
fn a_long_log_does_not_hide_the_cause() {
    let log = "gcc -O2 -fPIC -I/usr/include/python3.12 -c a.c -o build/a.o\n".repeat(1000);
    let error = "a.c:1:10: fatal error: Python.h: No such file or directory\n";
    assert!(
        hint(&format!("{log}{error}{log}"))
            .unwrap()
            .contains("python3.12-dev")
    );
    assert_eq!(hint(&log), None);
}

#[test]
fn hints_are_one_paragraph() {
    for (output, _) in OUTPUTS {
        let hint = hint(output).unwrap();
        assert!(
            hint.len() < 500 && !hint.contains(['\n', '{', '}']),
            "{hint}"
        );
        assert!(!hint.contains("  ") && hint.ends_with('.'), "{hint}");
    }
}

#[test]
fn error_patterns_name_existing_needs() {
    for pattern in ERROR_PATTERNS {
        if let Install(name) = pattern.remedy {
            assert!(
                TOOLS.iter().chain(LIBRARIES).any(|need| need.name == name),
                "{name}"
            );
        }
    }
}

#[test]
fn every_sign_belongs_to_one_need() {
    let signs = TOOLS
        .iter()
        .chain(LIBRARIES)
        .flat_map(|need| need.signs.split(' '));
    let mut seen = std::collections::HashSet::new();
    for sign in signs {
        assert!(!sign.is_empty() && seen.insert(sign), "{sign:?}");
    }
}

#[test]
fn earlier_error_patterns_hide_none() {
    for (position, pattern) in ERROR_PATTERNS.iter().enumerate() {
        for needle in pattern.needles {
            let first = ERROR_PATTERNS
                .iter()
                .position(|other| other.needles.iter().any(|part| needle.contains(part)));
            assert_eq!(first, Some(position), "{needle}");
        }
    }
}

/// Many starts and ends of every output, and outputs shuffled into each other.
#[test]
fn never_panics() {
    let all: Vec<&str> = OUTPUTS
        .iter()
        .map(|(output, _)| *output)
        .chain(UNEXPLAINED.iter().copied())
        .collect();
    for output in &all {
        for (position, _) in output.char_indices().step_by(9) {
            _ = (hint(&output[..position]), hint(&output[position..]));
        }
    }
    let mut state: usize = 42;
    let mut next = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let words: Vec<&str> = all
        .iter()
        .flat_map(|output| output.split_inclusive([' ', '\'', ':', '\n', '"']))
        .collect();
    for _ in 0..500 {
        let text: String = (0..next(60)).map(|_| words[next(words.len())]).collect();
        _ = hint(&text);
    }
}
