//! A key that is made when a handshake first needs it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::ChainError;

/// What a handshake needs, or what it is made of.
pub(super) struct Late {
    made: OnceLock<Result<Arc<CertifiedKey>, ChainError>>,
    parts: Mutex<Option<Parts>>,
}

/// Certificates and a key that belong together.
pub(super) struct Parts {
    certs: Vec<CertificateDer<'static>>,
    key: Zeroizing<PrivateKeyDer<'static>>,
    provider: &'static dyn KeyProvider,
}

impl Parts {
    pub(super) fn new(
        certs: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            certs,
            key: Zeroizing::new(key),
            provider: provider.key_provider,
        }
    }

    /// Makes the key and looks whether it belongs to the first certificate.
    ///
    /// # Errors
    /// [`ChainError::KeyKind`] or [`ChainError::KeyMismatch`].
    pub(super) fn make(self) -> Result<Arc<CertifiedKey>, ChainError> {
        let key = self.provider.load_private_key(self.key.clone_key());
        let key = key.map_err(|_| ChainError::KeyKind)?;
        let certified = CertifiedKey::new(self.certs, key);
        let matches = certified.keys_match();
        matches.map_err(|_| ChainError::KeyMismatch)?;
        Ok(Arc::new(certified))
    }
}

impl Late {
    /// Holds a key that is made already.
    pub(super) fn ready(key: Arc<CertifiedKey>) -> Self {
        Self {
            made: OnceLock::from(Ok(key)),
            parts: Mutex::new(None),
        }
    }

    /// Holds what the key is made of.
    pub(super) fn later(parts: Parts) -> Self {
        Self {
            made: OnceLock::new(),
            parts: Mutex::new(Some(parts)),
        }
    }

    /// Returns the key, made now if nobody needed it before.
    ///
    /// # Errors
    /// Those of [`Parts::make`], each time.
    pub(super) fn get(&self) -> Result<&Arc<CertifiedKey>, &ChainError> {
        let make = || {
            let parts = self
                .parts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            parts.ok_or(ChainError::NoKey)?.make()
        };
        self.made.get_or_init(make).as_ref()
    }

    /// Says whether the key was made, or found to be unusable.
    pub(super) fn is_made(&self) -> bool {
        self.made.get().is_some()
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.is_made();
        f.debug_struct("Late")
            .field("made", &made)
            .finish_non_exhaustive()
    }
}
