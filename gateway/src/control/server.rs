//! The gateway's side of the control socket.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Answer, Code, Operator, Refusal, Request};
use crate::reload::history::By;

/// The longest request line in bytes: a policy folder fits in one.
const LINE_MAX: usize = 64 << 20;
/// How long a caller may pause while it sends its line.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// How long a caller may take to send its line.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// How long a caller may take to receive its answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// Callers served at once; others wait in the socket's queue.
const CALLERS: usize = 16;

/// Binds the socket with mode 0600; what an ended process left is replaced. The caller holds the state folder.
///
/// # Errors
/// If something else than a socket stands there, or the system refuses.
pub(crate) fn bind(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(socket) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(socket)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves callers for ever; drop the future to stop.
pub(crate) async fn serve(listener: UnixListener, operator: Arc<dyn Operator>) {
    let places = Arc::new(Semaphore::new(CALLERS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let operator = Arc::clone(&operator);
                tokio::spawn(async move {
                    if let Err(error) = caller(stream, &*operator).await {
                        tracing::debug!(%error, "control caller gone");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn caller(stream: UnixStream, operator: &dyn Operator) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (read, mut write) = stream.into_split();
    let answer = if uid == rustix::process::geteuid().as_raw() || uid == 0 {
        match request(BufReader::new(read)).await {
            Ok(request) => {
                let own = operator.acting_for(who(uid).await);
                dispatch(own.as_deref().unwrap_or(operator), request, uid).await
            }
            Err(refusal) => line(Err::<(), _>(refusal)),
        }
    } else {
        let refusal = Refusal::new(Code::Permission, format!("user {uid} may not ask"));
        line(Err::<(), _>(refusal))
    };
    timeout(WRITE_DEADLINE, write.write_all(&answer)).await??;
    timeout(WRITE_DEADLINE, write.shutdown()).await?
}

/// Names the local user at the other end.
async fn who(uid: u32) -> By {
    let found = tokio::task::spawn_blocking(move || {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
        Some(user.ok()??.name)
    });
    By {
        uid: Some(uid),
        name: found.await.unwrap_or_default(),
        person: None,
    }
}

async fn request<R: tokio::io::AsyncRead + Unpin>(read: BufReader<R>) -> Result<Request, Refusal> {
    let bad = |text: String| Refusal::new(Code::Usage, text);
    let text = timeout(READ_DEADLINE, request_line(read))
        .await
        .map_err(|_| bad("no request within 30 seconds".to_owned()))??;
    serde_json::from_slice(&text).map_err(|e| bad(format!("not a request: {e}")))
}

async fn request_line<R: tokio::io::AsyncRead + Unpin>(
    mut read: BufReader<R>,
) -> Result<Vec<u8>, Refusal> {
    let bad = |text: String| Refusal::new(Code::Usage, text);
    let mut text = Vec::new();
    loop {
        let part = timeout(READ_PAUSE, read.fill_buf())
            .await
            .map_err(|_| bad("no request within a second".to_owned()))?
            .map_err(|e| bad(e.to_string()))?;
        let end = part.iter().position(|b| *b == b'\n');
        let (taken, _) = part.split_at(end.unwrap_or(part.len()));
        text.extend_from_slice(taken);
        let length = taken.len();
        if end.is_some() {
            return Ok(text);
        }
        if length == 0 || text.len() > LINE_MAX {
            return Err(bad("a request is one line of at most 64 MiB".to_owned()));
        }
        read.consume(length);
    }
}

/// Does what a request asks and makes the answer line.
async fn dispatch(operator: &dyn Operator, request: Request, uid: u32) -> Vec<u8> {
    match request {
        Request::Status => line(operator.status().await),
        Request::Reload => line(operator.reload().await),
        Request::UserChanged { user, act } => line(operator.user_changed(&user, act).await),
        Request::UserEnrolled => line(operator.user_enrolled().await),
        Request::UserClocks => line(operator.user_clocks().await),
        Request::UserInvite { user } => line(operator.user_invite(&user).await),
        Request::UserForget { user } => line(operator.user_forget(&user).await),
        Request::UserReset { user } => line(operator.user_reset(&user).await),
        Request::AuditRead { what } => line(operator.audit_read(uid, &what).await),
        Request::UserResetTotp { user, why } => line(operator.user_reset_totp(&user, &why).await),
        Request::UserImport { people } => line(operator.user_import(&people).await),
        Request::SessionList => line(operator.session_list().await),
        Request::SessionRevoke { which } => line(operator.session_revoke(&which).await),
        Request::TokenList => line(operator.token_list().await),
        Request::TokenRevoke { which } => line(operator.token_revoke(&which).await),
        Request::DeviceList => line(operator.device_list().await),
        Request::DeviceAdd { new } => line(operator.device_add(&new).await),
        Request::DeviceRevoke { id } => line(operator.device_revoke(&id).await),
        Request::DeviceDoctor { which } => line(operator.device_doctor(&which).await),
        Request::DeviceImport { import } => line(operator.device_import(&import).await),
        Request::DeviceRotatePsk { id } => line(operator.device_rotate_psk(&id).await),
        Request::DeviceClear { id } => line(operator.device_clear(&id).await),
        Request::Ban { ask } => line(operator.ban(&ask).await),
        Request::CachePurge { ask } => line(operator.cache_purge(&ask, uid).await),
        Request::Certs { what } => line(operator.certs(&what).await),
        Request::DeviceMark { id, class } => line(operator.device_mark(&id, class).await),
        Request::PolicyApply { apply } => line(operator.policy_apply(&apply).await),
        Request::PolicyRollback { rollback } => line(operator.policy_rollback(&rollback).await),
        Request::PolicyConfirm => line(operator.policy_confirm().await),
        Request::MailTest { to } => line(operator.mail_test(&to).await),
        Request::PolicyHistory => line(operator.policy_history().await),
    }
}

fn line<T: Serialize>(outcome: Result<T, Refusal>) -> Vec<u8> {
    let answer = match outcome {
        Ok(done) => Answer::Done(done),
        Err(refusal) => Answer::Refused(refusal),
    };
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    text.push(b'\n');
    text
}
