//! Two answers to one request, and what differs.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// An HTTP/1.1 answer taken apart: names in lower case, framing and compression undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub status: u16,
    /// All values of each name.
    pub fields: BTreeMap<String, Vec<String>>,
    pub body: Vec<u8>,
}

/// Fields that say how an answer was sent or when, not what it is.
const FRAMING: [&str; 6] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
];

impl Got {
    /// Reads the one answer on a connection that was closed after it; `None` when there is none. One to HEAD has the
    /// framing of a body and none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.get(9..12)?.parse().ok()?;
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let values = fields.entry(name.to_ascii_lowercase()).or_default();
            values.push(value.trim().to_owned());
        }
        let mut body = bytes[end + 4..].to_vec();
        if fields.contains_key("transfer-encoding") && !body.is_empty() {
            body = dechunk(&body)?;
        }
        if fields
            .get("content-encoding")
            .is_some_and(|v| v == &["gzip"])
            && !body.is_empty()
        {
            body = gunzip(&body);
        }
        Some(Self {
            status,
            fields,
            body,
        })
    }

    /// What `other` has otherwise, a line each: `status A | B`, `answer NAME: A | B`, `asked NAME: A | B` where the
    /// body says what reached the app, and `body`. Nothing stands as `-`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut all = Vec::new();
        if self.status != other.status {
            all.push(format!("status {} | {}", self.status, other.status));
        }
        let mut own = self.fields.clone();
        let mut theirs = other.fields.clone();
        for name in FRAMING {
            own.remove(name);
            theirs.remove(name);
        }
        all.extend(unlike("answer", &own, &theirs));
        match (asked(&self.body), asked(&other.body)) {
            (Some(own), Some(theirs)) => all.extend(unlike("asked", &own, &theirs)),
            _ if self.body != other.body => all.push("body".to_owned()),
            _ => {}
        }
        all
    }
}

type Fields = BTreeMap<String, Vec<String>>;

fn unlike(what: &str, own: &Fields, other: &Fields) -> Vec<String> {
    let mut names: Vec<&String> = own.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    let text = |fields: &Fields, name| fields.get(name).map_or("-".to_owned(), |v| v.join(", "));
    names
        .into_iter()
        .map(|name| (name, text(own, name), text(other, name)))
        .filter(|(_, own, other)| own != other)
        .map(|(name, own, other)| format!("{what} {name}: {own} | {other}"))
        .collect()
}

/// The lines of a body that repeats the request, if it is one.
fn asked(body: &[u8]) -> Option<Fields> {
    let text = std::str::from_utf8(body).ok()?;
    let (line, rest) = text.split_once('\n')?;
    let version = line.split_once(" HTTP/1.")?.1;
    matches!(version, "0" | "1").then_some(())?;
    let mut fields = Fields::new();
    fields.insert("line".to_owned(), vec![line.to_owned()]);
    for line in rest.lines() {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let values = fields.entry(name.to_owned()).or_default();
        values.push(value.to_owned());
    }
    Some(fields)
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(packed).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Says whether a text is what a pattern stands for; `*` is any text.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{Got, matches};

    #[test]
    fn answers_differ_in_what_they_say_and_not_in_how_it_is_sent() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\n\r\nhi";
        let parts = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\na: 1\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";
        let (whole, parts) = (Got::read(whole).unwrap(), Got::read(parts).unwrap());
        assert_eq!(whole.differences(&parts), Vec::<String>::new());
        let other = Got::read(b"HTTP/1.1 404 No\r\nA: 2\r\nB: 3\r\n\r\nho").unwrap();
        let wanted = [
            "status 200 | 404",
            "answer a: 1 | 2",
            "answer b: - | 3",
            "body",
        ];
        assert_eq!(whole.differences(&other), wanted);
    }

    #[test]
    fn what_reached_the_app_is_compared_line_by_line() {
        let got = |lines: &str| {
            let text = format!("HTTP/1.1 200 OK\r\n\r\nGET / HTTP/1.1\n{lines}");
            Got::read(text.as_bytes()).unwrap()
        };
        let (one, two) = (got("a: 1\nb: 2\n"), got("a: 1\nb: 3\nc: 4\n"));
        assert_eq!(one.differences(&two), ["asked b: 2 | 3", "asked c: - | 4"]);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, holds) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*x*y", "x", false),
        ] {
            assert_eq!(matches(pattern, text), holds, "{pattern} {text}");
        }
    }
}
