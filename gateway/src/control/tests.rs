use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{
    Apply, AuditStatus, Code, DeviceAdded, DeviceClass, DeviceLine, Ended, Invitation, NewDevice,
    Operator, PolicyStatus, Refusal, Reloaded, Remote, SessionLine, Status, TunnelStatus, UserAct,
    Which, bind, serve,
};
use crate::config::tests::Folder;

/// An operator with one session and no devices.
struct Small;

fn none<T>() -> Result<T, Refusal> {
    Err(Refusal::new(Code::Data, "no such thing"))
}

#[async_trait]
impl Operator for Small {
    async fn status(&self) -> Result<Status, Refusal> {
        Ok(status())
    }
    async fn reload(&self) -> Result<Reloaded, Refusal> {
        Err(Refusal::new(Code::Config, "policy.toml:1:1: no\nsecond"))
    }
    async fn user_changed(&self, _: &str, _: UserAct) -> Result<Reloaded, Refusal> {
        none()
    }
    async fn user_enrolled(&self) -> Result<Vec<String>, Refusal> {
        Ok(vec!["ann".to_owned()])
    }
    async fn user_invite(&self, user: &str) -> Result<Invitation, Refusal> {
        let (user, link) = (user.to_owned(), "https://g/enrol/x".to_owned());
        Ok(Invitation { user, link })
    }
    async fn user_forget(&self, _: &str) -> Result<Ended, Refusal> {
        none()
    }
    async fn session_list(&self) -> Result<Vec<SessionLine>, Refusal> {
        Ok(Vec::new())
    }
    async fn session_revoke(&self, which: &Which) -> Result<Ended, Refusal> {
        match which {
            Which::All => Ok(Ended::default()),
            Which::Id(_) | Which::User(_) => none(),
        }
    }
    async fn device_list(&self) -> Result<Vec<DeviceLine>, Refusal> {
        Ok(Vec::new())
    }
    async fn device_add(&self, _: &NewDevice) -> Result<DeviceAdded, Refusal> {
        none()
    }
    async fn device_revoke(&self, _: &str) -> Result<DeviceLine, Refusal> {
        none()
    }
    async fn device_mark(&self, _: &str, _: DeviceClass) -> Result<DeviceLine, Refusal> {
        none()
    }
}

fn status() -> Status {
    Status {
        version: "0".to_owned(),
        uptime_s: 1,
        policy: PolicyStatus {
            digest: "ab".to_owned(),
            generation: 1,
            loaded: "2026-01-01T00:00:00.000Z".to_owned(),
            error: None,
            cached: false,
            confirm_until: None,
        },
        listeners: Vec::new(),
        tunnel: TunnelStatus {
            state: "up".to_owned(),
            why: None,
            dropped: std::collections::BTreeMap::new(),
            refused: std::collections::BTreeMap::new(),
        },
        devices: Vec::new(),
        sessions: 0,
        audit: AuditStatus { seq: 0, ok: true },
        room: None,
        certificates: Vec::new(),
        upstreams: Vec::new(),
        loads: Vec::new(),
        app_clocks: Vec::new(),
    }
}

#[test]
fn the_status_has_the_agreed_shape() {
    let text = serde_json::to_string(&status()).unwrap();
    assert_eq!(
        text,
        r#"{"version":"0","uptime_s":1,"policy":{"digest":"ab","generation":1,"loaded":"2026-01-01T00:00:00.000Z","error":null},"listeners":[],"tunnel":{"state":"up","why":null},"devices":[],"sessions":0,"audit":{"seq":0,"ok":true}}"#
    );
}

#[tokio::test]
async fn an_answer_and_a_refusal_come_through_the_socket() {
    let folder = Folder::new();
    let socket = folder.path().join("control.sock");
    assert!(Remote::find(&socket).await.unwrap().is_none());
    let server = tokio::spawn(serve(bind(&socket).unwrap(), Arc::new(Small)));
    let remote = Remote::find(&socket).await.unwrap().unwrap();
    assert_eq!(remote.status().await.unwrap(), status());
    assert_eq!(remote.user_invite("ann").await.unwrap().user, "ann");
    assert!(remote.session_revoke(&Which::All).await.is_ok());
    let other = Which::User("bob".to_owned());
    assert_eq!(
        remote.session_revoke(&other).await.unwrap_err().code,
        Code::Data
    );
    let refusal = remote.reload().await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.lines().count()),
        (Code::Config, 2)
    );
    server.abort();
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_means_no_gateway() {
    let folder = Folder::new();
    let socket = folder.path().join("control.sock");
    drop(bind(&socket).unwrap());
    assert!(Remote::find(&socket).await.unwrap().is_none());
    let _listener = bind(&socket).unwrap();
    assert!(Remote::find(&socket).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_in_the_place_of_the_socket_is_left_alone() {
    let folder = Folder::new();
    folder.write("control.sock", "precious");
    assert!(bind(&folder.path().join("control.sock")).is_err());
}

#[tokio::test]
async fn long_and_broken_lines_are_refused() {
    let folder = Folder::new();
    let socket = folder.path().join("control.sock");
    let server = tokio::spawn(serve(bind(&socket).unwrap(), Arc::new(Small)));
    let long = vec![b'x'; 70_000];
    for (line, good) in [
        (&b"{\"request\":\"status\"}\n"[..], true),
        (b"{\"request\":\"open-sesame\"}\n", false),
        (b"nonsense\n", false),
        (long.as_slice(), false),
    ] {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        // the server may answer and close before the whole line is written
        stream.write_all(line).await.ok();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok();
        assert_eq!(answer.starts_with("{\"done\":"), good, "{answer}");
    }
    server.abort();
}

#[tokio::test]
async fn a_folder_of_a_mebibyte_fits_in_a_request() {
    let folder = Folder::new();
    let socket = folder.path().join("control.sock");
    let server = tokio::spawn(serve(bind(&socket).unwrap(), Arc::new(Small)));
    let remote = Remote::find(&socket).await.unwrap().unwrap();
    let files = serde_json::json!({ "policy.toml": "#".repeat(1 << 20) });
    let apply = Apply {
        files: serde_json::from_value(files).unwrap(),
        ..Apply::default()
    };
    let refusal = remote.policy_apply(&apply).await.unwrap_err();
    assert_eq!(refusal.code, Code::Unavailable, "{refusal}");
    server.abort();
}
