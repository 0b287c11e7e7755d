use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::{DNSClass, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::Act;
use super::{judge, put_name, send, sign, update};
use crate::config::Dns;
use crate::config::tests::Folder;

#[test]
fn an_update_adds_one_record_or_takes_it_away() {
    let name = "_acme-challenge.a.example.org";
    for (act, class) in [(Act::Present, DNSClass::IN), (Act::Cleanup, DNSClass::NONE)] {
        let bytes = update(7, "example.org", act, name, "value").unwrap();
        let read = Message::from_vec(&bytes).unwrap();
        assert_eq!(read.metadata.op_code, OpCode::Update);
        assert_eq!(read.queries[0].name.to_string(), "example.org.");
        assert_eq!(read.queries[0].query_type, RecordType::SOA);
        let record = &read.authorities[0];
        assert_eq!(record.name.to_string(), format!("{name}."));
        assert_eq!(record.dns_class, class);
        assert_eq!(record.record_type(), RecordType::TXT);
    }
    let long = "x".repeat(256);
    assert!(update(7, "example.org", Act::Present, name, &long).is_none());
    assert!(update(7, "a..b", Act::Present, name, "v").is_none());
}

#[test]
fn a_signature_covers_the_message_and_stands_last() {
    let bytes = update(
        7,
        "example.org",
        Act::Present,
        "_acme-challenge.example.org",
        "v",
    )
    .unwrap();
    let signed = sign(bytes.clone(), "Key.Example", &[1; 32], 1_790_000_000).unwrap();
    assert_eq!(signed[..10], bytes[..10]);
    assert_eq!(signed[10..12], [0, 1]);
    assert_eq!(signed[12..bytes.len()], bytes[12..]);
    let other = sign(bytes, "Key.Example", &[2; 32], 1_790_000_000).unwrap();
    assert_ne!(signed, other, "another key signs otherwise");
    // worked out apart from this code, with Python's hmac over RFC 8945 section 4.3.3
    let mac = "0b4f03c7cb7b65e97e10b71277ec9d4308565026ed4d317ff15a46b8c8df8ef0";
    let mac = data_encoding::HEXLOWER.decode(mac.as_bytes()).unwrap();
    assert!(signed.windows(32).any(|w| w == mac));
    let mut owner = Vec::new();
    put_name(&mut owner, "key.example").unwrap();
    assert!(signed.windows(owner.len()).any(|w| w == owner));
}

#[test]
fn an_answer_is_read_and_one_to_another_question_is_not() {
    let server = "192.0.2.1:53".parse().unwrap();
    let answer = |id: u16, code: u8| [&id.to_be_bytes()[..], &[0xa8, code]].concat();
    assert!(judge(server, 7, &answer(7, 0)).is_ok());
    assert!(judge(server, 7, &answer(8, 0)).is_err());
    assert!(judge(server, 7, &answer(7, 9)).unwrap_err().contains("key"));
    assert!(
        judge(server, 7, &answer(7, 5))
            .unwrap_err()
            .contains("refuses")
    );
    assert!(judge(server, 7, &[0, 7]).is_err());
}

#[tokio::test]
async fn an_update_goes_to_its_server_and_only_for_names_in_the_zone() {
    let folder = Folder::new();
    folder.write("key", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n");
    let file = folder.path().join("key");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let dns = Dns {
        server: Some(server),
        zone: Some("example.org".to_owned()),
        key_name: Some("k".to_owned()),
        key_file: Some(file),
        ..Dns::default()
    };
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut message = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut message).await.unwrap();
        let answer = [&message[..2], &[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        stream.write_u16(12).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    let name = "_acme-challenge.a.example.org";
    send(&dns, server, Act::Present, name, "v").await.unwrap();
    served.await.unwrap();
    let outside = send(&dns, server, Act::Present, "_acme-challenge.b.test", "v").await;
    assert!(outside.unwrap_err().contains("zone"));
}
