//! Decodes requirements files.
//!
//! The encoding is determined as in pip: by a byte order mark, a PEP 263 declaration in the first two
//! lines, UTF-8, or the encoding of the locale. Bytes that cannot be decoded are an error.

use encoding_rs::Encoding;

/// Decoded text, and the encoding of the locale if it was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DecodedText {
    pub(super) text: String,
    pub(super) fell_back_to: Option<String>,
}

/// An error of decoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The declared encoding, or that of the locale, is unknown.
    #[error("encoding `{0}` is unknown")]
    UnknownEncoding(String),
    /// The bytes are not valid in the encoding.
    #[error("the content is not valid {0}")]
    Invalid(String),
}

const BYTE_ORDER_MARKS: [(&[u8], &str); 5] = [
    (b"\xef\xbb\xbf", "utf-8"),
    // UTF-32 must come first, because its little-endian mark starts with that of UTF-16.
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
];

/// Decodes the content of a requirements file.
pub(super) fn decode(content: &[u8], locale_encoding: &str) -> Result<DecodedText, DecodeError> {
    for (mark, encoding) in BYTE_ORDER_MARKS {
        if let Some(rest) = content.strip_prefix(mark) {
            return decode_as(rest, encoding).map(plain);
        }
    }
    if let Some(encoding) = declared_encoding(content) {
        return decode_as(content, &encoding).map(plain);
    }
    if let Ok(text) = std::str::from_utf8(content) {
        return Ok(plain(text.to_owned()));
    }
    Ok(DecodedText {
        text: decode_as(content, locale_encoding)?,
        fell_back_to: Some(locale_encoding.to_owned()),
    })
}

fn plain(text: String) -> DecodedText {
    DecodedText {
        text,
        fell_back_to: None,
    }
}

/// Finds `coding[:=]\s*([-\w.]+)` in a comment of the first two lines (PEP 263).
fn declared_encoding(content: &[u8]) -> Option<String> {
    content
        .split(|byte| *byte == b'\n')
        .take(2)
        .filter(|line| line.starts_with(b"#"))
        .find_map(declaration)
}

fn declaration(line: &[u8]) -> Option<String> {
    const KEYWORD: &[u8] = b"coding";
    let starts = 0..line.len().saturating_sub(KEYWORD.len());
    starts
        .filter(|start| line[*start..].starts_with(KEYWORD))
        .find_map(|start| declared_name(&line[start + KEYWORD.len()..]))
}

fn declared_name(after_keyword: &[u8]) -> Option<String> {
    let [b':' | b'=', rest @ ..] = after_keyword else {
        return None;
    };
    let name: String = rest
        .iter()
        .skip_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        .map(|byte| char::from(*byte))
        .collect();
    (!name.is_empty()).then_some(name)
}

fn decode_as(content: &[u8], encoding: &str) -> Result<String, DecodeError> {
    let invalid = || DecodeError::Invalid(encoding.to_owned());
    match codec(encoding)? {
        Codec::Ascii if content.is_ascii() => Ok(content.iter().copied().map(char::from).collect()),
        Codec::Ascii => Err(invalid()),
        Codec::Latin1 => Ok(content.iter().copied().map(char::from).collect()),
        Codec::Utf32 { big_endian } => decode_utf32(content, big_endian).ok_or_else(invalid),
        Codec::Web(encoding) => encoding
            .decode_without_bom_handling_and_without_replacement(content)
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(invalid),
    }
}

enum Codec {
    Ascii,
    /// Python's Latin-1, which unlike that of the web has control characters.
    Latin1,
    Utf32 {
        big_endian: bool,
    },
    Web(&'static Encoding),
}

/// Finds the codec for a Python encoding name.
fn codec(name: &str) -> Result<Codec, DecodeError> {
    let spelling = name.to_ascii_lowercase().replace('_', "-");
    Ok(match spelling.as_str() {
        "ascii" | "us-ascii" | "646" | "ansi-x3.4-1968" => Codec::Ascii,
        "latin-1" | "latin1" | "latin" | "l1" | "iso-8859-1" | "iso8859-1" | "iso88591"
        | "8859" | "cp819" => Codec::Latin1,
        "utf-32" | "utf-32-le" | "utf32" => Codec::Utf32 { big_endian: false },
        "utf-32-be" => Codec::Utf32 { big_endian: true },
        "utf-16" | "utf-16-le" | "utf16" => Codec::Web(encoding_rs::UTF_16LE),
        "utf-16-be" => Codec::Web(encoding_rs::UTF_16BE),
        "u8" | "utf" | "utf8" | "utf-8-sig" | "cp65001" => Codec::Web(encoding_rs::UTF_8),
        _ => Codec::Web(
            web_encoding(&spelling).ok_or_else(|| DecodeError::UnknownEncoding(name.to_owned()))?,
        ),
    })
}

fn web_encoding(spelling: &str) -> Option<&'static Encoding> {
    let code_page = spelling.strip_prefix("cp").map(|number| match number {
        "932" => "shift_jis".to_owned(),
        "936" => "gbk".to_owned(),
        "949" => "euc-kr".to_owned(),
        "950" => "big5".to_owned(),
        _ => format!("windows-{number}"),
    });
    let compact_iso = spelling
        .strip_prefix("iso8859-")
        .map(|part| format!("iso-8859-{part}"));
    let compact_euc = spelling
        .strip_prefix("euc")
        .map(|language| format!("euc-{}", language.trim_start_matches('-')));
    [Some(spelling.to_owned()), Some(spelling.replace('-', "_"))]
        .into_iter()
        .chain([code_page, compact_iso, compact_euc])
        .flatten()
        .find_map(|label| Encoding::for_label_no_replacement(label.as_bytes()))
}

fn decode_utf32(content: &[u8], big_endian: bool) -> Option<String> {
    let (units, rest) = content.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let code_point = |unit: &[u8; 4]| {
        char::from_u32(if big_endian {
            u32::from_be_bytes(*unit)
        } else {
            u32::from_le_bytes(*unit)
        })
    };
    units.iter().map(code_point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(content: &[u8]) -> Result<String, DecodeError> {
        decode(content, "utf-8").map(|decoded| decoded.text)
    }

    #[test]
    fn byte_order_mark_determines_encoding() {
        let requirement = "Django==1.4.2";
        let wide = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            requirement.encode_utf16().flat_map(unit).collect()
        };
        let wider = |unit: fn(u32) -> [u8; 4]| -> Vec<u8> {
            requirement.chars().map(u32::from).flat_map(unit).collect()
        };
        let files = [
            [b"\xef\xbb\xbf".to_vec(), requirement.as_bytes().to_vec()].concat(),
            [b"\xff\xfe".to_vec(), wide(u16::to_le_bytes)].concat(),
            [b"\xfe\xff".to_vec(), wide(u16::to_be_bytes)].concat(),
            [b"\xff\xfe\x00\x00".to_vec(), wider(u32::to_le_bytes)].concat(),
            [b"\x00\x00\xfe\xff".to_vec(), wider(u32::to_be_bytes)].concat(),
        ];
        for file in files {
            assert_eq!(text(&file).as_deref(), Ok(requirement), "{file:?}");
        }
    }

    #[test]
    fn declaration_applies_only_in_first_two_lines() {
        assert_eq!(
            text(b"# coding=latin1\na # caf\xe9").as_deref(),
            Ok("# coding=latin1\na # café")
        );
        assert_eq!(
            text(b"\n# -*- coding: cp1252 -*-\n\x80").as_deref(),
            Ok("\n# -*- coding: cp1252 -*-\n€")
        );
        let third = text(b"\n\n# coding: latin-1\n\xe9");
        assert_eq!(third, Err(DecodeError::Invalid("utf-8".to_owned())));
        let indented = text(b" # coding: latin-1\n\xe9");
        assert_eq!(indented, Err(DecodeError::Invalid("utf-8".to_owned())));
    }

    #[test]
    fn recognizes_python_codec_names() {
        for (name, bytes, expected) in [
            ("Latin_1", &b"\x85"[..], "\u{85}"),
            ("iso8859-15", b"\xa4", "€"),
            ("shift_jis", b"\x82\xa0", "あ"),
            ("euc_jp", b"\xa4\xa2", "あ"),
            ("eucJP", b"\xa4\xa2", "あ"),
            ("cp936", b"\xb0\xa1", "啊"),
            ("koi8-r", b"\xc1", "а"),
            ("UTF8", "é".as_bytes(), "é"),
        ] {
            assert_eq!(decode_as(bytes, name).as_deref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn invalid_text_is_an_error() {
        let unknown = DecodeError::UnknownEncoding("klingon".to_owned());
        assert_eq!(text(b"# coding: klingon\n"), Err(unknown));
        assert_eq!(
            text(b"# coding: ascii\n\xe9"),
            Err(DecodeError::Invalid("ascii".to_owned()))
        );
        assert_eq!(
            decode(b"\xff", "gbk"),
            Err(DecodeError::Invalid("gbk".to_owned()))
        );
    }

    #[test]
    fn falls_back_to_locale() {
        let decoded = decode(b"pip<=24.0 # some comment\xff\n", "latin-1").unwrap();
        assert_eq!(decoded.text, "pip<=24.0 # some comment\u{ff}\n");
        assert_eq!(decoded.fell_back_to.as_deref(), Some("latin-1"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(content: Vec<u8>, locale in "[a-z0-9-]{0,12}") {
            let _ = decode(&content, &locale);
        }

        #[test]
        fn decodes_utf8_without_declaration(content in "[^#\u{feff}\0]*") {
            prop_assert_eq!(text(content.as_bytes()).unwrap(), content);
        }
    }
}
