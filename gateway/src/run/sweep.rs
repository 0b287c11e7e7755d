//! The rounds: what is due is decided again each quarter second, what has run out ends each second.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{DeviceChange, SessionChange};
use crate::reload::confirm;

const ROUND: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const JUMP_MS: u64 = 5_000;

/// Runs the rounds until the gateway ends. A round that fails or panics is begun again.
pub(crate) async fn run(gw: Arc<Gateway>) {
    tokio::join!(
        keep("revocation", || revoke(Arc::clone(&gw))),
        keep("housekeeping", || keep_house(Arc::clone(&gw))),
        keep("bans", || crate::bans::run(Arc::clone(&gw))),
        keep("certificates", || renew(Arc::clone(&gw))),
        keep("orders", || crate::acme::run(Arc::clone(&gw))),
        keep("mail", || crate::mail::run(Arc::clone(&gw))),
        keep("confirmation", || confirm::watch(Arc::clone(&gw))),
    );
}

async fn keep<F, W>(name: &'static str, work: F)
where
    F: Fn() -> W,
    W: Future<Output = ()> + Send + 'static,
{
    loop {
        if tokio::spawn(work()).await.is_err() {
            tracing::error!(round = name, "a round broke and is begun again");
        }
        tokio::time::sleep(SECOND).await;
    }
}

/// Hears of ended sessions and closed devices, and asks again what is due; never waits for a disk.
async fn revoke(gw: Arc<Gateway>) {
    let mut changes = gw.sessions.subscribe();
    let mut devices = gw.devices.subscribe();
    let mut round = tokio::time::interval(ROUND);
    gw.cut_ended();
    loop {
        tokio::select! {
            _ = round.tick() => {
                gw.heartbeat.store(clock::unix(), Ordering::Relaxed);
                gw.streams.ask_due(clock::now());
            }
            change = changes.recv() => match change {
                Ok(SessionChange::Ended(id)) => {
                    gw.streams.kill_session(id);
                }
                Ok(SessionChange::TokenEnded(id)) => {
                    gw.streams.kill_token(id);
                }
                Ok(SessionChange::DeviceBound(id) | SessionChange::DeviceReleased(id)) => {
                    gw.streams.ask_device(id);
                }
                Err(RecvError::Lagged(_)) => {
                    gw.cut_ended();
                    gw.streams.ask_again();
                }
                Err(RecvError::Closed) => return,
            },
            change = devices.recv() => match change {
                Ok(DeviceChange::Revoked(id)) => {
                    gw.streams.kill_device(id);
                    gw.sync_tunnel().await;
                }
                Ok(DeviceChange::Added(_) | DeviceChange::Rekeyed(_)) => gw.sync_tunnel().await,
                Ok(DeviceChange::Marked(id)) => {
                    gw.streams.ask_device(id);
                }
                Err(RecvError::Lagged(_)) => {
                    gw.streams.ask_again();
                    gw.sync_tunnel().await;
                }
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Ends what has run out and writes what may lag.
async fn keep_house(gw: Arc<Gateway>) {
    let mut second = tokio::time::interval(SECOND);
    let mut minute = tokio::time::interval(MINUTE);
    let mut watch = ClockWatch::new();
    loop {
        tokio::select! {
            _ = second.tick() => {
                gw.identity.sweep(clock::unix()).await;
                gw.look_at_devices();
                gw.pay_owed().await;
                watch.look(&gw);
            }
            _ = minute.tick() => gw.limits.sweep(clock::now()),
        }
    }
}

/// Issues leaves of the internal authority anew when a third of their life is left, also when the
/// clock leapt there; what fails is tried again in ten minutes.
async fn renew(gw: Arc<Gateway>) {
    let mut look = tokio::time::interval(SECOND * 10);
    let mut hour = tokio::time::interval(MINUTE * 60);
    let mut rest = clock::now();
    loop {
        tokio::select! {
            _ = look.tick() => {
                let due = gw.snapshot.load().certs.is_due(clock::unix()) || gw.acme.trouble().is_some();
                if due && clock::now() >= rest {
                    let failed = crate::reload::renew_certificates(&gw, None).await.is_err();
                    // near the end of an authority what is new is due at once
                    rest = clock::now() + if failed { MINUTE * 10 } else { MINUTE };
                }
            }
            _ = hour.tick() => turn_statements(&gw).await,
        }
    }
}

/// Draws the next key of signed statements when it is time; what fails is tried again in an hour.
async fn turn_statements(gw: &Gateway) {
    match gw.signer.turn(clock::unix()) {
        Ok(false) => {}
        Ok(true) => {
            let record = Record::new(Event::KeyRotated, "ok", reason::STATEMENT_KEY);
            gw.record_or_owe(record).await;
        }
        Err(why) => tracing::error!(%why, "the next key of signed statements is not drawn"),
    }
}

/// Notices when wall time and monotonic time drift apart.
struct ClockWatch {
    wall_ms: u64,
    at: std::time::Instant,
}

impl ClockWatch {
    fn new() -> Self {
        Self {
            wall_ms: clock::unix_ms(),
            at: clock::now(),
        }
    }

    fn look(&mut self, gw: &Gateway) {
        let (wall_ms, at) = (clock::unix_ms(), clock::now());
        let passed = at.saturating_duration_since(self.at).as_millis();
        let expected = self
            .wall_ms
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        if wall_ms.abs_diff(expected) > JUMP_MS {
            let why = if wall_ms > expected {
                reason::CLOCK_FORWARD
            } else {
                reason::CLOCK_BACK
            };
            let mut record = Record::new(Event::ClockJumped, "ok", why);
            record.ms = Some(wall_ms.abs_diff(expected));
            gw.audit.note(record);
            gw.acme.look_soon();
        }
        *self = Self { wall_ms, at };
    }
}
