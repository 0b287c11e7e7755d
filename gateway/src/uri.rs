//! Parts of URIs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

/// What is written as it is, letters and digits aside.
///
/// Source: [RFC 3986 section 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Writes bytes as text in ASCII: what is none is percent-encoded, all else stays.
///
/// Source: [RFC 3987 section 3.1](https://www.rfc-editor.org/rfc/rfc3987#section-3.1)
pub(crate) fn ascii(bytes: &[u8]) -> String {
    percent_encode(bytes, &AsciiSet::EMPTY).to_string()
}

/// Writes a text so that it can stand in any part of a URI.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::{ascii, encode};

    #[test]
    fn everything_but_the_unreserved_is_percent_encoded() {
        assert_eq!(
            encode("A b:c/d?e&f=\u{e9}"),
            "A%20b%3Ac%2Fd%3Fe%26f%3D%C3%A9"
        );
        assert_eq!(encode("az-AZ_09.~"), "az-AZ_09.~");
    }

    #[test]
    fn an_address_with_letters_of_other_scripts_is_read_whole() {
        let raw = "http://10.0.0.1:8000/Pr\u{fc}fung";
        assert_eq!(ascii(raw.as_bytes()), "http://10.0.0.1:8000/Pr%C3%BCfung");
        assert_eq!(ascii(b"/a?b=%2F"), "/a?b=%2F");
    }
}
