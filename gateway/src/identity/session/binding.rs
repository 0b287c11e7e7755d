//! What is known of a device since its person opened it, and when they must prove themselves again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use policy::Reprove;

use super::{Session, SessionChange, SessionError, Sessions, TOUCH_SECS};
use crate::audit::reason;
use crate::identity::steady::Steady;
use crate::ids::{DeviceId, Door, SessionId};
use crate::limits::Source;
use crate::store::{BindingRow, Point, StoreError};

/// Why a device that was opened is closed until its person gives another proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It is heard from another address than the proof was given at.
    Moved,
    /// The last code of its person is too old.
    Age,
    /// It lay unused for too long.
    Idle,
}

impl Due {
    /// The reason code of records.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Moved => reason::DEVICE_MOVED,
            Self::Age => reason::DEVICE_PROOF_OLD,
            Self::Idle => reason::DEVICE_IDLE,
        }
    }

    /// Reads a reason code of records.
    pub(crate) fn of(reason: &str) -> Option<Self> {
        let all = [Self::Moved, Self::Age, Self::Idle];
        all.into_iter().find(|due| due.reason() == reason)
    }

    /// What an operator is told, and what helps.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Moved => "device moved: sign in again",
            Self::Age => "the last code is too old: sign in again",
            Self::Idle => "device was idle too long: sign in again",
        }
    }
}

/// One device that a session opened. Times are steady UNIX seconds.
#[derive(Debug)]
pub(crate) struct Binding {
    device: DeviceId,
    /// Where the device was heard from when the proof was given.
    place: Mutex<Option<IpAddr>>,
    used: AtomicI64,
    /// The longest time without use, in seconds.
    pause: AtomicI64,
    /// `used` as the store has it.
    kept: AtomicI64,
    steady: Arc<Steady>,
}

impl Binding {
    pub(super) fn new(row: &BindingRow, steady: Arc<Steady>) -> Self {
        Self {
            device: row.device,
            place: Mutex::new(row.place),
            used: AtomicI64::new(row.used),
            pause: AtomicI64::new(row.pause),
            kept: AtomicI64::new(row.used),
            steady,
        }
    }

    /// Notes use of the device: a request through it, data of one of its flows.
    pub(crate) fn touch(&self, now: i64) {
        let now = self.steady.at(now);
        // the pause first: whoever sees the new use sees it too
        let pause = now.saturating_sub(self.used.load(Ordering::Acquire));
        self.pause.fetch_max(pause, Ordering::AcqRel);
        self.used.fetch_max(now, Ordering::AcqRel);
    }

    /// Says whether a proof is due, for a device heard last from `heard`.
    pub(crate) fn due(
        &self,
        session: &Session,
        heard: Option<IpAddr>,
        reprove: &Reprove,
        now: i64,
    ) -> Option<Due> {
        if reprove.moved && heard.is_some_and(|heard| self.is_elsewhere(session, heard)) {
            return Some(Due::Moved);
        }
        let old = |most: u32| session.mfa_age(now) > Duration::from_secs(most.into());
        if reprove.after.is_some_and(old) {
            return Some(Due::Age);
        }
        let idle = |most: u32| self.longest_pause(now) > i64::from(most);
        reprove.idle.is_some_and(idle).then_some(Due::Idle)
    }

    /// Tells whether an address is another than that of the proof: another IPv4 address, or one
    /// outside the /64. The port may change. Who signed in at the web door proved the address
    /// they signed in from as well.
    fn is_elsewhere(&self, session: &Session, heard: IpAddr) -> bool {
        let heard = Source::of(heard);
        let proved = self.place.lock().map(Source::of) == Some(heard);
        let by_web = session.door == Door::Web && Source::of(session.source) == heard;
        !proved && !by_web
    }

    fn longest_pause(&self, now: i64) -> i64 {
        let since = self.steady.at(now) - self.used.load(Ordering::Acquire);
        since.max(self.pause.load(Ordering::Acquire))
    }

    fn row(&self) -> BindingRow {
        BindingRow {
            device: self.device,
            place: *self.place.lock(),
            used: self.used.load(Ordering::Acquire),
            pause: self.pause.load(Ordering::Acquire),
        }
    }
}

/// All devices that sessions opened; no more than there are devices.
#[derive(Debug, Default)]
pub(super) struct Bindings(RwLock<HashMap<DeviceId, Arc<Binding>>>);

impl Bindings {
    pub(super) fn put(&self, binding: Binding) {
        let device = binding.device;
        self.0.write().insert(device, Arc::new(binding));
    }

    pub(super) fn get(&self, device: DeviceId) -> Option<Arc<Binding>> {
        self.0.read().get(&device).map(Arc::clone)
    }

    /// Sets where a device was heard from, once its person proved that it is theirs there too.
    pub(super) fn accept(&self, device: DeviceId, place: IpAddr) -> Option<BindingRow> {
        let binding = self.get(device)?;
        *binding.place.lock() = Some(place);
        Some(binding.row())
    }

    /// Lists what the store does not know yet.
    pub(super) fn stale(&self) -> Vec<BindingRow> {
        let all = self.0.read();
        let lags = |b: &&Arc<Binding>| {
            b.used.load(Ordering::Acquire) - b.kept.load(Ordering::Acquire) >= TOUCH_SECS
        };
        all.values().filter(lags).map(|b| b.row()).collect()
    }

    pub(super) fn kept(&self, rows: &[BindingRow]) {
        for row in rows {
            if let Some(binding) = self.get(row.device) {
                binding.kept.fetch_max(row.used, Ordering::AcqRel);
            }
        }
    }
}

impl Sessions {
    /// Says that a live session opens a device, which is heard from `place`; an earlier session of
    /// it no longer does.
    ///
    /// # Errors
    /// [`SessionError`]; nothing changed.
    pub(crate) async fn bind_device(
        &self,
        session: &Session,
        device: DeviceId,
        place: Option<IpAddr>,
    ) -> Result<(), SessionError> {
        if !session.is_live(i64::MIN) {
            return Err(SessionError::Ended);
        }
        let row = BindingRow {
            device,
            place,
            used: self.time(),
            pause: 0,
        };
        self.store.bind(session.id, row).await?;
        if !self.tables.write().bind(session.id, device) {
            return Err(SessionError::Ended);
        }
        let steady = Arc::clone(&self.steady);
        self.bindings.put(Binding::new(&row, steady));
        self.tell(SessionChange::DeviceBound(device));
        Ok(())
    }

    /// Closes a device until somebody signs in for it; says whether it was not closed so before.
    ///
    /// # Errors
    /// [`StoreError`]: it is closed, but a restart might open it.
    pub(crate) async fn dispute_device(&self, device: DeviceId) -> Result<bool, StoreError> {
        let news = self.tables.write().dispute(device);
        self.tell(SessionChange::DeviceReleased(device));
        self.store.release_device(device).await?;
        Ok(news)
    }

    /// Takes back [`Sessions::dispute_device`]; the device stays closed until somebody signs in for it, or the policy
    /// needs nobody to.
    pub(crate) fn settle_device(&self, device: DeviceId) {
        self.tables.write().settle(device);
        self.tell(SessionChange::DeviceReleased(device));
    }

    /// Says whether a device is closed by [`Sessions::dispute_device`].
    pub(crate) fn is_disputed(&self, device: DeviceId) -> bool {
        self.tables.read().is_disputed(device)
    }

    /// Finds what is known of a device since it was last opened.
    pub(crate) fn binding(&self, device: DeviceId) -> Option<Arc<Binding>> {
        self.bindings.get(device)
    }

    /// Lists the keys that browsers gave for their sessions.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub(crate) async fn browser_keys(&self) -> Result<Vec<(SessionId, Point)>, StoreError> {
        self.store.browser_keys().await
    }

    /// Keeps the key of a session's browser; says whether the session still is there.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was kept.
    pub(crate) async fn keep_browser_key(
        &self,
        id: SessionId,
        key: Point,
    ) -> Result<bool, StoreError> {
        self.store.put_browser_key(id, key).await
    }

    /// Says that a device which its session opened is its person's at `place` too.
    ///
    /// # Errors
    /// [`StoreError`]: it holds, until a restart.
    pub(crate) async fn accept_place(
        &self,
        device: DeviceId,
        place: IpAddr,
    ) -> Result<(), StoreError> {
        let Some(row) = self.bindings.accept(device, place) else {
            return Ok(());
        };
        self.tell(SessionChange::DeviceBound(device));
        self.store.touch_bindings(vec![row]).await
    }

    pub(super) async fn write_bindings(&self) -> Result<(), StoreError> {
        let rows = self.bindings.stale();
        if !rows.is_empty() {
            self.store.touch_bindings(rows.clone()).await?;
            self.bindings.kept(&rows);
        }
        Ok(())
    }
}
