//! Tokens for apps: what a person makes for one program on one device that cannot sign in by itself.
//!
//! A token is 256 random bits; only an HMAC of them is kept, under a key of the master key. It counts for one app,
//! where the policy takes tokens, and ends with its time, by its person or an administrator, and whenever all
//! sessions of its person are ended: disabled, factors changed or reset, signed out everywhere.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::state::seconds;
use super::{Session, SessionChange, Sessions, TOUCH_SECS, report};
use crate::audit::{AuditError, Event, Record, reason};
use crate::identity::devices::is_name;
use crate::identity::record::Context;
use crate::identity::steady::Steady;
use crate::ids::{self, TokenId};
use crate::secrets::{self, Keys};
use crate::store::{Hash, Store, StoreError, TokenRow, UsedRow};

/// What every token begins with, so that scanners of source code know one.
pub(crate) const TOKEN_PREFIX: &str = "ptk_";
/// Tokens of one person at a time.
const PER_USER: usize = 20;
/// Characters of the secret: 256 bits in base32.
const SECRET_CHARS: usize = 52;
/// Characters of the checksum: 32 bits in base32.
const SUM_CHARS: usize = 7;

/// A token of one person for one app. Times are steady UNIX seconds.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) id: TokenId,
    pub(crate) user: Arc<str>,
    /// Such as `app.git`.
    pub(crate) app: Arc<str>,
    /// The device it was made for, in its person's words.
    pub(crate) name: Arc<str>,
    pub(crate) created: i64,
    pub(crate) expires: i64,
    ended: AtomicBool,
    used: Mutex<Option<UsedRow>>,
    /// When it was last used, as the store has it.
    kept: AtomicI64,
    steady: Arc<Steady>,
}

impl Token {
    fn of(row: &TokenRow, steady: &Arc<Steady>) -> Self {
        Self {
            id: row.id,
            user: row.user.as_str().into(),
            app: row.app.as_str().into(),
            name: row.name.as_str().into(),
            created: row.created,
            expires: row.expires,
            ended: AtomicBool::new(false),
            used: Mutex::new(row.used),
            kept: AtomicI64::new(row.used.map_or(i64::MIN, |used| used.at)),
            steady: Arc::clone(steady),
        }
    }

    /// Tells whether it still counts.
    pub(crate) fn is_live(&self, now: i64) -> bool {
        !self.ended.load(Ordering::Acquire) && self.steady.at(now) < self.expires
    }

    /// Returns the seconds since it was made; one from the future is as old as can be.
    pub(crate) fn age(&self, now: i64) -> u32 {
        let age = self.steady.at(now).saturating_sub(self.created);
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    /// Tells when and from where it was last used.
    pub(crate) fn used(&self) -> Option<UsedRow> {
        *self.used.lock()
    }

    fn touch(&self, now: i64, place: IpAddr) {
        let at = self.steady.at(now);
        *self.used.lock() = Some(UsedRow { at, place });
    }
}

/// Says why a token was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Password and code were not given within five minutes in this session.
    #[error("password and code were not given in this session")]
    NotConfirmed,
    /// The name of the device is empty, too long, or has characters that cannot be seen.
    #[error("a name has 1 to 64 characters that can be seen")]
    BadName,
    /// The person has a token of that name.
    #[error("there is a token of that name already")]
    NameTaken,
    /// The person has as many as there may be.
    #[error("a person has at most {0} tokens")]
    TooMany(usize),
    /// The session ended meanwhile.
    #[error("the session is over")]
    Ended,
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// The tokens of everybody; bounded by the number of people.
#[derive(Default)]
pub(super) struct Tokens {
    table: RwLock<Table>,
    /// The newest first.
    keys: Vec<Zeroizing<[u8; 32]>>,
    /// Ended in memory, not yet in the store.
    unwritten: Mutex<Vec<TokenId>>,
    /// One is made at a time, so that nobody has too many.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Table {
    by_id: BTreeMap<TokenId, (Arc<Token>, Hash)>,
    by_hash: HashMap<Hash, Arc<Token>>,
}

impl Table {
    fn insert(&mut self, token: Arc<Token>, hash: Hash) {
        self.by_hash.insert(hash, Arc::clone(&token));
        self.by_id.insert(token.id, (token, hash));
    }

    /// Takes out those for which `is` is true; they count no longer.
    fn take(&mut self, is: impl Fn(&Token) -> bool) -> Vec<Arc<Token>> {
        let chosen = self.by_id.values().filter(|(token, _)| is(token));
        let ids: Vec<TokenId> = chosen.map(|(token, _)| token.id).collect();
        let gone = ids.iter().filter_map(|id| self.by_id.remove(id));
        gone.map(|(token, hash)| {
            token.ended.store(true, Ordering::Release);
            self.by_hash.remove(&hash);
            token
        })
        .collect()
    }
}

impl Tokens {
    pub(super) async fn load(
        store: &dyn Store,
        keys: &Keys,
        steady: &Arc<Steady>,
    ) -> Result<Self, StoreError> {
        let mut table = Table::default();
        for row in store.tokens().await? {
            table.insert(Arc::new(Token::of(&row, steady)), row.hash);
        }
        Ok(Self {
            table: RwLock::new(table),
            keys: keys.derive_all("tokens"),
            ..Self::default()
        })
    }

    fn list(&self) -> Vec<Arc<Token>> {
        let table = self.table.read();
        let all = table.by_id.values();
        all.map(|(token, _)| Arc::clone(token)).collect()
    }

    fn find(&self, text: &str) -> Option<Arc<Token>> {
        let secret = secret_of(text)?;
        let hashes = self.keys.iter().map(|key| hash(key, &secret));
        let table = self.table.read();
        let mut found = hashes.filter_map(|hash| table.by_hash.get(&hash));
        found.next().map(Arc::clone)
    }
}

/// What a person wants a token to be.
pub(crate) struct NewToken<'a> {
    /// Such as `app.git`; the caller knows that it takes tokens.
    pub(crate) app: &'a str,
    /// The name of the device.
    pub(crate) name: &'a str,
    /// How long it is to count.
    pub(crate) life: Duration,
}

impl Sessions {
    /// Finds the live token of a text and notes its use from a place.
    pub(crate) fn find_token(&self, text: &str, place: IpAddr, now: i64) -> Option<Arc<Token>> {
        let token = self.tokens.find(text).filter(|token| token.is_live(now))?;
        token.touch(now, place);
        Some(token)
    }

    /// Lists the tokens of everybody that count, in the order of people and age.
    pub(crate) fn tokens(&self) -> Vec<Arc<Token>> {
        let now = self.time();
        let mut all = self.tokens.list();
        all.retain(|token| token.is_live(now));
        all.sort_by_key(|token| (Arc::clone(&token.user), token.created, token.id));
        all
    }

    /// Makes a token for the person of a confirmed session; the text is told this once.
    ///
    /// # Errors
    /// [`TokenError`]; there is no such token then.
    pub(in crate::identity) async fn make_token(
        &self,
        session: &Session,
        new: &NewToken<'_>,
        from: &Context<'_>,
    ) -> Result<(Arc<Token>, Zeroizing<String>), TokenError> {
        if !session.is_confirmed(from.now) {
            return Err(TokenError::NotConfirmed);
        }
        if !is_name(new.name) {
            return Err(TokenError::BadName);
        }
        let _one = self.tokens.making.lock().await;
        self.has_place(&session.user, new.name)?;
        let key = self.tokens.keys.first().ok_or(TokenError::Ended)?;
        let secret = Zeroizing::new(ids::random::<32>());
        let now = self.steady.at(from.now);
        let row = TokenRow {
            id: TokenId::draw(),
            user: session.user.to_string(),
            app: new.app.to_owned(),
            name: new.name.to_owned(),
            hash: hash(key, &secret),
            created: now,
            expires: now.saturating_add(seconds(new.life)),
            used: None,
        };
        let token = Arc::new(Token::of(&row, &self.steady));
        let mut record = changed(&token, "ok", reason::TOKEN_MADE);
        record.session = Some(session.id);
        self.recorder.durable(from.stamp(record)).await?;
        let tag = row.hash;
        self.store.put_token(row).await?;
        self.tokens.table.write().insert(Arc::clone(&token), tag);
        if !session.is_live(from.now) {
            self.end_tokens(|t| t.id == token.id, reason::REVOKED)
                .await?;
            return Err(TokenError::Ended);
        }
        Ok((token, text_of(&secret)))
    }

    fn has_place(&self, user: &str, name: &str) -> Result<(), TokenError> {
        let mut own = self.tokens();
        own.retain(|token| *token.user == *user);
        if own.iter().any(|token| *token.name == *name) {
            return Err(TokenError::NameTaken);
        }
        match own.len() < PER_USER {
            true => Ok(()),
            false => Err(TokenError::TooMany(PER_USER)),
        }
    }

    /// Ends the tokens for which `is` is true, and tells which.
    ///
    /// # Errors
    /// [`StoreError`]: they are over, but a restart before the next sweep might bring them back.
    pub(crate) async fn end_tokens(
        &self,
        is: impl Fn(&Token) -> bool + Send,
        why: &'static str,
    ) -> Result<Vec<Arc<Token>>, StoreError> {
        let gone = self.tokens.table.write().take(is);
        if gone.is_empty() {
            return Ok(gone);
        }
        for token in &gone {
            self.tell(SessionChange::TokenEnded(token.id));
        }
        let ids = gone.iter().map(|token| token.id);
        self.tokens.unwritten.lock().extend(ids);
        let written = self.write_token_ends().await;
        for token in &gone {
            // revocation goes on when the journal is broken
            report(self.recorder.durable(changed(token, "ok", why)).await);
        }
        written.map(|()| gone)
    }

    /// Ends the tokens whose time is over, and writes what may lag.
    pub(super) async fn sweep_tokens(&self, now: i64) {
        let over = |token: &Token| !token.is_live(now);
        let ended = self.end_tokens(over, reason::TOKEN_EXPIRED).await;
        report(ended.map(drop));
        report(self.write_token_uses().await);
        report(self.write_token_ends().await);
    }

    async fn write_token_ends(&self) -> Result<(), StoreError> {
        let ids = self.tokens.unwritten.lock().clone();
        if ids.is_empty() {
            return Ok(());
        }
        self.store.drop_tokens(ids.clone()).await?;
        self.tokens.unwritten.lock().retain(|id| !ids.contains(id));
        Ok(())
    }

    async fn write_token_uses(&self) -> Result<(), StoreError> {
        let all = self.tokens.list().into_iter();
        let stale: Vec<_> = all
            .filter_map(|token| Some((token.used()?, token)))
            .filter(|(used, token)| {
                let kept = token.kept.load(Ordering::Acquire);
                used.at.saturating_sub(kept) >= TOUCH_SECS
            })
            .collect();
        if stale.is_empty() {
            return Ok(());
        }
        let rows = stale.iter().map(|(used, token)| (token.id, *used));
        self.store.touch_tokens(rows.collect()).await?;
        for (used, token) in stale {
            token.kept.store(used.at, Ordering::Release);
        }
        Ok(())
    }
}

/// Starts the record of what became of a token.
fn changed(token: &Token, outcome: &'static str, why: &'static str) -> Record {
    let mut record = Record::new(Event::TokenChanged, outcome, why);
    record.user = Some(Arc::clone(&token.user));
    record.detail = Some(format!(
        "token {} of {} for {}",
        token.id, token.name, token.app
    ));
    record
}

fn hash(key: &[u8; 32], secret: &[u8; 32]) -> Hash {
    secrets::hmac(key, &[b"token", secret])
}

/// Writes a token: prefix, secret and checksum, all in one word of lower-case letters and digits.
fn text_of(secret: &[u8; 32]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE32_NOPAD.encode(secret).to_lowercase());
    Zeroizing::new(format!("{TOKEN_PREFIX}{}{}", *body, sum_of(&body)))
}

/// Reads the secret of a text that can be a token.
fn secret_of(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let (body, sum) = text
        .strip_prefix(TOKEN_PREFIX)?
        .split_at_checked(SECRET_CHARS)?;
    let plain = body
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !plain || sum.len() != SUM_CHARS || sum_of(body) != sum {
        return None;
    }
    let upper = Zeroizing::new(body.to_uppercase());
    let bytes = Zeroizing::new(BASE32_NOPAD.decode(upper.as_bytes()).ok()?);
    let secret: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(Zeroizing::new(secret))
}

/// The checksum of a secret: it keeps typing errors and lookalikes apart from tokens, and guards nothing.
fn sum_of(body: &str) -> String {
    let digest = Sha256::digest(format!("{TOKEN_PREFIX}{body}"));
    let four: Vec<u8> = digest.iter().take(4).copied().collect();
    BASE32_NOPAD.encode(&four).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{SECRET_CHARS, secret_of, text_of};

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_near_it_is() {
        let text = text_of(&[7; 32]);
        assert_eq!(text.len(), 63);
        assert_eq!(*secret_of(&text).unwrap(), [7; 32]);
        let other = text_of(&[8; 32]);
        let mixed = format!(
            "{}{}",
            text.get(..4 + SECRET_CHARS).unwrap(),
            other.get(4 + SECRET_CHARS..).unwrap()
        );
        for bad in [
            mixed,
            text.to_uppercase(),
            format!("{}a", *text),
            text.replace("ptk_", "ptk-"),
            text.get(..62).unwrap().to_owned(),
            String::new(),
            "ptk_".to_owned(),
            format!("ptk_{}", "é".repeat(30)),
        ] {
            assert!(secret_of(&bad).is_none(), "{bad}");
        }
    }
}
