//! The account at each directory: its key is drawn once, sealed, and kept in the data folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::plan::{Cause, Failure};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::failure;
use super::order::NONCES;
use super::transport::{Heard, Transport};
use crate::config::{Acme, Directory};
use crate::proxy::tls::files;
use crate::secrets::Keys;

const KIND: &str = "acme-account";

/// The accounts of this gateway.
pub(super) struct Accounts {
    dir: PathBuf,
    keys: Arc<Keys>,
    one: tokio::sync::Mutex<()>,
}

/// An account, and what its directory says beside its answers.
pub(super) struct Opened {
    pub(super) account: Account,
    pub(super) heard: Arc<Heard>,
}

impl Accounts {
    pub(super) fn new(dir: &Path, keys: Arc<Keys>) -> Self {
        Self {
            dir: dir.to_owned(),
            keys,
            one: tokio::sync::Mutex::default(),
        }
    }

    /// Opens the account at a directory, or makes it there.
    pub(super) async fn open(&self, acme: &Acme, at: &Directory) -> Result<Opened, Failure> {
        let _one = self.one.lock().await;
        let url = at.url(acme.staging).unwrap_or_default();
        let unreachable = |text| Failure::new(Cause::Unreachable, text);
        let begin = || {
            let transport = Transport::new(at.roots.as_deref()).map_err(unreachable)?;
            let heard = transport.heard();
            Ok((Account::builder_with_http(Box::new(transport)), heard))
        };
        if let Some(known) = self.load(url) {
            let (builder, heard) = begin()?;
            let opened = builder.from_credentials(known).await;
            let account = opened.map_err(|e| failure::of(&e, &heard))?;
            return Ok(Opened { account, heard });
        }
        let outside = external(at).map_err(|text| Failure::new(Cause::Account, text))?;
        let contact = acme.contact.as_deref().map(mail_url);
        let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contacts,
            terms_of_service_agreed: acme.agree_to_terms,
            only_return_existing: false,
        };
        let mut tries = NONCES;
        loop {
            let (builder, heard) = begin()?;
            let made = builder.create(&new, url.to_owned(), outside.as_ref()).await;
            let (account, credentials) = match made {
                Ok(made) => made,
                // none was made; the library asks three times by itself
                Err(error) if failure::is_bad_nonce(&error) && tries > 0 => {
                    tries -= 1;
                    continue;
                }
                Err(error) => return Err(failure::of(&error, &heard)),
            };
            self.save(url, &credentials)
                .map_err(|text| Failure::new(Cause::Storage, text))?;
            return Ok(Opened { account, heard });
        }
    }

    /// Forgets an account that its directory does not know any more.
    pub(super) fn forget(&self, acme: &Acme, at: &Directory) {
        if let Some(url) = at.url(acme.staging) {
            drop(fs::remove_file(self.path(url)));
        }
    }

    fn load(&self, url: &str) -> Option<AccountCredentials> {
        let sealed = files::read_secret(&self.path(url), files::Readers::Owner).ok()?;
        let plain = self.keys.open(KIND, url, &sealed)?;
        if let Some(anew) = self.keys.reseal(KIND, url, &sealed) {
            // one that cannot be written stays under the older key, which opens it the next time
            drop(files::replace(&self.path(url), &anew, 0o600));
        }
        serde_json::from_slice(&plain).ok()
    }

    fn save(&self, url: &str, credentials: &AccountCredentials) -> Result<(), String> {
        let plain = serde_json::to_vec(credentials).map(Zeroizing::new);
        let plain = plain.map_err(|e| e.to_string())?;
        let sealed = self.keys.seal(KIND, url, &plain);
        files::make_dir(&self.dir).map_err(|e| e.to_string())?;
        files::replace(&self.path(url), &sealed, 0o600).map_err(|e| e.to_string())
    }

    fn path(&self, url: &str) -> PathBuf {
        let digest = HEXLOWER.encode(&Sha256::digest(url.as_bytes()));
        let short = digest.get(..16).unwrap_or(&digest);
        self.dir.join(format!("account-{short}.sealed"))
    }
}

fn mail_url(contact: &str) -> String {
    match contact.contains(':') {
        true => contact.to_owned(),
        false => format!("mailto:{contact}"),
    }
}

fn external(at: &Directory) -> Result<Option<ExternalAccountKey>, String> {
    let (Some(kid), Some(file)) = (&at.eab_kid, &at.eab_key_file) else {
        return Ok(None);
    };
    let text = files::read_secret(file, files::Readers::OwnerAndGroup);
    let text = text.map_err(|e| e.to_string())?;
    let key = BASE64URL_NOPAD
        .decode(text.trim_ascii().trim_ascii_end())
        .map(Zeroizing::new)
        .map_err(|_| format!("{} is not base64url", file.display()))?;
    Ok(Some(ExternalAccountKey::new(kid.clone(), &key)))
}
