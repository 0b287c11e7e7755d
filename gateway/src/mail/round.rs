//! The round that sends what is due.

use std::sync::Arc;
use std::time::Duration;

use super::relay::SendError;
use super::{Mail, failed};
use crate::audit::{Audit, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::store::{MailRow, StoreError};

/// Mails taken at a time.
const BATCH: usize = 16;
/// The first wait after a try, in seconds; it doubles.
const FIRST_WAIT: i64 = 5;
/// The longest wait between two tries.
const LONGEST_WAIT: i64 = 15 * 60;
/// The longest sleep, in case the clock is set.
const SLEEP: Duration = Duration::from_secs(60);

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// It waits, and so does everything else: the server is away.
    Away,
}

/// Sends mails until the gateway ends.
pub(crate) async fn run(gw: Arc<Gateway>) {
    if !gw.mail.is_on() {
        return std::future::pending().await;
    }
    loop {
        let wait = match gw.mail.send_due(&gw.audit, clock::unix()).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(%error, "mails wait: the store gives no answer");
                SLEEP
            }
        };
        tokio::select! {
            () = gw.mail.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Mail {
    /// Sends what is due at `now`; tells how long there is nothing to do.
    pub(super) async fn send_due(&self, audit: &Audit, now: i64) -> Result<Duration, StoreError> {
        for row in self.store.due_mails(now, BATCH).await? {
            if self.deliver(&row, audit, now).await? == Outcome::Away {
                return Ok(Duration::from_secs(FIRST_WAIT.unsigned_abs()));
            }
        }
        let Some(next) = self.store.next_mail().await? else {
            return Ok(SLEEP);
        };
        let secs = u64::try_from(next.saturating_sub(now)).unwrap_or(0);
        Ok(Duration::from_secs(secs).min(SLEEP))
    }

    async fn deliver(&self, row: &MailRow, audit: &Audit, now: i64) -> Result<Outcome, StoreError> {
        let Some(relay) = &self.relay else {
            return Ok(Outcome::Away);
        };
        if now >= row.until {
            self.give_up(row, reason::MAIL_TOO_OLD, "", audit).await?;
            return Ok(Outcome::Done);
        }
        let Some(letter) = self.open(row) else {
            let said = "it does not open with this master key";
            self.give_up(row, reason::INTERNAL, said, audit).await?;
            return Ok(Outcome::Done);
        };
        match relay.send(&letter, row.made).await {
            Ok(()) => {
                self.store.drop_mail(row.id).await?;
                Ok(Outcome::Done)
            }
            Err(SendError::Never(said)) => {
                self.give_up(row, reason::MAIL_REFUSED, &said, audit)
                    .await?;
                Ok(Outcome::Done)
            }
            Err(SendError::NotNow(said)) => {
                tracing::warn!(said, "a mail is not taken at present; it is tried again");
                self.put_off(row, now).await?;
                Ok(Outcome::Done)
            }
            Err(SendError::Unreachable(said)) => {
                tracing::warn!(said, "the mail server is away; mails wait");
                self.put_off(row, now).await?;
                Ok(Outcome::Away)
            }
        }
    }

    async fn put_off(&self, row: &MailRow, now: i64) -> Result<(), StoreError> {
        let due = now.saturating_add(wait(row.tries));
        let tries = row.tries.saturating_add(1);
        self.store.put_off_mail(row.id, tries, due).await
    }

    /// Forgets a mail that cannot arrive any more, on record.
    async fn give_up(
        &self,
        row: &MailRow,
        why: &'static str,
        said: &str,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        tracing::error!(why, said, tries = row.tries, "a mail is given up");
        audit.note(failed(&row.user, why, said));
        self.store.drop_mail(row.id).await
    }
}

/// Seconds until the next try after `tries` earlier ones.
fn wait(tries: u32) -> i64 {
    let doubled = FIRST_WAIT
        .checked_shl(tries.min(16))
        .unwrap_or(LONGEST_WAIT);
    doubled.min(LONGEST_WAIT)
}

#[cfg(test)]
mod waits {
    use super::wait;

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let waits: Vec<i64> = (0..10).map(wait).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(wait(u32::MAX), 900);
    }
}
