//! Elements of the Distinguished Encoding Rules (X.690), as far as certificates have to be taken apart.

use x509_parser::asn1_rs::{Any, FromDer as _};

/// The tag of a sequence.
pub(super) const SEQUENCE: u8 = 0x30;

/// Returns the element of `tag` with this content.
///
/// # Panics
/// If the content is longer than 64 KiB.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("certificates are smaller");
    let [high, low] = length.to_be_bytes();
    let mut bytes = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    bytes.extend_from_slice(content);
    bytes
}

/// Returns the content of `bytes`, which are one element.
pub(super) fn content(bytes: &[u8]) -> Option<&[u8]> {
    let (rest, any) = Any::from_der(bytes).ok()?;
    rest.is_empty().then_some(any.data)
}

/// Splits the content of a constructed element into its elements, each with its tag and length.
pub(super) fn elements(mut content: &[u8]) -> Option<Vec<&[u8]>> {
    let mut elements = Vec::new();
    while !content.is_empty() {
        let (rest, _) = Any::from_der(content).ok()?;
        elements.push(&content[..content.len() - rest.len()]);
        content = rest;
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_it_writes() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1234] {
            let text = element(0x04, &vec![7; length]);
            let list = element(SEQUENCE, &[&text[..], &text[..]].concat());
            let inner = content(&list).unwrap();
            assert_eq!(elements(inner).unwrap(), [&text[..], &text[..]]);
            assert_eq!(content(&text).unwrap().len(), length);
        }
        assert_eq!(elements(&[0x30, 0x05, 0x00]), None);
        assert_eq!(content(&[0x04, 0x00, 0x00]), None);
    }
}
