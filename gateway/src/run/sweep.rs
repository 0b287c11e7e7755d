//! The rounds: what is due is decided again each quarter second, what has run out ends each second.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::SessionChange;

const ROUND: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const JUMP_MS: u64 = 5_000;

/// Runs the rounds until the gateway ends.
pub(crate) async fn run(gw: Arc<Gateway>) {
    let mut changes = gw.sessions.subscribe();
    let mut round = tokio::time::interval(ROUND);
    let mut second = tokio::time::interval(SECOND);
    let mut minute = tokio::time::interval(MINUTE);
    let mut watch = ClockWatch::new();
    loop {
        tokio::select! {
            _ = round.tick() => {
                gw.streams.ask_again(Some(clock::now()));
            }
            _ = second.tick() => {
                tick(&gw).await;
                watch.look(&gw);
            }
            _ = minute.tick() => gw.limits.sweep(clock::now()),
            change = changes.recv() => match change {
                Ok(SessionChange::Ended(id)) => {
                    gw.streams.kill_session(id);
                }
                Ok(_) => {}
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                    gw.streams.ask_again(None);
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

async fn tick(gw: &Arc<Gateway>) {
    for session in gw.identity.sweep(clock::unix()).await {
        gw.streams.kill_session(session.id);
    }
    let certs = Arc::clone(&gw.snapshot.load().certs);
    if certs.is_due(clock::unix()) {
        drop(crate::reload::reload(gw).await);
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
        }
        *self = Self { wall_ms, at };
    }
}
