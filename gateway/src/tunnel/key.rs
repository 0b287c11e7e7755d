//! The gateway's own WireGuard key: drawn once, sealed in the state folder.

use zeroize::Zeroizing;

use crate::config::Config;
use crate::ids;
use crate::secrets::Keys;
use crate::secrets::sealed::{self, SealedError, read_or_draw};

/// The file in the state folder, and the kind its content is sealed under.
pub(crate) const FILE: &str = "wg.key";
pub(crate) const KIND: &str = "wg-server";

/// Reads the gateway's key, or draws one the first time.
///
/// # Errors
/// [`SealedError`]; a key that does not open is never replaced, since every device knows it.
pub(crate) fn server_key(config: &Config, keys: &Keys) -> Result<wg::PrivateKey, SealedError> {
    bytes(config, keys).map(|key| wg::PrivateKey::from_bytes(*key))
}

/// Puts the key of another WireGuard server in the place of ours; returns ours.
///
/// # Errors
/// [`SealedError`]; ours stays then.
pub(crate) fn replace(
    config: &Config,
    keys: &Keys,
    key: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, SealedError> {
    let before = bytes(config, keys)?;
    sealed::replace(&config.data.join(FILE), KIND, keys, key)?;
    Ok(before)
}

fn bytes(config: &Config, keys: &Keys) -> Result<Zeroizing<[u8; 32]>, SealedError> {
    let path = config.data.join(FILE);
    let draw = || Zeroizing::new(ids::random::<32>().to_vec());
    let bytes = read_or_draw(&path, KIND, keys, draw)?;
    let bytes = <[u8; 32]>::try_from(bytes.as_slice());
    bytes
        .map(Zeroizing::new)
        .map_err(|_| SealedError::Sealed { path })
}
