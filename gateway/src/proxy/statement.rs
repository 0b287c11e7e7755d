//! The signed statement an app gets about a request's person, and the keys to verify it by.
//!
//! A JSON Web Token, ES256, good for a minute, for one app: `iss` the sign-in URL, `aud` the app's
//! URL, `sub`, `groups`, `rule`. The public key is at `/.well-known/postern/jwks.json` of the
//! sign-in hosts. Source: RFC 7515, RFC 7517, RFC 7519; ASVS 4.1.5.

mod ring;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::KeyPair;
use data_encoding::BASE64URL_NOPAD;
use http::HeaderName;
use parking_lot::Mutex;
use serde_json::json;

use crate::ids::SessionId;
use crate::secrets::Keys;
use crate::secrets::sealed::{self, SealedError, read_or_draw};
use ring::{Key, Ring, SINGLE};

/// The header field it travels in.
pub(crate) const FIELD: HeaderName = HeaderName::from_static("x-postern-jwt");
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
    pub(crate) session: Option<SessionId>,
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
    path: PathBuf,
    keys: Arc<Keys>,
    ring: ArcSwap<Ring>,
    recent: Mutex<HashMap<Claims, Signed>>,
}

/// A statement and when it was signed.
#[derive(Clone)]
pub(crate) struct Signed {
    /// The statement.
    pub(crate) token: String,
    /// When it was signed.
    pub(crate) since: Instant,
}

/// Tells whether a statement that was signed then may still be given.
pub(crate) fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < FRESH
}

impl Signer {
    /// Opens the keys in the state folder, or draws the first one.
    ///
    /// # Errors
    /// [`StatementError`].
    pub(crate) fn open(data: &Path, keys: &Arc<Keys>, unix: i64) -> Result<Self, StatementError> {
        let path = data.join(FILE);
        let draw = || {
            Ring::draw(unix)
                .map(|ring| ring.write())
                .unwrap_or_default()
        };
        let bytes = read_or_draw(&path, KIND, keys, draw)?;
        let ring = Ring::read(&bytes, unix).ok_or(StatementError::Damaged)?;
        if bytes.first() == Some(&SINGLE) {
            // its age counts from now on
            sealed::replace(&path, KIND, keys, &ring.write())?;
        }
        Ok(Self {
            path,
            keys: Arc::clone(keys),
            ring: ArcSwap::from_pointee(ring),
            recent: Mutex::default(),
        })
    }

    /// Draws the next key when it is time, and lets one go that signs no more; says whether a key was drawn.
    ///
    /// # Errors
    /// What the disk refuses; the keys are then as they were.
    pub(crate) fn turn(&self, unix: i64) -> Result<bool, StatementError> {
        let ring = self.ring.load_full();
        let Some(turned) = ring.turned(unix) else {
            return Ok(false);
        };
        sealed::replace(&self.path, KIND, &self.keys, &turned.write())?;
        let newest = |ring: &Ring| ring.all().next().map(|key| key.kid.clone());
        let drawn = newest(&turned) != newest(&ring);
        self.ring.store(Arc::new(turned));
        Ok(drawn)
    }

    /// Returns a statement good for at least 40 s; the same one for a while, since signing costs
    /// as much as the rest of a request. `None` if it cannot be signed.
    pub(crate) fn sign(&self, claims: Claims, unix: i64, now: Instant) -> Option<Signed> {
        if let Some(signed) = self.recent.lock().get(&claims)
            && is_fresh(signed.since, now)
        {
            return Some(signed.clone());
        }
        let token = make(self.ring.load().signs(unix), &claims, unix)?;
        let signed = Signed { token, since: now };
        let mut recent = self.recent.lock();
        if recent.len() >= MOST {
            recent.retain(|_, signed| is_fresh(signed.since, now));
        }
        if recent.len() < MOST {
            recent.insert(claims, signed.clone());
        }
        Some(signed)
    }

    /// Writes the public keys as a JWK set.
    pub(crate) fn key_set(&self) -> String {
        let ring = self.ring.load();
        let keys: Vec<_> = ring.all().map(public).collect();
        format!("{}\n", json!({ "keys": keys }))
    }
}

fn make(key: &Key, claims: &Claims, unix: i64) -> Option<String> {
    let head = json!({ "alg": "ES256", "typ": "JWT", "kid": key.kid });
    let body = json!({
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.subject,
        "groups": claims.groups,
        "rule": claims.rule,
        "iat": unix,
        "exp": unix.saturating_add(LIFE_SECS),
    });
    let encode = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&head), encode(&body));
    let signature = key
        .pair
        .sign(&SystemRandom::new(), signed.as_bytes())
        .ok()?;
    let signature = BASE64URL_NOPAD.encode(signature.as_ref());
    Some(format!("{signed}.{signature}"))
}

/// A public key as a JWK. Source: RFC 7518 section 6.2.1.
fn public(key: &Key) -> serde_json::Value {
    let point = key.pair.public_key().as_ref();
    let part = |range| BASE64URL_NOPAD.encode(point.get(range).unwrap_or_default());
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key.kid,
        "x": part(1..33), "y": part(33..65),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
    };
    use data_encoding::BASE64URL_NOPAD;

    use super::ring::{AHEAD, LIFE};
    use super::{Claims, FILE, KIND, Signer};
    use crate::clock;
    use crate::ids::{self, SessionId};
    use crate::secrets::{Keys, sealed};

    fn claims(rule: &str) -> Claims {
        Claims {
            session: Some(SessionId(1)),
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
        let keys = Arc::new(Keys::create(&folder.join("master")).unwrap());
        let signer = Signer::open(&folder, &keys, 1000).unwrap();
        let now = clock::now();
        let token = signer
            .sign(claims("app.pay#payroll"), 1000, now)
            .unwrap()
            .token;
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
        let again = Signer::open(&folder, &keys, 1000).unwrap();
        assert_eq!(again.key_set(), signer.key_set());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_statement_is_made_anew_before_it_ends_and_for_other_claims() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let keys = Arc::new(Keys::create(&folder.join("master")).unwrap());
        let signer = Signer::open(&folder, &keys, 1000).unwrap();
        let now = clock::now();
        let first = signer.sign(claims("a"), 1000, now).unwrap().token;
        let soon = now + Duration::from_secs(10);
        assert_eq!(signer.sign(claims("a"), 1010, soon).unwrap().token, first);
        let later = now + Duration::from_secs(21);
        assert_ne!(signer.sign(claims("a"), 1021, later).unwrap().token, first);
        assert_ne!(signer.sign(claims("b"), 1010, soon).unwrap().token, first);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_next_key_is_in_the_set_before_it_signs_and_after_a_restart() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let keys = Arc::new(Keys::create(&folder.join("master")).unwrap());
        let signer = Signer::open(&folder, &keys, 1000).unwrap();
        let kid = |token: &str| {
            let head = decode(token.split('.').next().unwrap());
            let head: serde_json::Value = serde_json::from_slice(&head).unwrap();
            head["kid"].as_str().unwrap().to_owned()
        };
        let old = kid(&signer.sign(claims("a"), 1000, clock::now()).unwrap().token);
        assert!(!signer.turn(1000).unwrap());
        let drawn = 1000 + LIFE;
        assert!(signer.turn(drawn).unwrap());
        let set: serde_json::Value = serde_json::from_str(&signer.key_set()).unwrap();
        let new = set["keys"][0]["kid"].as_str().unwrap();
        assert_eq!(set["keys"][1]["kid"], old.as_str());
        let again = Signer::open(&folder, &keys, drawn).unwrap();
        assert_eq!(again.key_set(), signer.key_set());
        assert_eq!(
            kid(&again.sign(claims("b"), drawn, clock::now()).unwrap().token),
            old
        );
        let then = drawn + AHEAD;
        assert_eq!(
            kid(&again.sign(claims("c"), then, clock::now()).unwrap().token),
            new
        );
        assert!(!again.turn(then + 3600).unwrap(), "one goes, none is drawn");
        assert!(!again.key_set().contains(&old));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_age_of_a_key_of_before_counts_from_the_first_start_and_over_restarts() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let keys = Arc::new(Keys::create(&folder.join("master")).unwrap());
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let single = pair.to_pkcs8v1().unwrap();
        sealed::replace(&folder.join(FILE), KIND, &keys, single.as_ref()).unwrap();
        let first = Signer::open(&folder, &keys, 1000).unwrap();
        let later = Signer::open(&folder, &keys, 1000 + LIFE - 1).unwrap();
        assert_eq!(first.key_set(), later.key_set());
        assert!(!later.turn(1000 + LIFE - 1).unwrap());
        assert!(later.turn(1000 + LIFE).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_key_drawn_after_a_long_rest_is_told_though_there_are_as_many_as_before() {
        let folder = std::env::temp_dir().join(ids::token());
        std::fs::create_dir(&folder).unwrap();
        let keys = Arc::new(Keys::create(&folder.join("master")).unwrap());
        let signer = Signer::open(&folder, &keys, 1000).unwrap();
        assert!(signer.turn(1000 + LIFE).unwrap());
        assert!(signer.turn(1000 + 3 * LIFE).unwrap());
        assert!(!signer.turn(1000 + 3 * LIFE).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
