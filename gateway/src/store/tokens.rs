//! What is kept of tokens for apps; of the secrets themselves only a keyed hash.

use std::net::IpAddr;

use async_trait::async_trait;
use rusqlite::params;

use super::sqlite::Sqlite;
use super::{Hash, StoreError};
use crate::ids::TokenId;

/// A token of a person for one app; times are steady UNIX seconds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenRow {
    pub(crate) id: TokenId,
    pub(crate) user: String,
    /// Such as `app.git`.
    pub(crate) app: String,
    /// The device it was made for, in its person's words.
    pub(crate) name: String,
    /// HMAC-SHA-256 of the secret.
    pub(crate) hash: Hash,
    pub(crate) created: i64,
    pub(crate) expires: i64,
    pub(crate) used: Option<UsedRow>,
}

/// When and from where a token was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsedRow {
    pub(crate) at: i64,
    pub(crate) place: IpAddr,
}

impl std::fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRow")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

/// What is kept of tokens. Each call that returned `Ok` survives a crash.
#[async_trait]
pub(crate) trait TokenStore: Send + Sync {
    /// Lists all tokens.
    async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError>;
    /// Keeps a new token.
    async fn put_token(&self, row: TokenRow) -> Result<(), StoreError>;
    /// Notes how tokens were used.
    async fn touch_tokens(&self, used: Vec<(TokenId, UsedRow)>) -> Result<(), StoreError>;
    /// Removes tokens for ever.
    async fn drop_tokens(&self, ids: Vec<TokenId>) -> Result<(), StoreError>;
}

#[async_trait]
impl TokenStore for Sqlite {
    async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.run(|db| {
            let mut all = db.prepare_cached(
                "SELECT id, user, app, name, hash, created, expires, used, place FROM tokens
                 ORDER BY id",
            )?;
            let rows = all.query_map([], |row| {
                let id: i64 = row.get(0)?;
                let (at, place): (Option<i64>, Option<String>) = (row.get(7)?, row.get(8)?);
                let place = place.and_then(|place| place.parse().ok());
                Ok(TokenRow {
                    id: TokenId(id.cast_unsigned()),
                    user: row.get(1)?,
                    app: row.get(2)?,
                    name: row.get(3)?,
                    hash: row.get(4)?,
                    created: row.get(5)?,
                    expires: row.get(6)?,
                    used: at.zip(place).map(|(at, place)| UsedRow { at, place }),
                })
            })?;
            // one that cannot be read is left out, so it opens nothing
            Ok(rows.filter_map(Result::ok).collect())
        })
        .await
    }

    async fn put_token(&self, row: TokenRow) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO tokens (id, user, app, name, hash, created, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                row.id.0.cast_signed(),
                row.user,
                row.app,
                row.name,
                row.hash.as_slice(),
                row.created,
                row.expires
            ])
            .map(drop)
        })
        .await
    }

    async fn touch_tokens(&self, used: Vec<(TokenId, UsedRow)>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let mut touch =
                tx.prepare_cached("UPDATE tokens SET used = ?2, place = ?3 WHERE id = ?1")?;
            used.iter().try_for_each(|(id, row)| {
                touch
                    .execute(params![id.0.cast_signed(), row.at, row.place.to_string()])
                    .map(drop)
            })
        })
        .await
    }

    async fn drop_tokens(&self, ids: Vec<TokenId>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let mut end = tx.prepare_cached("DELETE FROM tokens WHERE id = ?1")?;
            ids.iter()
                .try_for_each(|id| end.execute([id.0.cast_signed()]).map(drop))
        })
        .await
    }
}
