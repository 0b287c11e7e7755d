//! Whose authenticator app shows another time, for those who help: kept until a code is right.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::Identity;
use crate::store::{ClockRow, Store, StoreError};

/// People whose app is off, with by how much and since when; no more than there are people.
#[derive(Debug, Default)]
pub(super) struct Clocks(Mutex<BTreeMap<String, ClockRow>>);

impl Clocks {
    /// Takes up what was kept.
    pub(super) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let rows = store.app_clocks().await?.into_iter();
        let all = rows.map(|row| (row.user.clone(), row)).collect();
        Ok(Self(Mutex::new(all)))
    }

    fn put(&self, row: &ClockRow) {
        self.0.lock().insert(row.user.clone(), row.clone());
    }

    fn take(&self, user: &str) -> Option<ClockRow> {
        self.0.lock().remove(user)
    }
}

impl Identity {
    /// Lists whose authenticator app shows another time, by name; positive seconds are ahead.
    pub(crate) fn app_clocks(&self) -> Vec<ClockRow> {
        self.clocks.0.lock().values().cloned().collect()
    }

    /// Tells by how much the authenticator app of a person is off; `None` if that is not known.
    pub(crate) fn app_clock(&self, user: &str) -> Option<ClockRow> {
        self.clocks.0.lock().get(user).cloned()
    }

    /// Keeps that the app of a person is off by so many seconds.
    pub(super) async fn keep_clock(&self, user: &str, off: i64, at: i64) {
        let row = ClockRow {
            user: user.to_owned(),
            off,
            at,
        };
        self.clocks.put(&row);
        if let Err(error) = self.store.put_app_clock(row).await {
            tracing::error!(%error, "the clock of an app is not on disk");
        }
    }

    /// Forgets it, for a code was right.
    pub(super) async fn forget_clock(&self, user: &str) {
        if self.clocks.take(user).is_none() {
            return;
        }
        if let Err(error) = self.store.drop_app_clock(user).await {
            tracing::error!(%error, "the clock of an app is still on disk");
        }
    }
}
