//! A certificate of the gateway's own keeping: chain and key in one file, the key sealed.

use std::path::Path;

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::secrets::Keys;

/// What the key is sealed as; its file's name is the owner.
const KIND: &str = "certificate-key";
const BEGIN: &str = "-----BEGIN POSTERN SEALED KEY-----\n";
const END: &str = "\n-----END POSTERN SEALED KEY-----\n";

fn owner(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Writes chain and key as the text of one file.
pub(crate) fn seal(keys: &Keys, path: &Path, chain_pem: &str, key_pem: &str) -> String {
    let sealed = keys.seal(KIND, &owner(path), key_pem.as_bytes());
    let newline = if chain_pem.ends_with('\n') { "" } else { "\n" };
    format!("{chain_pem}{newline}{}", block(&sealed))
}

/// Writes what is sealed as text.
pub(super) fn block(sealed: &[u8]) -> String {
    format!("{BEGIN}{}{END}", BASE64.encode(sealed))
}

/// Reads what [`block`] wrote; `None` for anything else.
pub(super) fn unblock(text: &[u8]) -> Option<Vec<u8>> {
    let (chain, sealed) = split(text)?;
    chain.is_empty().then_some(sealed)
}

/// Says whether a key stands first in the text, in clear.
pub(super) fn is_clear(text: &[u8]) -> bool {
    split_clear(text).is_some()
}

/// Splits the text of a file into its chain and what stands sealed in it; `None` if nothing does.
fn split(text: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let at = text
        .windows(BEGIN.len())
        .position(|w| w == BEGIN.as_bytes())?;
    let (chain, rest) = text.split_at(at);
    let rest = rest.get(BEGIN.len()..)?.strip_suffix(END.as_bytes())?;
    Some((chain, BASE64.decode(rest).ok()?))
}

/// Splits the text of a file from before keys were sealed into its chain and its key, which stands first in clear.
fn split_clear(text: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(text).ok()?;
    let head = text.lines().next()?;
    let name = head.strip_prefix("-----BEGIN ")?;
    let last = name
        .ends_with("PRIVATE KEY-----")
        .then(|| format!("-----END {name}"))?;
    let end = text.find(&last)? + last.len();
    let (key, chain) = text.split_at(end);
    Some((chain.trim_start(), key))
}

/// Returns key and chain in PEM; `None` where the key does not open with these master keys.
pub(super) fn open(keys: &Keys, path: &Path, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if split_clear(text).is_some() {
        return Some(Zeroizing::new(text.to_vec()));
    }
    let (chain, sealed) = split(text)?;
    let key = keys.open(KIND, &owner(path), &sealed)?;
    let mut whole = Zeroizing::new(Vec::with_capacity(key.len() + chain.len() + 1));
    whole.extend_from_slice(&key);
    whole.push(b'\n');
    whole.extend_from_slice(chain);
    Some(whole)
}

/// Returns the text anew if an older master key sealed its key, or none did.
pub(crate) fn reseal(keys: &Keys, path: &Path, text: &[u8]) -> Option<String> {
    if let Some((chain, key)) = split_clear(text) {
        return Some(seal(keys, path, chain, key));
    }
    let (chain, sealed) = split(text)?;
    let chain = std::str::from_utf8(chain).ok()?;
    let sealed = keys.reseal(KIND, &owner(path), &sealed)?;
    Some(format!("{chain}{}", block(&sealed)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{open, reseal, seal};
    use crate::config::tests::Folder;
    use crate::secrets::Keys;

    #[test]
    fn a_key_opens_in_its_own_file_and_under_its_own_master_key_only() {
        let folder = Folder::new();
        let path = Path::new("a.test.pem");
        let keys = Keys::create(&folder.path().join("a.key")).unwrap();
        let text = seal(&keys, path, "CHAIN", "KEY");
        assert!(
            !text.contains("KEY\n") && text.starts_with("CHAIN\n"),
            "{text}"
        );
        let whole = open(&keys, path, text.as_bytes()).unwrap();
        assert_eq!(&whole[..], b"KEY\nCHAIN\n");
        assert!(open(&keys, Path::new("b.test.pem"), text.as_bytes()).is_none());
        let other = Keys::create(&folder.path().join("b.key")).unwrap();
        assert!(open(&other, path, text.as_bytes()).is_none());
        for cut in 0..text.len() {
            assert!(
                open(&keys, path, &text.as_bytes()[..cut]).is_none(),
                "{cut}"
            );
        }
    }

    #[test]
    fn a_key_from_before_they_were_sealed_opens_and_is_sealed_once() {
        let folder = Folder::new();
        let path = Path::new("a.test.pem");
        let keys = Keys::create(&folder.path().join("a.key")).unwrap();
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
        let chain = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";
        let clear = format!("{key}\n{chain}");
        assert_eq!(
            &open(&keys, path, clear.as_bytes()).unwrap()[..],
            clear.as_bytes()
        );
        let sealed = reseal(&keys, path, clear.as_bytes()).unwrap();
        assert!(
            sealed.starts_with(chain) && !sealed.contains("AAAA"),
            "{sealed}"
        );
        assert_eq!(
            &open(&keys, path, sealed.as_bytes()).unwrap()[..],
            clear.as_bytes()
        );
        assert!(reseal(&keys, path, sealed.as_bytes()).is_none());
        // a chain without a key is neither
        assert!(open(&keys, path, chain.as_bytes()).is_none());
        assert!(reseal(&keys, path, chain.as_bytes()).is_none());
    }

    #[test]
    fn after_a_rotation_the_key_is_sealed_under_the_newest_once() {
        let folder = Folder::new();
        let path = Path::new("a.test.pem");
        let file = folder.path().join("a.key");
        let before = Keys::create(&file).unwrap();
        let text = seal(&before, path, "CHAIN", "KEY");
        assert!(reseal(&before, path, text.as_bytes()).is_none());
        let keys = Keys::rotate(&file).unwrap();
        let anew = reseal(&keys, path, text.as_bytes()).unwrap();
        assert!(reseal(&keys, path, anew.as_bytes()).is_none());
        assert_eq!(
            &open(&keys, path, anew.as_bytes()).unwrap()[..],
            b"KEY\nCHAIN\n"
        );
        assert!(open(&before, path, anew.as_bytes()).is_none());
    }
}
