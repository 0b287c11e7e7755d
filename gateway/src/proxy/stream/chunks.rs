//! Follows a body in chunks, for what the library lets pass: a size of no digits, blanks, line ends that are none.
//!
//! Source: RFC 9112 section 7.1; security.md R-PX-06, R-PX-07.

/// The most digits of a size.
const DIGITS: u8 = 16;
/// The longest extension of a chunk in bytes.
const EXTENSION: u16 = 256;
/// The most bytes of fields behind the last chunk.
const TRAILERS: u32 = 32 * 1024;

/// Where in a body the bytes stand.
#[derive(Debug)]
pub(in crate::proxy) struct Chunks {
    /// What is left of the head before it.
    head: usize,
    /// The size of the chunk at hand, then what is left of it.
    size: u64,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A size of so many digits so far.
    Size(u8),
    /// An extension of so many bytes so far.
    Extension(u16),
    /// Behind the CR of a size.
    SizeEnd,
    Data,
    /// Behind data.
    DataEnd,
    /// Behind the CR behind data.
    DataLast,
    /// In the fields at the end: how many bytes they had, and whether a line begins.
    Trailers(u32, bool),
    /// Behind the CR of such a line; whether it was empty.
    TrailerEnd(u32, bool),
    Done,
}

/// Bytes of a body that are alike, so many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Run {
    /// What stands around data.
    Frame(usize),
    Data(usize),
}

/// A body that other software may read otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Bent;

impl Chunks {
    /// Follows a body behind a head of so many bytes.
    pub(in crate::proxy) fn behind(head: usize) -> Self {
        Self {
            head,
            size: 0,
            at: At::Size(0),
        }
    }

    /// Tells whether the body is whole.
    pub(in crate::proxy) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Tells whether the next byte is data.
    pub(in crate::proxy) fn is_data(&self) -> bool {
        self.at == At::Data
    }

    /// Takes as many of the next bytes, of which there is one at least, as are alike; none of them where the body is whole.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(in crate::proxy) fn run(&mut self, bytes: &[u8]) -> Result<Run, Bent> {
        if self.at == At::Data {
            return Ok(Run::Data(self.data(bytes.len())));
        }
        let mut rest = bytes;
        while !matches!(self.at, At::Data | At::Done)
            && let Some((byte, behind)) = rest.split_first()
        {
            self.at = self.next(*byte)?;
            rest = behind;
        }
        Ok(Run::Frame(bytes.len() - rest.len()))
    }

    /// Takes data out of so many bytes; returns how many are.
    fn data(&mut self, bytes: usize) -> usize {
        let left = usize::try_from(self.size).unwrap_or(usize::MAX);
        let taken = left.min(bytes);
        self.size = self
            .size
            .saturating_sub(u64::try_from(taken).unwrap_or(self.size));
        if self.size == 0 {
            self.at = At::DataEnd;
        }
        taken
    }

    /// Takes the next bytes that came; returns how many of them are not behind the end.
    ///
    /// # Errors
    /// [`Bent`] for bytes that no body in chunks has there; nothing more is to be taken then.
    pub(in crate::proxy) fn take(&mut self, bytes: &[u8]) -> Result<usize, Bent> {
        let skipped = self.head.min(bytes.len());
        self.head -= skipped;
        let mut rest = bytes.get(skipped..).unwrap_or_default();
        while self.at != At::Done
            && let Some((byte, behind)) = rest.split_first()
        {
            if self.at != At::Data {
                self.at = self.next(*byte)?;
                rest = behind;
                continue;
            }
            let taken = self.data(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(bytes.len() - rest.len())
    }

    fn next(&mut self, byte: u8) -> Result<At, Bent> {
        match (self.at, byte) {
            (At::Size(1..), b'\r') | (At::Extension(_), b'\r') => Ok(At::SizeEnd),
            (At::Size(1..), b';') => Ok(At::Extension(0)),
            (At::Size(digits), _) => self.digit(digits, byte),
            (At::Extension(length @ 0..EXTENSION), b'\t' | b' '..=b'~' | 0x80..) => {
                Ok(At::Extension(length + 1))
            }
            (At::SizeEnd, b'\n') if self.size == 0 => Ok(At::Trailers(0, true)),
            (At::SizeEnd, b'\n') => Ok(At::Data),
            (At::DataEnd, b'\r') => Ok(At::DataLast),
            (At::DataLast, b'\n') => Ok(At::Size(0)),
            (At::Trailers(length, begins), b'\r') => Ok(At::TrailerEnd(length, begins)),
            (At::Trailers(length @ 0..TRAILERS, _), b'\t' | b' '..=b'~' | 0x80..) => {
                Ok(At::Trailers(length + 1, false))
            }
            (At::TrailerEnd(_, true), b'\n') => Ok(At::Done),
            (At::TrailerEnd(length, false), b'\n') => Ok(At::Trailers(length, true)),
            _ => Err(Bent),
        }
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<At, Bent> {
        let value = char::from(byte).to_digit(16).ok_or(Bent)?;
        if digits == 0 {
            self.size = 0;
        }
        let size = self.size.checked_mul(16).ok_or(Bent)? + u64::from(value);
        if digits >= DIGITS || i64::try_from(size).is_err() {
            return Err(Bent);
        }
        self.size = size;
        Ok(At::Size(digits + 1))
    }
}

/// Tells whether a head, which was judged, says that its body comes in chunks.
pub(super) fn announced(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"transfer-encoding")
    })
}

#[cfg(test)]
mod tests {
    use super::{Bent, Chunks, Run, announced};

    /// Reads a body whole and byte by byte; both must say the same.
    fn read(body: &[u8]) -> Result<(), Bent> {
        let whole = Chunks::behind(0).take(body);
        let mut chunks = Chunks::behind(0);
        let mut bytes = body.iter();
        let single = bytes.try_fold(0, |sum, byte| Ok(sum + chunks.take(&[*byte])?));
        assert_eq!(whole, single, "{}", body.escape_ascii());
        whole.map(drop)
    }

    #[test]
    fn a_sound_body_passes_and_what_is_behind_it_is_not_looked_at() {
        for body in [
            &b"5\r\nhello\r\n0\r\n\r\n"[..],
            b"0005;a=\"b\"\r\nhello\r\n00\r\nX-A: 1\r\nX-B:\r\n\r\n",
            b"7fffffffffffffff\r\nabc",
            b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n\0\n\n",
        ] {
            assert_eq!(read(body), Ok(()), "{}", body.escape_ascii());
        }
        let mut behind = Chunks::behind(3);
        assert_eq!(behind.take(b"\n\n\n5\r\nhel"), Ok(9));
        assert_eq!(behind.take(b"lo\n"), Err(Bent));
    }

    #[test]
    fn what_bends_the_grammar_is_refused_where_it_stands() {
        let long = format!("5;{}", "a".repeat(257));
        for body in [
            &b"\r\n"[..],
            b";a",
            b"g",
            b"-1",
            b"+1",
            b"0x",
            b" 5",
            b"5 ",
            b"5\n",
            b"5\rh",
            b"5;a\n",
            b"5;a\0",
            b"5;a\rb",
            long.as_bytes(),
            b"00000000000000000",
            b"8000000000000000",
            b"ffffffffffffffff",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5\r\nhello\rX",
            b"0\r\n\n",
            b"0\r\nX: 1\n",
            b"0\r\nX: \0",
        ] {
            assert_eq!(read(body), Err(Bent), "{}", body.escape_ascii());
        }
        let trailers = format!("0\r\nX: {}", "a".repeat(33 * 1024));
        assert_eq!(read(trailers.as_bytes()), Err(Bent));
    }

    #[test]
    fn data_is_told_from_what_stands_around_it() {
        let body = b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\nbehind";
        for size in 1..=body.len() {
            let (mut chunks, mut data, mut taken) = (Chunks::behind(0), Vec::<u8>::new(), 0);
            for part in body.chunks(size) {
                let mut rest = part;
                while !rest.is_empty() && !chunks.is_done() {
                    let length = match chunks.run(rest).unwrap() {
                        Run::Frame(length) => length,
                        Run::Data(length) => {
                            data.extend(&rest[..length]);
                            length
                        }
                    };
                    assert!(length > 0);
                    taken += length;
                    rest = &rest[length..];
                }
            }
            assert!(chunks.is_done());
            assert_eq!(data, b"hello");
            assert_eq!(taken, body.len() - "behind".len());
            assert_eq!(chunks.run(b"behind"), Ok(Run::Frame(0)));
        }
        assert_eq!(Chunks::behind(0).run(b"5\n"), Err(Bent));
    }

    #[test]
    fn a_head_says_whether_chunks_follow() {
        assert!(announced(
            b"POST / HTTP/1.1\r\nTransfer-ENCODING: chunked\r\n\r\n"
        ));
        assert!(!announced(
            b"POST / HTTP/1.1\r\nX-A: transfer-encoding: b\r\n\r\n"
        ));
    }
}
