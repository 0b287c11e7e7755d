//! A stream sealed in parts, so that a file of any length is checked part by part as it is read.
//!
//! Each part is XChaCha20-Poly1305 under a key of this one file; its nonce is its number and whether
//! it is the last, so that parts can neither be moved, left out nor cut off.
//! Source: STREAM of [Online Authenticated-Encryption](https://eprint.iacr.org/2015/189)

use std::io::{self, Read, Write};

use chacha20poly1305::aead::Aead;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes of a part before it is sealed.
const PART: usize = 64 * 1024;
const TAG: usize = 16;
const NONCE: usize = 24;

/// What is wrong with a sealed stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The first part does not open.
    #[error("it does not open with this key or passphrase, or its beginning was altered")]
    Key,
    /// A part was altered.
    #[error("it was altered between byte {from} and byte {to}")]
    Altered {
        /// Where the part begins in the file.
        from: u64,
        /// Where the part ends.
        to: u64,
    },
    /// The file ends where another part should begin.
    #[error("it is cut short after byte {at}")]
    Cut {
        /// How many bytes there are.
        at: u64,
    },
    /// Something follows the last part.
    #[error("something was added after byte {at}")]
    Longer {
        /// Where it should end.
        at: u64,
    },
}

/// Seals what is written to it.
pub(super) struct Sealer<W> {
    out: W,
    cipher: XChaCha20Poly1305,
    held: Zeroizing<Vec<u8>>,
    number: u32,
}

impl<W: Write> Sealer<W> {
    /// Seals into `out` under a key that seals nothing else.
    pub(super) fn new(out: W, key: &[u8; 32]) -> Self {
        Self {
            out,
            cipher: XChaCha20Poly1305::new(key.into()),
            held: Zeroizing::new(Vec::with_capacity(2 * PART)),
            number: 0,
        }
    }

    /// Seals the last part and gives the output back.
    ///
    /// # Errors
    /// Of the output.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let rest = std::mem::take(&mut *self.held);
        self.seal(&Zeroizing::new(rest), true)?;
        Ok(self.out)
    }

    fn seal(&mut self, part: &[u8], last: bool) -> io::Result<()> {
        let sealed = self.cipher.encrypt(&nonce(self.number, last), part);
        let sealed = sealed.map_err(|_| io::Error::other("a part cannot be sealed"))?;
        let next = self.number.checked_add(1);
        self.number = next.ok_or_else(|| io::Error::other("more than 256 TiB"))?;
        self.out.write_all(&sealed)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.get(..bytes.len().min(PART)).unwrap_or(bytes);
        self.held.extend_from_slice(taken);
        // the last part is sealed by `finish`, so one is always held back
        if self.held.len() > PART {
            let rest = Zeroizing::new(self.held.split_off(PART));
            let part = std::mem::replace(&mut self.held, rest);
            self.seal(&part, false)?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what [`Sealer`] sealed; a fault is the error behind an [`io::Error`].
pub(super) struct Opener<R> {
    input: R,
    cipher: XChaCha20Poly1305,
    /// The sealed part that comes next.
    ahead: Option<Vec<u8>>,
    plain: Zeroizing<Vec<u8>>,
    /// How much of `plain` was given out.
    given: usize,
    number: u32,
    /// Where the next part begins in the file.
    at: u64,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Opens what `input` has from here on, which is byte `at` of the file.
    pub(super) fn new(input: R, key: &[u8; 32], at: u64) -> Self {
        Self {
            input,
            cipher: XChaCha20Poly1305::new(key.into()),
            ahead: None,
            plain: Zeroizing::new(Vec::new()),
            given: 0,
            number: 0,
            at,
            ended: false,
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        let part = match self.ahead.take() {
            Some(part) => part,
            None => read_part(&mut self.input)?,
        };
        let next = read_part(&mut self.input)?;
        let last = next.is_empty();
        let opened = self.cipher.decrypt(&nonce(self.number, last), &*part);
        let opened = opened.map_err(|_| self.fault(&part, last))?;
        self.plain = Zeroizing::new(opened);
        self.given = 0;
        self.at += u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.number = self.number.saturating_add(1);
        self.ended = last;
        self.ahead = Some(next);
        Ok(())
    }

    /// Finds out what is wrong with a part that does not open.
    fn fault(&self, part: &[u8], last: bool) -> io::Error {
        let end = self.at + u64::try_from(part.len()).unwrap_or(u64::MAX);
        let otherwise = self.cipher.decrypt(&nonce(self.number, !last), part);
        let fault = match (otherwise.is_ok(), last) {
            (true, true) => Fault::Cut { at: end },
            (true, false) => Fault::Longer { at: end },
            (false, true) if part.len() < TAG => Fault::Cut { at: end },
            (false, _) if self.number == 0 => Fault::Key,
            (false, _) => Fault::Altered {
                from: self.at,
                to: end,
            },
        };
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.plain.get(self.given..).unwrap_or_default();
            let take = left.len().min(out.len());
            if take > 0 || out.is_empty() {
                if let (Some(to), Some(from)) = (out.get_mut(..take), left.get(..take)) {
                    to.copy_from_slice(from);
                }
                self.given += take;
                return Ok(take);
            }
            if self.ended {
                return Ok(0);
            }
            self.advance()?;
        }
    }
}

fn read_part(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let most = u64::try_from(PART + TAG).unwrap_or(u64::MAX);
    let mut part = Vec::with_capacity(PART + TAG);
    input.take(most).read_to_end(&mut part)?;
    Ok(part)
}

fn nonce(number: u32, last: bool) -> XNonce {
    let mut nonce = [0; NONCE];
    let bytes = number.to_be_bytes().into_iter().chain([u8::from(last)]);
    for (to, from) in nonce.iter_mut().skip(NONCE - 5).zip(bytes) {
        *to = from;
    }
    nonce.into()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{Fault, Opener, PART, Sealer, TAG};

    const KEY: [u8; 32] = [7; 32];

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(Vec::new(), &KEY);
        sealer.write_all(plain).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(sealed: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, Fault> {
        let mut plain = Vec::new();
        let read = Opener::new(sealed, key, 100).read_to_end(&mut plain);
        match read {
            Ok(_) => Ok(plain),
            Err(e) => Err(e
                .into_inner()
                .unwrap()
                .downcast_ref::<Fault>()
                .unwrap()
                .clone()),
        }
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    #[test]
    fn every_length_comes_back_whole() {
        for len in [
            0,
            1,
            PART - 1,
            PART,
            PART + 1,
            2 * PART,
            2 * PART + 1,
            5 * PART + 77,
        ] {
            let plain = sample(len);
            assert!(opened(&sealed(&plain), &KEY) == Ok(plain), "{len}");
        }
    }

    #[test]
    fn a_stream_that_was_cut_at_a_part_says_where() {
        let whole = sealed(&sample(3 * PART));
        let part = PART + TAG;
        let cut = whole.get(..2 * part).unwrap();
        let at = 100 + u64::try_from(2 * part).unwrap();
        assert_eq!(opened(cut, &KEY), Err(Fault::Cut { at }));
        assert_eq!(opened(&[], &KEY), Err(Fault::Cut { at: 100 }));
    }

    #[test]
    fn a_stream_that_was_cut_or_altered_within_a_part_names_the_part() {
        let whole = sealed(&sample(3 * PART));
        let part = u64::try_from(PART + TAG).unwrap();
        let cut = whole.get(..whole.len() - 5).unwrap();
        let wrong = |from, to| Err(Fault::Altered { from, to });
        assert_eq!(opened(cut, &KEY), wrong(100 + 2 * part, 100 + 3 * part - 5));
        let mut altered = whole.clone();
        altered[PART + TAG + 9] ^= 1;
        assert_eq!(opened(&altered, &KEY), wrong(100 + part, 100 + 2 * part));
    }

    #[test]
    fn parts_cannot_be_added_moved_or_left_out() {
        let whole = sealed(&sample(3 * PART));
        let (first, rest) = whole.split_at(PART + TAG);
        let (second, third) = rest.split_at(PART + TAG);
        let longer = [whole.as_slice(), first].concat();
        let end = 100 + u64::try_from(whole.len()).unwrap();
        assert_eq!(opened(&longer, &KEY), Err(Fault::Longer { at: end }));
        let moved = [first, third, second].concat();
        assert!(matches!(opened(&moved, &KEY), Err(Fault::Altered { .. })));
        let without = [first, third].concat();
        assert!(matches!(opened(&without, &KEY), Err(Fault::Altered { .. })));
    }

    #[test]
    fn another_key_opens_nothing() {
        assert_eq!(opened(&sealed(&sample(10)), &[8; 32]), Err(Fault::Key));
        assert_eq!(
            opened(&sealed(&sample(3 * PART)), &[8; 32]),
            Err(Fault::Key)
        );
    }
}
