//! Devices of a stopped gateway: taken over from a server, and kept over a new master key.

use std::sync::Arc;

use data_encoding::BASE64;

use super::super::Stopped;
use super::{Site, settled};
use crate::control::import::{Import, KeyChoice, Mode, Planned, ServerKey};
use crate::control::{Code, Operator};
use crate::identity;
use crate::ids::DeviceId;
use crate::secrets::Keys;
use crate::{store, tunnel};

fn planned(number: u8, key: u8) -> Planned {
    Planned {
        place: format!("wg0.conf:{number}:1"),
        user: "ann".to_owned(),
        name: format!("phone {number}"),
        public_key: BASE64.encode(&[key; 32]),
        preshared_key: Some(BASE64.encode(&[7; 32])),
        address: std::net::Ipv4Addr::new(10, 200, 200, number),
        address6: None,
    }
}

fn import(mode: Mode, server: u8, devices: Vec<Planned>) -> Import {
    Import {
        mode,
        server_key: Some(BASE64.encode(&[server; 32])),
        choice: KeyChoice::Safe,
        devices,
    }
}

fn server_key(stopped: &Stopped) -> String {
    let key = tunnel::server_key(&stopped.config, &stopped.keys).unwrap();
    key.public_key().to_string()
}

#[tokio::test]
async fn a_server_is_taken_over_whole_or_not_at_all() {
    let site = Site::new();
    let stopped = Stopped::open(site.config()).await.unwrap();
    let own = server_key(&stopped);
    let twice = import(Mode::Commit, 3, vec![planned(5, 9), planned(6, 9)]);
    let refused = stopped.device_import(&twice).await.unwrap_err();
    assert_eq!(refused.code, Code::Data);
    let text = "wg0.conf:6:1: device d1 has this";
    assert!(refused.message.starts_with(text), "{refused}");
    let good = || vec![planned(5, 9), planned(6, 10)];
    let preview = import(Mode::Preview, 3, good());
    let seen = stopped.device_import(&preview).await.unwrap();
    assert_eq!(seen.devices.len(), 2);
    assert_eq!(stopped.device_list().await.unwrap(), []);
    assert_eq!(server_key(&stopped), own);

    let commit = import(Mode::Commit, 3, good());
    let done = stopped.device_import(&commit).await.unwrap();
    assert_eq!(done.server_key, ServerKey::Replaced);
    assert_eq!(done.devices, stopped.device_list().await.unwrap());
    let theirs = wg::PrivateKey::from_bytes([3; 32]).public_key().to_string();
    assert_eq!(server_key(&stopped), theirs);
    let psk = stopped.identity.devices().psk(DeviceId(2)).unwrap();
    assert_eq!(psk.as_deref(), Some(&[7; 32]));

    // those rely on that key by now
    let other = import(Mode::Commit, 4, vec![planned(8, 11)]);
    let refused = stopped.device_import(&other).await.unwrap_err();
    assert!(refused.message.contains("2 devices rely"), "{refused}");
    let same = import(Mode::Commit, 3, vec![planned(8, 11)]);
    let done = stopped.device_import(&same).await.unwrap();
    assert_eq!(done.server_key, ServerKey::Same);
    assert_eq!(server_key(&stopped), theirs);
}

#[tokio::test]
async fn a_cleared_device_has_no_mark_and_no_dispute_and_the_rest_of_it_stays() {
    let site = Site::new();
    let stopped = Stopped::open(site.config()).await.unwrap();
    let commit = import(Mode::Commit, 3, vec![planned(5, 9), planned(6, 10)]);
    stopped.device_import(&commit).await.unwrap();
    let (one, other) = (DeviceId(1), DeviceId(2));
    let (devices, sessions) = (stopped.identity.devices(), stopped.identity.sessions());
    let endpoint = "192.0.2.7:4000".parse().ok();
    for id in [one, other] {
        devices.heard(id, Some([7; 12]), endpoint);
        sessions.dispute_device(id).await.unwrap();
    }
    devices.flush().await.unwrap();
    let before = stopped.device_list().await.unwrap();
    let line = stopped.device_clear("d1").await.unwrap();
    assert_eq!(line, before[0], "what is seen of it stays");
    let mark = |id| devices.get(id).unwrap().mark;
    assert_eq!((mark(one), mark(other)), (None, Some([7; 12])));
    assert!(!sessions.is_disputed(one) && sessions.is_disputed(other));
    stopped.close().await;

    let stopped = Stopped::open(site.config()).await.unwrap();
    let kept = |id| stopped.identity.devices().get(id).unwrap();
    assert_eq!((kept(one).mark, kept(other).mark), (None, Some([7; 12])));
    assert_eq!(kept(one).endpoint, endpoint);
    stopped.device_revoke("d2").await.unwrap();
    for which in ["d2", "d9", "laptop"] {
        let refused = stopped.device_clear(which).await.unwrap_err();
        assert_eq!(refused.code, Code::Data, "{which}");
        assert!(refused.message.contains(which), "{refused}");
    }
}

#[tokio::test]
async fn preshared_keys_are_sealed_anew_under_a_new_master_key() {
    let site = Site::new();
    let (stopped, id) = settled(&site).await;
    let id: DeviceId = id.parse().unwrap();
    let psk = |stopped: &Stopped| stopped.identity.devices().psk(id).unwrap().unwrap();
    let before = psk(&stopped);
    stopped.close().await;
    let keys = Arc::new(Keys::rotate(&site.path("keys")).unwrap());
    let kept = store::open(&site.config().data).unwrap();
    let old = kept.devices().await.unwrap().remove(0).psk.unwrap();
    // the TOTP secret and the preshared key
    assert_eq!(identity::reseal(&*kept, &keys).await.unwrap(), 2);
    assert_ne!(kept.devices().await.unwrap().remove(0).psk.unwrap(), old);
    drop(kept);
    let stopped = Stopped::open(site.config()).await.unwrap();
    assert_eq!(psk(&stopped), before);
}
