//! The sealed note of how far the journal had come.

use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chain::{ChainKey, Link, Position};

/// Name of the file beside the segments.
pub(super) const NAME: &str = "head";
/// Keeps the code of a head apart from the chain values of records.
const LABEL: &[u8] = b"postern audit head 1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seq: u64,
    chain: String,
    seal: String,
}

/// What a look at the head found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Missing,
    /// Not written with this key, or changed.
    Bad,
    At(Position),
}

impl Head {
    /// Reads the head file of a folder; an unreadable one is `Bad`.
    pub(super) fn load(dir: &Path, key: &ChainKey) -> Self {
        match std::fs::File::open(dir.join(NAME)) {
            Ok(file) => Self::read(file, key),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(_) => Self::Bad,
        }
    }

    fn read(file: std::fs::File, key: &ChainKey) -> Self {
        let mut text = String::new();
        if file.take(1024).read_to_string(&mut text).is_err() {
            return Self::Bad;
        }
        parse(&text, key).map_or(Self::Bad, Self::At)
    }
}

fn parse(text: &str, key: &ChainKey) -> Option<Position> {
    let written: Written = serde_json::from_str(text).ok()?;
    let position = Position {
        seq: written.seq,
        link: Link::parse(written.chain.as_bytes())?,
    };
    let made = Link::parse(written.seal.as_bytes())?;
    key.maker(&position.link, &body(position), &made)?;
    Some(position)
}

/// Renders the head file.
pub(super) fn render(position: Position, key: &ChainKey) -> Vec<u8> {
    let (seq, chain, seal) = (position.seq, position.link.hex(), seal(position, key).hex());
    format!("{{\"seq\":{seq},\"chain\":\"{chain}\",\"seal\":\"{seal}\"}}\n").into_bytes()
}

fn seal(position: Position, key: &ChainKey) -> Link {
    key.link(&position.link, &body(position))
}

fn body(position: Position) -> Vec<u8> {
    let mut body = LABEL.to_vec();
    body.extend_from_slice(&position.seq.to_be_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::{ChainKey, Link, Position, parse, render};

    #[test]
    fn a_head_is_read_back_with_its_key_only() {
        let position = Position {
            seq: 41,
            link: Link([7; 32]),
        };
        let key = ChainKey::new(&[1; 32]);
        let text = String::from_utf8(render(position, &key)).unwrap();
        assert_eq!(parse(&text, &key), Some(position));
        assert_eq!(parse(&text, &ChainKey::new(&[2; 32])), None);
        assert_eq!(parse(&text.replace("41", "40"), &key), None);
        assert_eq!(parse("", &key), None);
    }
}
