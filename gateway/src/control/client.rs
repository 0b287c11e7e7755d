//! The command line's side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::import::{DevicesImported, Import};
use super::{
    Answer, AppClock, Apply, Code, Confirmed, DeviceAdded, DeviceClass, DeviceLine, Ended,
    Imported, Invitation, MailSent, NewDevice, Operator, Refusal, Reloaded, Request, Rollback,
    SessionLine, Status, TokenLine, TokensEnded, UserAct, Verdict, Which, ban, cert, purge,
};
use crate::doctor::Diagnosis;
use crate::reload::history::Entry;

/// What connecting says where no gateway listens.
const NOBODY: [io::ErrorKind; 2] = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
/// The longest answer in bytes.
const ANSWER_MAX: u64 = 64 << 20;
/// How long an effect may take to be in force.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A running gateway, asked through its control socket.
#[derive(Debug)]
pub(crate) struct Remote {
    socket: PathBuf,
}

impl Remote {
    /// Finds the gateway behind a socket; `None` if none listens there.
    ///
    /// # Errors
    /// [`Code::Permission`] if the socket is not ours to open, [`Code::Unavailable`] for other refusals.
    pub(crate) async fn find(socket: &Path) -> Result<Option<Self>, Refusal> {
        match UnixStream::connect(socket).await {
            Ok(_) => Ok(Some(Self {
                socket: socket.to_owned(),
            })),
            Err(e) if NOBODY.contains(&e.kind()) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                let text = format!("may not open {}: {e}", socket.display());
                Err(Refusal::new(Code::Permission, text))
            }
            Err(e) => Err(unreachable(&e)),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Refusal> {
        let line = timeout(ANSWER_DEADLINE, self.exchange(request))
            .await
            .map_err(|_| Refusal::new(Code::Unavailable, "the gateway does not answer"))?
            .map_err(|e| unreachable(&e))?;
        let bad = |e| {
            Refusal::new(
                Code::Internal,
                format!("the gateway answered nonsense: {e}"),
            )
        };
        match serde_json::from_slice(&line).map_err(bad)? {
            Answer::Done(done) => Ok(done),
            Answer::Refused(refusal) => Err(refusal),
        }
    }

    async fn exchange(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn unreachable(error: &io::Error) -> Refusal {
    Refusal::new(
        Code::Unavailable,
        format!("cannot reach the gateway: {error}"),
    )
}

#[async_trait]
impl Operator for Remote {
    async fn status(&self) -> Result<Status, Refusal> {
        self.ask(&Request::Status).await
    }
    async fn reload(&self) -> Result<Reloaded, Refusal> {
        self.ask(&Request::Reload).await
    }
    async fn user_changed(&self, user: &str, act: UserAct) -> Result<Reloaded, Refusal> {
        let user = user.to_owned();
        self.ask(&Request::UserChanged { user, act }).await
    }
    async fn user_enrolled(&self) -> Result<Vec<String>, Refusal> {
        self.ask(&Request::UserEnrolled).await
    }
    async fn user_clocks(&self) -> Result<Vec<AppClock>, Refusal> {
        self.ask(&Request::UserClocks).await
    }
    async fn user_invite(&self, user: &str) -> Result<Invitation, Refusal> {
        let user = user.to_owned();
        self.ask(&Request::UserInvite { user }).await
    }
    async fn user_forget(&self, user: &str) -> Result<Ended, Refusal> {
        let user = user.to_owned();
        self.ask(&Request::UserForget { user }).await
    }
    async fn user_reset(&self, user: &str) -> Result<Ended, Refusal> {
        let user = user.to_owned();
        self.ask(&Request::UserReset { user }).await
    }
    /// The gateway sees by itself who asks.
    async fn audit_read(&self, _uid: u32, what: &str) -> Result<(), Refusal> {
        let what = what.to_owned();
        self.ask(&Request::AuditRead { what }).await
    }
    async fn user_reset_totp(&self, user: &str, why: &str) -> Result<Invitation, Refusal> {
        let (user, why) = (user.to_owned(), why.to_owned());
        self.ask(&Request::UserResetTotp { user, why }).await
    }
    async fn user_import(&self, people: &[Imported]) -> Result<Vec<String>, Refusal> {
        let people = people.to_vec();
        self.ask(&Request::UserImport { people }).await
    }
    async fn session_list(&self) -> Result<Vec<SessionLine>, Refusal> {
        self.ask(&Request::SessionList).await
    }
    async fn session_revoke(&self, which: &Which) -> Result<Ended, Refusal> {
        let which = which.clone();
        self.ask(&Request::SessionRevoke { which }).await
    }
    async fn token_list(&self) -> Result<Vec<TokenLine>, Refusal> {
        self.ask(&Request::TokenList).await
    }
    async fn token_revoke(&self, which: &Which) -> Result<TokensEnded, Refusal> {
        let which = which.clone();
        self.ask(&Request::TokenRevoke { which }).await
    }
    async fn device_list(&self) -> Result<Vec<DeviceLine>, Refusal> {
        self.ask(&Request::DeviceList).await
    }
    async fn device_add(&self, new: &NewDevice) -> Result<DeviceAdded, Refusal> {
        let new = new.clone();
        self.ask(&Request::DeviceAdd { new }).await
    }
    async fn device_revoke(&self, id: &str) -> Result<DeviceLine, Refusal> {
        let id = id.to_owned();
        self.ask(&Request::DeviceRevoke { id }).await
    }
    async fn device_doctor(&self, which: &str) -> Result<Diagnosis, Refusal> {
        let which = which.to_owned();
        self.ask(&Request::DeviceDoctor { which }).await
    }
    async fn device_import(&self, import: &Import) -> Result<DevicesImported, Refusal> {
        let import = import.clone();
        self.ask(&Request::DeviceImport { import }).await
    }
    async fn device_rotate_psk(&self, id: &str) -> Result<DeviceAdded, Refusal> {
        let id = id.to_owned();
        self.ask(&Request::DeviceRotatePsk { id }).await
    }
    async fn device_clear(&self, id: &str) -> Result<DeviceLine, Refusal> {
        let id = id.to_owned();
        self.ask(&Request::DeviceClear { id }).await
    }
    async fn cache_purge(&self, ask: &purge::Ask, _uid: u32) -> Result<purge::Purged, Refusal> {
        let ask = ask.clone();
        self.ask(&Request::CachePurge { ask }).await
    }
    async fn ban(&self, ask: &ban::Ask) -> Result<Vec<ban::Line>, Refusal> {
        let ask = ask.clone();
        self.ask(&Request::Ban { ask }).await
    }
    async fn certs(&self, ask: &cert::Ask) -> Result<cert::Told, Refusal> {
        let what = ask.clone();
        self.ask(&Request::Certs { what }).await
    }
    async fn device_mark(&self, id: &str, class: DeviceClass) -> Result<DeviceLine, Refusal> {
        let id = id.to_owned();
        self.ask(&Request::DeviceMark { id, class }).await
    }
    async fn policy_apply(&self, apply: &Apply) -> Result<Verdict, Refusal> {
        let apply = apply.clone();
        self.ask(&Request::PolicyApply { apply }).await
    }
    async fn policy_rollback(&self, rollback: &Rollback) -> Result<Verdict, Refusal> {
        let rollback = rollback.clone();
        self.ask(&Request::PolicyRollback { rollback }).await
    }
    async fn policy_confirm(&self) -> Result<Confirmed, Refusal> {
        self.ask(&Request::PolicyConfirm).await
    }
    async fn mail_test(&self, to: &str) -> Result<MailSent, Refusal> {
        let to = to.to_owned();
        self.ask(&Request::MailTest { to }).await
    }
    async fn policy_history(&self) -> Result<Vec<Entry>, Refusal> {
        self.ask(&Request::PolicyHistory).await
    }
}
