use std::time::Duration;

use bytes::Bytes;
use http::Version;
use pingora_core::protocols::http::HttpTask;
use pingora_error::ErrorType;
use pingora_http::RequestHeader;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::{Asked, At, Limits, MOST, ROOM, is_word};
use crate::proxy::direct::judged::Judged;

const LIMITS: Limits = Limits {
    read: Some(Duration::from_secs(60)),
    write: Some(Duration::from_secs(60)),
};

/// What came of an answer.
#[derive(Debug, Default)]
struct Came {
    heads: Vec<u16>,
    body: Vec<u8>,
    parts: usize,
}

/// Sends a request and returns the exchange and its far end.
async fn ask(method: &str, upgrade: bool) -> (Asked, DuplexStream) {
    let (near, mut far) = duplex(1024 * 1024);
    let mut judged = Box::new(Judged::new(Box::new(near)));
    judged.expect(upgrade);
    let mut asked = Asked::new(judged, LIMITS);
    let mut head = RequestHeader::build(method, b"/a?b=c", None).unwrap();
    head.insert_header("host", "app.example").unwrap();
    asked.ask(&head).await.unwrap();
    let mut sent = [0; 1024];
    let length = far.read(&mut sent).await.unwrap();
    let sent = std::str::from_utf8(&sent[..length]).unwrap();
    assert!(sent.starts_with(&format!("{method} /a?b=c HTTP/1.1\r\n")));
    assert!(sent.ends_with("\r\n\r\n"), "{sent}");
    assert!(sent.to_ascii_lowercase().contains("host: app.example\r\n"));
    (asked, far)
}

/// Reads an answer to its end.
async fn read(asked: &mut Asked) -> Result<Came, ErrorType> {
    let mut came = Came::default();
    loop {
        let part = asked.next().await.map_err(|e| e.etype().clone())?;
        let end = part.is_end();
        match part {
            HttpTask::Header(head, _) => came.heads.push(head.status.as_u16()),
            HttpTask::Body(part, _) => {
                came.parts += 1;
                came.body.extend(part.unwrap_or_default());
            }
            other @ (HttpTask::UpgradedBody(..)
            | HttpTask::Trailer(_)
            | HttpTask::Done
            | HttpTask::Failed(_)) => panic!("{other:?}"),
        }
        if end {
            return Ok(came);
        }
    }
}

/// The status of each head, the body, and whether the connection is kept.
type Whole = (Vec<u16>, Vec<u8>, bool);

/// Has an answer come, whole and byte by byte.
async fn answered(method: &str, answer: &[u8], ends: bool) -> Result<Whole, ErrorType> {
    let mut results = Vec::new();
    for size in [answer.len().max(1), 1, 7] {
        let (mut asked, far) = ask(method, false).await;
        let write = async {
            let mut far = far;
            for part in answer.chunks(size) {
                far.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            (!ends).then_some(far)
        };
        let (_far, came) = tokio::join!(write, read(&mut asked));
        let (_, _, keeps) = asked.into_parts();
        results.push(came.map(|came| (came.heads, came.body, keeps)));
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
    results.swap_remove(0)
}

#[tokio::test]
async fn an_answer_is_read_however_its_bytes_come() {
    for (method, answer, ends, status, body, keeps) in [
        (
            "GET",
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            false,
            &[200][..],
            &b"hello"[..],
            true,
        ),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nX-A: b\r\n\r\n",
            false,
            &[200],
            b"hello",
            true,
        ),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            false,
            &[200],
            b"",
            true,
        ),
        // until the end of the connection, which is not kept then
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
            true,
            &[200],
            b"hello",
            false,
        ),
        (
            "GET",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            false,
            &[103, 404],
            b"",
            true,
        ),
        // no body, whatever the head says
        (
            "HEAD",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            false,
            &[200],
            b"",
            true,
        ),
        (
            "GET",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            false,
            &[304],
            b"",
            true,
        ),
        (
            "GET",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            false,
            &[204],
            b"",
            true,
        ),
        // its side closes
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nConnection: Foo, Close\r\nContent-Length: 2\r\n\r\nok",
            false,
            &[200],
            b"ok",
            false,
        ),
        (
            "GET",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            false,
            &[200],
            b"ok",
            false,
        ),
        (
            "GET",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            false,
            &[200],
            b"ok",
            true,
        ),
    ] {
        let shown = answer.escape_ascii();
        let (heads, came, kept) = answered(method, answer, ends).await.unwrap();
        assert_eq!(heads, status, "{shown}");
        assert_eq!(came, body, "{shown}");
        assert_eq!(kept, keeps, "{shown}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_none() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let ended = answered("GET", answer, true).await;
        assert_eq!(
            ended,
            Err(ErrorType::ConnectionClosed),
            "{}",
            answer.escape_ascii()
        );
    }
}

#[tokio::test]
async fn only_a_connection_that_ended_before_any_byte_is_asked_again() {
    for (answer, again) in [
        (&b""[..], true),
        (b"H", false),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", false),
    ] {
        let (mut asked, mut far) = ask("GET", false).await;
        far.write_all(answer).await.unwrap();
        drop(far);
        let mut error = loop {
            match asked.next().await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        error.retry.decide_reuse(true);
        assert_eq!(error.retry(), again, "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn the_head_of_an_answer_is_as_its_app_wrote_it() {
    let (mut asked, mut far) = ask("GET", false).await;
    far.write_all(
        b"HTTP/1.0 404 Not Here\r\nX-A: 1\r\nX-Empty:\r\nx-a:  2 \r\nX-High: \xe4\r\nContent-Length: 0\r\n\r\n",
    )
    .await
    .unwrap();
    let HttpTask::Header(head, true) = asked.next().await.unwrap() else {
        panic!("no head");
    };
    assert_eq!(head.version, Version::HTTP_10);
    assert_eq!(head.status, 404);
    assert_eq!(head.get_reason_phrase(), Some("Not Here"));
    let all: Vec<_> = head.headers.get_all("x-a").iter().collect();
    assert_eq!(all, ["1", "2"]);
    assert_eq!(head.headers["x-empty"], "");
    assert_eq!(head.headers["x-high"].as_bytes(), b"\xe4");
}

#[tokio::test]
async fn behind_an_upgrade_everything_is_left_to_its_two_sides() {
    let (mut asked, mut far) = ask("GET", true).await;
    far.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi")
        .await
        .unwrap();
    let HttpTask::Header(_, false) = asked.next().await.unwrap() else {
        panic!("no head");
    };
    assert!(asked.was_upgraded());
    assert!(
        asked.here().is_some_and(|part| part.is_err()),
        "nobody reads it as an answer"
    );
    let (_, early, keeps) = asked.into_parts();
    assert_eq!((&early[..], keeps), (&b"\x81\x02hi"[..], false));
    let (mut old, mut far) = ask("GET", true).await;
    far.write_all(b"HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    let refused = old.next().await.unwrap_err();
    assert_eq!(*refused.etype(), ErrorType::InvalidHTTPHeader);
    assert!(!old.was_upgraded());
    // its twin: an upgrade that the app declines is an answer like any
    let (mut asked, mut far) = ask("GET", true).await;
    far.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        .await
        .unwrap();
    let came = read(&mut asked).await.unwrap();
    assert_eq!((came.heads, came.body), (vec![403], b"no".to_vec()));
    assert!(asked.into_parts().2);
}

#[tokio::test]
async fn a_large_body_comes_in_few_parts_and_a_wait_for_it_can_be_given_up() {
    let (mut asked, mut far) = ask("GET", false).await;
    let size = 40 * MOST;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    far.write_all(head.as_bytes()).await.unwrap();
    assert!(matches!(asked.here(), Some(Ok(HttpTask::Header(_, false)))));
    assert!(asked.here().is_none());
    let body: Vec<u8> = (0..=255).cycle().take(size).collect();
    let write = far.write_all(&body);
    let (written, came) = tokio::join!(write, read(&mut asked));
    written.unwrap();
    let came = came.unwrap();
    assert!(came.body == body, "{} bytes", came.body.len());
    assert!(came.parts < 60, "{}", came.parts);
    assert!(asked.into_parts().2);
}

#[tokio::test]
async fn a_stream_that_waits_holds_little_whatever_it_had_before() {
    let (mut asked, mut far) = ask("GET", false).await;
    far.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    asked.next().await.unwrap();
    assert!(asked.here().is_none());
    assert!(asked.came.capacity() <= ROOM, "{}", asked.came.capacity());
    let size = 8 * MOST;
    let chunk = [
        format!("{size:x}\r\n").as_bytes(),
        &vec![b'a'; size],
        b"\r\n",
    ]
    .concat();
    let mut came = 0;
    let write = far.write_all(&chunk);
    let read = async {
        while came < size {
            let HttpTask::Body(Some(part), false) = asked.next().await.unwrap() else {
                panic!("no part");
            };
            came += part.len();
        }
    };
    let (written, ()) = tokio::join!(write, read);
    written.unwrap();
    assert!(asked.room > ROOM, "{}", asked.room);
    for _ in 0..20 {
        far.write_all(b"2\r\nhi\r\n").await.unwrap();
        asked.next().await.unwrap();
    }
    assert!(asked.here().is_none());
    assert_eq!(asked.room, ROOM);
    assert!(
        asked.came.capacity() <= 2 * ROOM,
        "{}",
        asked.came.capacity()
    );
}

#[tokio::test]
async fn small_parts_that_wait_for_a_slow_client_hold_no_large_buffers() {
    for head in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 600\r\n",
        "",
    ] {
        let (mut asked, mut far) = ask("GET", false).await;
        let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        far.write_all(head.as_bytes()).await.unwrap();
        asked.next().await.unwrap();
        let body = if matches!(asked.at, At::Chunks(_)) {
            &b"3\r\nabc\r\n"[..]
        } else {
            b"abc"
        };
        let mut kept = Vec::new();
        for _ in 0..100 {
            far.write_all(body).await.unwrap();
            let HttpTask::Body(Some(part), false) = asked.next().await.unwrap() else {
                panic!("no part");
            };
            assert_eq!(part, "abc");
            kept.push(part);
        }
        assert!(kept.iter().all(Bytes::is_unique), "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_silent_for_too_long_is_given_up() {
    let (mut asked, mut far) = ask("GET", false).await;
    let silent = asked.next().await.unwrap_err();
    assert_eq!(*silent.etype(), ErrorType::ReadTimedout);
    assert!(!silent.retry());
    // its twin: late, but not too late
    let (mut asked, mut other) = ask("GET", false).await;
    let late = async {
        tokio::time::sleep(Duration::from_secs(59)).await;
        other
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
    };
    let ((), came) = tokio::join!(late, read(&mut asked));
    assert_eq!(came.unwrap().heads, [204]);
    far.shutdown().await.unwrap();
}

#[test]
fn a_target_of_two_words_is_not_sent() {
    for target in [
        &b"/a HTTP/1.1\r\nX: y"[..],
        b"/a b",
        b"/a\tb",
        b"/a\0",
        b"/\n",
    ] {
        assert!(!is_word(target), "{}", target.escape_ascii());
        let target = RequestHeader::build("GET", target, None);
        assert!(target.is_err(), "the library makes none either");
    }
    for target in [&b"/"[..], b"/a%20b?c=d", b"*", b"/\xc3\xa4"] {
        assert!(is_word(target), "{}", target.escape_ascii());
    }
}
