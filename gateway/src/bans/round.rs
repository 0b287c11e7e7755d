//! The rounds of the bans: what is over ends, what changed is written, strangers are cut.

use std::sync::Arc;
use std::time::Duration;

use super::Bans;
use super::book::Notice;
use crate::audit::{Event, Record, reason};
use crate::gateway::Gateway;
use crate::store::{BanRow, StoreError};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs the rounds until the gateway ends.
pub(crate) async fn run(gw: Arc<Gateway>) {
    let mut second = tokio::time::interval(SECOND);
    let mut minute = tokio::time::interval(MINUTE);
    loop {
        tokio::select! {
            _ = second.tick() => {
                gw.bans.sweep();
                gw.bans.cut();
            }
            _ = minute.tick() => {
                gw.bans.forget();
                gw.bans.gather(&gw);
                // what it finds counts from the next time that somebody is judged
                let gw = Arc::clone(&gw);
                tokio::spawn(async move { gw.upstreams.look_up().await });
            }
            () = gw.bans.wake.notified() => {}
        }
        if let Err(error) = gw.bans.write(|record| gw.record_or_owe(record)).await {
            tracing::error!(%error, "bans hold, and could not be written yet");
        }
    }
}

impl Bans {
    fn sweep(&self) {
        self.book.write().sweep(self.now());
    }

    fn forget(&self) {
        self.book.write().forget(self.now());
    }

    /// Cuts the open connections of strangers from banned sources.
    pub(crate) fn cut(&self) {
        if self.book.read().count() > 0 {
            self.guests.cut(|source| self.holds(source));
        }
    }

    /// Writes what changed, to the journal first.
    ///
    /// # Errors
    /// [`StoreError`]; the next round tries again.
    pub(crate) async fn write<F: Future<Output = ()>>(
        &self,
        tell: impl Fn(Record) -> F,
    ) -> Result<(), StoreError> {
        let _one = self.writing.lock().await;
        let changes = self.book.write().take_changes();
        for notice in &changes.notices {
            tell(record(notice)).await;
        }
        if changes.rows.is_empty() && changes.gone.is_empty() {
            return Ok(());
        }
        let written = self
            .store
            .put_bans(changes.rows.clone(), changes.gone.clone());
        let written = written.await;
        if written.is_err() {
            self.book.write().put_back(&changes);
        }
        written
    }
}

/// Makes the record of what happened to a ban.
fn record(notice: &Notice) -> Record {
    match notice {
        Notice::Banned(row) => {
            let mut record = Record::new(Event::Banned, "ok", known(&row.reason));
            record.source = Some(row.network.addr());
            record.detail = Some(described(row));
            record
        }
        Notice::Unbanned(row, why) => {
            let mut record = Record::new(Event::Unbanned, "ok", why);
            record.source = Some(row.network.addr());
            record.detail = Some(row.network.to_string());
            record
        }
    }
}

fn described(row: &BanRow) -> String {
    let length = match row.until {
        Some(until) => format!("for {} s", until.saturating_sub(row.since)),
        None => "until it is lifted".to_owned(),
    };
    let note = row.note.as_deref().map(|note| format!("; {note}"));
    format!("{} {length}{}", row.network, note.unwrap_or_default())
}

fn known(why: &str) -> &'static str {
    let known = [
        reason::MANY_FAILURES,
        reason::MANY_LIMITS,
        reason::MANY_PROBES,
        reason::MANY_SCANS,
    ];
    let known = known.into_iter().find(|code| *code == why);
    known.unwrap_or(reason::BY_OPERATOR)
}
