//! The end of sessions: by act, by time, by being too many.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;

use super::{EndReason, Session, SessionChange, Sessions, report};
use crate::audit::{Event, Record};
use crate::ids::SessionId;
use crate::store::StoreError;

/// Records of ends that wait for the journal together.
const RECORDS_AT_ONCE: usize = 64;

impl Sessions {
    /// Ends a session; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`]: it is over, but a restart before the next sweep might bring it back.
    pub(crate) async fn end(&self, id: SessionId, why: EndReason) -> Result<bool, StoreError> {
        let gone = self.tables.write().remove(id);
        let ended = gone.is_some();
        if let Some(session) = gone
            .as_ref()
            .filter(|_| why == EndReason::SignedOutElsewhere)
        {
            self.forget_browsers(Some(&session.user), why).await;
        }
        self.finish(gone.into_iter().collect(), why).await?;
        Ok(ended)
    }

    /// Ends every sign-in of a user that is under way; their sessions stay.
    ///
    /// # Errors
    /// As [`Sessions::end`].
    pub(crate) async fn end_sign_ins(&self, user: &str) -> Result<(), StoreError> {
        self.tables.write().next_epoch(user);
        self.store.drop_tickets(Some(user)).await
    }

    /// Ends all sessions of a user but one, and every sign-in of theirs that is under way.
    ///
    /// # Errors
    /// As [`Sessions::end`].
    pub(crate) async fn end_others(
        &self,
        user: &str,
        keep: SessionId,
        why: EndReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let gone = self.tables.write().remove_others(user, keep);
        let ids = gone.iter().map(|session| session.id).collect();
        self.forget_browsers(Some(user), why).await;
        let tokens = self.end_tokens(|t| *t.user == *user, why.reason()).await;
        let tickets = self.store.drop_tickets(Some(user)).await;
        self.finish(gone, why).await.and(tickets)?;
        drop(tokens?);
        Ok(ids)
    }

    /// Ends all sessions of a user, and every sign-in of theirs that is under way.
    ///
    /// # Errors
    /// As [`Sessions::end`].
    pub(crate) async fn end_user(
        &self,
        user: &str,
        why: EndReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        let gone = self.tables.write().remove_user(user);
        let ids = gone.iter().map(|session| session.id).collect();
        self.forget_browsers(Some(user), why).await;
        let tokens = self.end_tokens(|t| *t.user == *user, why.reason()).await;
        let tickets = self.store.drop_tickets(Some(user)).await;
        self.finish(gone, why).await.and(tickets)?;
        drop(tokens?);
        Ok(ids)
    }

    /// Ends all sessions, and every sign-in that is under way.
    ///
    /// # Errors
    /// As [`Sessions::end`].
    pub(crate) async fn end_all(&self, why: EndReason) -> Result<Vec<SessionId>, StoreError> {
        let gone = self.tables.write().remove_all();
        let ids = gone.iter().map(|session| session.id).collect();
        self.forget_browsers(None, why).await;
        let tokens = self.end_tokens(|_| true, why.reason()).await;
        let tickets = self.store.drop_tickets(None).await;
        self.finish(gone, why).await.and(tickets)?;
        drop(tokens?);
        Ok(ids)
    }

    /// Ends the sessions whose time is over and returns them; call it each second. Writes the
    /// times of last use, and ends that could not be written before.
    pub(crate) async fn expired(&self, now: i64) -> Vec<Arc<Session>> {
        let time = self.steady.at(now);
        let mut gone = Vec::new();
        for why in [EndReason::Idle, EndReason::Expired] {
            let over: Vec<_> = self
                .list()
                .into_iter()
                .filter(|s| !s.is_live(now) && s.why_over(time) == why)
                .filter_map(|s| self.tables.write().retire(s.id, time))
                .collect();
            gone.extend(over.iter().map(Arc::clone));
            report(self.finish(over, why).await);
        }
        self.replace_bound().await;
        report(self.write_uses().await);
        report(self.write_bindings().await);
        report(self.write_ends().await);
        self.forget_the_rest().await;
        self.sweep_tokens(now).await;
        gone
    }

    /// Ends the oldest sessions beyond what configuration, policy and the rules that let the
    /// person in allow.
    pub(super) async fn replace_oldest(&self, user: &str) {
        let all = self.of_user(user);
        let bound = all.iter().map(|session| session.most()).min();
        let bound = bound.and_then(|most| usize::try_from(most).ok());
        let most = bound.map_or(1, |most| most.min(self.lifetimes.most()));
        for session in all.iter().take(all.len().saturating_sub(most)) {
            report(self.end(session.id, EndReason::Replaced).await.map(drop));
        }
    }

    /// Takes what the policy in force says of everybody's sessions, at once.
    pub(crate) async fn tighten(&self, idle: Option<Duration>, most: Option<u32>) {
        self.lifetimes.tighten(idle, most);
        let all = self.list();
        let users: BTreeSet<&str> = all.iter().map(|session| &*session.user).collect();
        for user in users {
            self.replace_oldest(user).await;
        }
    }

    /// Ends the oldest sessions of those whom a rule bound since the last sweep.
    async fn replace_bound(&self) {
        let all = self.list();
        let bound = all.iter().filter(|s| s.bound.load(Ordering::Acquire));
        let users: BTreeSet<&str> = bound.map(|session| &*session.user).collect();
        for user in users {
            self.replace_oldest(user).await;
        }
    }

    /// Tells, writes and records the end of sessions that have left the tables.
    async fn finish(&self, gone: Vec<Arc<Session>>, why: EndReason) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        for session in &gone {
            self.tell(SessionChange::Ended(session.id));
            for device in session.devices() {
                self.tell(SessionChange::DeviceReleased(device));
            }
        }
        self.unwritten.lock().extend(gone.iter().map(|s| s.id));
        let written = self.write_ends().await;
        futures_util::stream::iter(&gone)
            .for_each_concurrent(RECORDS_AT_ONCE, |session| async move {
                // Revocation goes on when the journal is broken.
                report(self.recorder.durable(ended(session, why)).await);
            })
            .await;
        written
    }

    pub(super) async fn write_ends(&self) -> Result<(), StoreError> {
        let ids = self.unwritten.lock().clone();
        if ids.is_empty() {
            return Ok(());
        }
        self.store.end_sessions(ids.clone()).await?;
        self.unwritten.lock().retain(|id| !ids.contains(id));
        Ok(())
    }
}

fn ended(session: &Session, why: EndReason) -> Record {
    let by_person = matches!(why, EndReason::SignedOut | EndReason::SignedOutElsewhere);
    let event = if by_person {
        Event::SignedOut
    } else {
        Event::SessionEnded
    };
    let mut record = Record::new(event, "ok", why.reason());
    record.user = Some(Arc::clone(&session.user));
    record.session = Some(session.id);
    record.source = Some(session.source);
    record
}
