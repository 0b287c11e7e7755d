//! What a person is told of at the next visit: new places, used recovery codes, changed factors.

use std::net::IpAddr;
use std::sync::Arc;

use super::Identity;
use super::agent::browser;
use super::engine::Failed;
use super::lockout::Who;
use super::login::UserName;
use super::record::Context;
use super::session::Session;
use crate::audit::reason;
use crate::ids::SessionId;
use crate::secrets;
use crate::store::{Hash, NoticeRow, StoreError};

/// Characters of a detail that are kept.
const DETAIL_MAX: usize = 200;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    /// A sign-in from a network or with a browser that was never seen.
    NewPlace,
    /// A recovery code was used; the detail says how many are left.
    RecoveryUsed,
    /// Recovery codes were made anew.
    CodesRenewed,
    /// The password was changed.
    PasswordChanged,
    /// Another authenticator app was set up.
    TotpReplaced,
    /// An administrator took the second factor away; the detail says why.
    FactorReset,
    /// A code was given that had been used before.
    CodeReplayed,
    /// A tunnel device was registered; the detail is its name.
    DeviceAdded,
    /// A tunnel device was revoked; the detail is its name.
    DeviceRevoked,
    /// The key of a tunnel device was used in two places; the detail is the device's name.
    KeySeenTwice,
    /// There were wrong tries before this proof; the detail says how many.
    ManyFailures,
    /// A token for programs was made; the detail is its name and its app.
    TokenMade,
}

impl NoticeKind {
    const ALL: [Self; 12] = [
        Self::NewPlace,
        Self::RecoveryUsed,
        Self::CodesRenewed,
        Self::PasswordChanged,
        Self::TotpReplaced,
        Self::FactorReset,
        Self::CodeReplayed,
        Self::DeviceAdded,
        Self::DeviceRevoked,
        Self::KeySeenTwice,
        Self::ManyFailures,
        Self::TokenMade,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::NewPlace => "new-place",
            Self::RecoveryUsed => "recovery-used",
            Self::CodesRenewed => "codes-renewed",
            Self::PasswordChanged => "password-changed",
            Self::TotpReplaced => "totp-replaced",
            Self::FactorReset => "factor-reset",
            Self::CodeReplayed => "code-replayed",
            Self::DeviceAdded => "device-added",
            Self::DeviceRevoked => "device-revoked",
            Self::KeySeenTwice => "key-seen-twice",
            Self::ManyFailures => "many-failures",
            Self::TokenMade => "token-made",
        }
    }
}

/// One notice; the time is UNIX seconds.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) id: i64,
    pub(crate) kind: NoticeKind,
    pub(crate) at: i64,
    /// The session it is about.
    pub(crate) session: Option<SessionId>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) detail: String,
}

/// Whether a sign-in comes from where the user came from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Known,
    New,
}

impl Arrival {
    /// The reason code of the sign-in's record.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Known => reason::SIGNED_IN,
            Self::New => reason::NEW_PLACE,
        }
    }
}

impl Identity {
    /// Lists the notices of a user that were not dismissed, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store gives no answer.
    pub(crate) async fn notices(&self, user: &str) -> Result<Vec<Notice>, StoreError> {
        let rows = self.store.notices(user).await?;
        Ok(rows.into_iter().filter_map(notice).collect())
    }

    /// Forgets a notice a person has seen in the session `by`; says whether there was one of
    /// theirs. What is about that very session stays: a stranger who signed in must not be able
    /// to hide it.
    ///
    /// # Errors
    /// [`StoreError`] if the store gives no answer.
    pub(crate) async fn dismiss(
        &self,
        user: &str,
        id: i64,
        by: SessionId,
    ) -> Result<bool, StoreError> {
        self.store.drop_notice(user, id, by).await
    }

    /// Keeps a notice about this request. The act it is about stands without it, and is on record.
    pub(super) async fn tell(
        &self,
        user: &str,
        kind: NoticeKind,
        from: &Context<'_>,
        detail: &str,
    ) {
        let row = row(kind, from.now, Some(from.source), None, detail);
        self.put_notice(user, row).await;
    }

    /// As [`Identity::tell`], of an act by an administrator.
    pub(super) async fn tell_by_admin(&self, user: &str, kind: NoticeKind, now: i64, detail: &str) {
        self.put_notice(user, row(kind, now, None, None, detail))
            .await;
    }

    /// Compares where a sign-in comes from with where the user came from before.
    pub(super) async fn arrive(
        &self,
        user: &UserName,
        from: &Context<'_>,
    ) -> Result<Arrival, Failed> {
        let places = self.places(user, from);
        let now = self.steady(from.now);
        let visited = self.store.visited(user.as_str(), places, now).await?;
        let known = visited.first || visited.known.iter().all(|known| *known);
        Ok(if known { Arrival::Known } else { Arrival::New })
    }

    /// Tells a person of a sign-in from a new place.
    pub(super) async fn tell_place(
        &self,
        arrival: Arrival,
        session: &Arc<Session>,
        from: &Context<'_>,
    ) {
        if arrival == Arrival::New {
            let (id, source) = (Some(session.id), Some(from.source));
            let detail = browser(from.agent);
            let row = row(NoticeKind::NewPlace, from.now, source, id, &detail);
            self.put_notice(&session.user, row).await;
        }
    }

    /// Forgets the failures of an account after a whole proof; a series of them is told, since it
    /// may have been somebody else's.
    pub(super) async fn forgive(&self, user: &str, who: &Who, at: i64) {
        let now = self.steady(at);
        let failed = self.lockout.series(who, now);
        self.lockout.clear(who, now);
        self.keep_cleared().await;
        if let Some(count) = failed {
            let detail = count.to_string();
            let row = row(NoticeKind::ManyFailures, at, None, None, &detail);
            self.put_notice(user, row).await;
        }
    }

    async fn put_notice(&self, user: &str, row: NoticeRow) {
        if let (Some(post), Some(notice)) = (self.post.get(), notice(row.clone())) {
            post.notice(user, &notice).await;
        }
        if let Err(error) = self.store.put_notice(user, row).await {
            tracing::error!(%error, "a notice could not be kept");
        }
    }

    /// The network and the browser, or the tunnel device, as keyed hashes.
    fn places(&self, user: &UserName, from: &Context<'_>) -> Vec<Hash> {
        let key = self.keys.derive_lasting("places");
        let hash = |kind: &str, value: &str| {
            let parts = [kind, user.as_str(), value].map(str::as_bytes);
            let [kind, user, value] = parts;
            secrets::hmac(&key, &[kind, &[0xff], user, &[0xff], value])
        };
        let network = match from.device {
            Some(device) => hash("device", &device.to_string()),
            None => hash("network", &network(from.source)),
        };
        vec![network, hash("browser", &browser(from.agent))]
    }
}

fn row(
    kind: NoticeKind,
    at: i64,
    source: Option<IpAddr>,
    session: Option<SessionId>,
    detail: &str,
) -> NoticeRow {
    NoticeRow {
        id: 0,
        kind: kind.name().to_owned(),
        at,
        session,
        source,
        detail: detail.chars().take(DETAIL_MAX).collect(),
    }
}

/// Reads a kept notice; one of a kind this version does not know is left out.
fn notice(row: NoticeRow) -> Option<Notice> {
    let kind = NoticeKind::ALL.into_iter().find(|k| k.name() == row.kind)?;
    Some(Notice {
        id: row.id,
        kind,
        at: row.at,
        session: row.session,
        source: row.source,
        detail: row.detail,
    })
}

/// What counts as one network: the /24 of an IPv4 address, the /48 of an IPv6 address.
fn network(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}
