//! What an administrator does to sessions, devices, bans and factors.

use std::sync::Arc;
use std::time::Duration;

use super::super::internal;
use super::Inner;
use crate::audit::{Durability, Event, Record, reason};
use crate::clock;
use crate::config::duration;
use crate::console::{Consent, Deed, NotDone, Outcome};
use crate::control::{Code, DeviceClass, Operator, Refusal, Which, ban, cert};
use crate::identity::Device;
use crate::ids::{DeviceId, SessionId};

fn data(text: impl Into<String>) -> Refusal {
    Refusal::new(Code::Data, text)
}

impl Inner {
    /// Does an act; it is on record before it is answered.
    pub(super) async fn carry_out(
        &self,
        deed: &Deed,
        consent: &Consent,
    ) -> Result<Outcome, NotDone> {
        let done = match deed {
            Deed::EndSession { session } => self.end_session(session).await,
            Deed::EndSessions { user } => self.end_sessions(user).await,
            Deed::RevokeDevice { device } => self.revoke_device(device).await,
            Deed::RevokeToken { token } => self.revoke_token(token).await,
            Deed::ClearDevice { device } => self.clear_device(device).await,
            Deed::MarkDevice { device, managed } => self.mark_device(device, *managed).await,
            Deed::Ban {
                network,
                time,
                note,
            } => self.ban(network, time, note).await,
            Deed::Unban { network } => self.unban(network).await,
            Deed::Unlock { user } => self.unlock(user).await,
            Deed::Invite { user } => self.invite(user).await,
            Deed::Reset { user, reason } => self.reset(user, reason).await,
            Deed::RenewCertificate { name } => self.renew_certificate(name).await,
            Deed::Edit(edit) => return self.apply(edit, consent).await,
        };
        Ok(done?)
    }

    /// Puts on record what gives something: without the record nothing is given.
    pub(super) async fn granted(&self, record: Record) -> Result<(), Refusal> {
        let written = self.gw.audit.write(record, Durability::Durable).await;
        written.map(drop).map_err(internal)
    }

    async fn end_session(&self, id: &str) -> Result<Outcome, Refusal> {
        let none = || data(format!("no session {}", id.escape_debug()));
        let found: SessionId = id.parse().map_err(|_| none())?;
        let found = self.gw.sessions.find_by_id(found).ok_or_else(none)?;
        let record = self.changed(&found.user, &format!("session {} ended", found.id));
        self.gw.record_or_owe(record).await;
        self.operator()
            .session_revoke(&Which::Id(id.to_owned()))
            .await?;
        Ok(Outcome::Done)
    }

    async fn end_sessions(&self, user: &str) -> Result<Outcome, Refusal> {
        self.known(user)?;
        let record = self.changed(user, "all sessions ended");
        self.gw.record_or_owe(record).await;
        self.operator()
            .session_revoke(&Which::User(user.to_owned()))
            .await?;
        Ok(Outcome::Done)
    }

    async fn revoke_device(&self, id: &str) -> Result<Outcome, Refusal> {
        let device = self.found(id)?;
        let record = self.changed(&device.user, &format!("device {} revoked", device.id));
        self.gw.record_or_owe(record).await;
        self.operator().device_revoke(id).await?;
        Ok(Outcome::Done)
    }

    async fn revoke_token(&self, id: &str) -> Result<Outcome, Refusal> {
        let mut all = self.gw.sessions.tokens().into_iter();
        let found = all.find(|token| token.id.to_string() == id);
        let found = found.ok_or_else(|| data(format!("no token {}", id.escape_debug())))?;
        let record = self.changed(&found.user, &format!("token {} revoked", found.id));
        self.gw.record_or_owe(record).await;
        self.operator()
            .token_revoke(&Which::Id(id.to_owned()))
            .await?;
        Ok(Outcome::Done)
    }

    async fn clear_device(&self, id: &str) -> Result<Outcome, Refusal> {
        let device = self.found(id)?;
        let what = format!("device {} cleared", device.id);
        self.granted(self.changed(&device.user, &what)).await?;
        self.operator().device_clear(id).await?;
        Ok(Outcome::Done)
    }

    async fn mark_device(&self, id: &str, managed: bool) -> Result<Outcome, Refusal> {
        let device = self.found(id)?;
        let class = match managed {
            true => DeviceClass::Managed,
            false => DeviceClass::Known,
        };
        let what = format!("device {} marked {}", device.id, class.name());
        self.granted(self.changed(&device.user, &what)).await?;
        self.operator().device_mark(id, class).await?;
        Ok(Outcome::Done)
    }

    async fn ban(&self, source: &str, time: &str, note: &str) -> Result<Outcome, Refusal> {
        let time = match time {
            "" => None,
            time => {
                Some(duration(time).map_err(|e| data(format!("{}: {e}", time.escape_debug())))?)
            }
        };
        self.bans(&ban::Ask::Add {
            network: ban::network(source).map_err(data)?,
            seconds: time.map(|time: Duration| time.as_secs()),
            note: Some(note.to_owned()).filter(|note| !note.is_empty()),
        })
        .await?;
        Ok(Outcome::Done)
    }

    async fn unban(&self, source: &str) -> Result<Outcome, Refusal> {
        let network = ban::network(source).map_err(data)?;
        self.bans(&ban::Ask::Remove { network }).await?;
        Ok(Outcome::Done)
    }

    pub(super) async fn bans(&self, ask: &ban::Ask) -> Result<Vec<ban::Line>, Refusal> {
        let gw = &self.gw;
        let trusted = gw.bans.gather(gw);
        let tell = |record: Record| gw.record_or_owe(self.stamp(record));
        gw.bans.act(ask, &trusted, tell).await
    }

    async fn unlock(&self, user: &str) -> Result<Outcome, Refusal> {
        self.known(user)?;
        self.granted(self.changed(user, "unlocked")).await?;
        let done = self.gw.identity.unlock(user, clock::unix()).await;
        done.map_err(internal)?;
        Ok(Outcome::Done)
    }

    pub(super) async fn invite(&self, user: &str) -> Result<Outcome, Refusal> {
        self.known(user)?;
        self.granted(self.changed(user, "enrolment link made"))
            .await?;
        let made = self.operator().user_invite(user).await?;
        Ok(Outcome::Link(made.link))
    }

    async fn reset(&self, user: &str, why: &str) -> Result<Outcome, Refusal> {
        self.known(user)?;
        self.granted(self.changed(user, "second factor taken away"))
            .await?;
        let made = self.operator().user_reset_totp(user, why).await?;
        Ok(Outcome::Link(made.link))
    }

    fn known(&self, user: &str) -> Result<(), Refusal> {
        let policy = &self.gw.snapshot.load().policy;
        match policy.user(user) {
            Some(_) => Ok(()),
            None => Err(data(format!(
                "no user {} in the policy in force",
                user.escape_debug()
            ))),
        }
    }

    async fn renew_certificate(&self, name: &str) -> Result<Outcome, Refusal> {
        let mut record = Record::new(Event::CertificateChanged, "ok", reason::BY_OPERATOR);
        record.detail = Some(format!("console: {} is to be renewed", name.escape_debug()));
        self.granted(self.stamp(record)).await?;
        let ask = cert::Ask::Renew {
            name: Some(name.to_owned()),
            force: true,
        };
        let told = self.operator().certs(&ask).await?;
        let done = told.renewed.into_iter().next();
        let done = done.ok_or_else(|| data("nothing was ordered"))?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match done.outcome.as_str() {
            // one that takes long goes on by itself
            "renewed" | "under-way" => Ok(Outcome::Done),
            "unknown" => Err(data(format!(
                "no certificate of a directory is called {}",
                name.escape_debug()
            ))),
            "guarded" => Err(data(format!(
                "the directories' limits forbid an order before {}",
                text(&done.course.next)
            ))),
            _ => Err(Refusal::new(
                Code::Unavailable,
                format!(
                    "{}: {}; {}; the old one stays, tried again at {}",
                    text(&done.course.cause),
                    text(&done.course.detail),
                    text(&done.course.advice),
                    text(&done.course.next)
                ),
            )),
        }
    }

    fn found(&self, id: &str) -> Result<Arc<Device>, Refusal> {
        let none = || data(format!("no device {}", id.escape_debug()));
        let id: DeviceId = id.parse().map_err(|_| none())?;
        self.gw.devices.get(id).ok_or_else(none)
    }
}
