//! The signed statement an app gets about a request's person, and the keys to verify it by.
//!
//! A JSON Web Token, ES256, good for a minute, for one app: `iss` the sign-in URL, `aud` the app's
//! URL, `sub`, `groups`, `rule`. The public key is at `/.well-known/postern/jwks.json` of the
//! sign-in hosts. Source: RFC 7515, RFC 7517, RFC 7519; ASVS 4.1.5.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ids::SessionId;
use crate::secrets::Keys;
use crate::secrets::sealed::{SealedError, read_or_draw};

/// The header field it travels in.
pub(crate) const FIELD: &str = "X-Postern-Jwt";
/// Where the public keys are.
pub(crate) const KEYS_PATH: &str = "/.well-known/postern/jwks.json";

/// The file in the state folder, and the kind its content is sealed under.
pub(crate) const FILE: &str = "statement.key";
pub(crate) const KIND: &str = "statement";
const LIFE_SECS: i64 = 60;
const FRESH: Duration = Duration::from_secs(20);
const MOST: usize = 4096;

/// Says why statements cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatementError {
    /// The key's file is not usable.
    #[error(transparent)]
    File(#[from] SealedError),
    /// What the file holds is no key.
    #[error("the key of signed statements is damaged")]
    Damaged,
}

/// What a statement says, and of whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claims {
    /// The session it is said of; not part of the statement.
    pub(crate) session: SessionId,
    /// The sign-in URL.
    pub(crate) issuer: String,
    /// The app's URL.
    pub(crate) audience: String,
    /// The person.
    pub(crate) subject: String,
    /// The person's groups.
    pub(crate) groups: Vec<String>,
    /// The rule that allowed the request.
    pub(crate) rule: String,
}

/// Signs statements.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    kid: String,
    recent: Mutex<HashMap<Claims, (String, Instant)>>,
}

impl Signer {
    /// Opens the key in the state folder, or draws it the first time.
    ///
    /// # Errors
    /// [`StatementError`].
    pub(crate) fn open(data: &Path, keys: &Keys) -> Result<Self, StatementError> {
        let draw = || {
            let drawn = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
            let bytes = drawn.and_then(|key| key.to_pkcs8v1());
            Zeroizing::new(bytes.map(|b| b.as_ref().to_vec()).unwrap_or_default())
        };
        let bytes = read_or_draw(&data.join(FILE), KIND, keys, draw)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes)
            .map_err(|_| StatementError::Damaged)?;
        let digest = Sha256::digest(key.public_key().as_ref());
        let kid = BASE64URL_NOPAD.encode(digest.get(..12).unwrap_or_default());
        Ok(Self {
            key,
            kid,
            recent: Mutex::default(),
        })
    }

    /// Returns a statement good for at least 40 s; the same one for a while, since signing costs
    /// as much as the rest of a request. `None` if it cannot be signed.
    pub(crate) fn sign(&self, claims: Claims, unix: i64, now: Instant) -> Option<String> {
        if let Some((token, since)) = self.recent.lock().get(&claims)
            && now.saturating_duration_since(*since) < FRESH
        {
            return Some(token.clone());
        }
        let token = self.make(&claims, unix)?;
        let mut recent = self.recent.lock();
        if recent.len() >= MOST {
            recent.retain(|_, (_, at)| now.saturating_duration_since(*at) < FRESH);
        }
        if recent.len() < MOST {
            recent.insert(claims, (token.clone(), now));
        }
        Some(token)
    }

    fn make(&self, claims: &Claims, unix: i64) -> Option<String> {
        let head = json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid });
        let body = json!({
            "iss": claims.issuer,
            "aud": claims.audience,
            "sub": claims.subject,
            "groups": claims.groups,
            "rule": claims.rule,
            "iat": unix,
            "exp": unix.saturating_add(LIFE_SECS),
        });
        let encode =
            |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", encode(&head), encode(&body));
        let signature = self
            .key
            .sign(&SystemRandom::new(), signed.as_bytes())
            .ok()?;
        let signature = BASE64URL_NOPAD.encode(signature.as_ref());
        Some(format!("{signed}.{signature}"))
    }

    /// Writes the public keys as a JWK set.
    pub(crate) fn key_set(&self) -> String {
        let point = self.key.public_key().as_ref();
        let part = |range| BASE64URL_NOPAD.encode(point.get(range).unwrap_or_default());
        let set = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": part(1..33), "y": part(33..65),
        }]});
        format!("{set}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use data_encoding::BASE64URL_NOPAD;

    use super::{Claims, Signer};
    use crate::clock;
    use crate::ids::{self, SessionId};
    use crate::secrets::Keys;

    fn claims(rule: &str) -> Claims {
        Claims {
            session: SessionId(1),
            issuer: "https://gate.example/".to_owned(),
            audience: "https://app.example/".to_owned(),
            subject: "ines".to_owned(),
            groups: vec!["payroll".to_owned()],
            rule: rule.to_owned(),
        }
    }

    fn decode(text: &str) -> Vec<u8> {
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_statement_verifies_by_the_published_key_and_a_changed_one_does_not() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let keys = Keys::create(&folder.join("master")).unwrap();
        let signer = Signer::open(&folder, &keys).unwrap();
        let now = clock::now();
        let token = signer.sign(claims("app.pay#payroll"), 1000, now).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let set: serde_json::Value = serde_json::from_str(&signer.key_set()).unwrap();
        let mut point = vec![4];
        point.extend(decode(set["keys"][0]["x"].as_str().unwrap()));
        point.extend(decode(set["keys"][0]["y"].as_str().unwrap()));
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        assert!(key.verify(signed.as_bytes(), &decode(signature)).is_ok());
        assert!(key.verify(b"other", &decode(signature)).is_err());
        let body = decode(signed.split('.').nth(1).unwrap());
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["sub"], "ines");
        assert_eq!(body["exp"], 1060);
        let again = Signer::open(&folder, &keys).unwrap();
        assert_eq!(again.key_set(), signer.key_set());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_statement_is_made_anew_before_it_ends_and_for_other_claims() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let keys = Keys::create(&folder.join("master")).unwrap();
        let signer = Signer::open(&folder, &keys).unwrap();
        let now = clock::now();
        let first = signer.sign(claims("a"), 1000, now).unwrap();
        let soon = now + Duration::from_secs(10);
        assert_eq!(signer.sign(claims("a"), 1010, soon).unwrap(), first);
        let later = now + Duration::from_secs(21);
        assert_ne!(signer.sign(claims("a"), 1021, later).unwrap(), first);
        assert_ne!(signer.sign(claims("b"), 1010, soon).unwrap(), first);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
