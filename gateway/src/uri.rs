//! Parts of URIs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is written as it is, letters and digits aside.
///
/// Source: [RFC 3986 section 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Writes a text so that it can stand in any part of a URI.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn everything_but_the_unreserved_is_percent_encoded() {
        assert_eq!(
            encode("A b:c/d?e&f=\u{e9}"),
            "A%20b%3Ac%2Fd%3Fe%26f%3D%C3%A9"
        );
        assert_eq!(encode("az-AZ_09.~"), "az-AZ_09.~");
    }
}
