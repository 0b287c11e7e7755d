use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::wire::Wire;
use super::{ClientStream, Collected, HeadRead, MAX_HEAD, ROOM, Transport};
use crate::ids::Door;
use crate::proxy::conn::{ConnCtx, ConnOrigin};
use crate::streams::KillSwitch;

/// What a transport was given, piece by piece, and how many bytes it takes for now.
#[derive(Default)]
struct Seen {
    pieces: Vec<Vec<u8>>,
    room: usize,
    flushes_refused: u32,
    flushed: u32,
    broken: bool,
}

struct Recorder(Arc<Mutex<Seen>>);

impl AsyncRead for Recorder {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut seen = self.0.lock();
        if seen.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(seen.room);
        if n == 0 {
            seen.room = usize::MAX;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        seen.room -= n;
        seen.pieces.push(buf[..n].to_vec());
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut seen = self.0.lock();
        if seen.flushes_refused > 0 {
            seen.flushes_refused -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        seen.flushed += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn stream(h2: bool, room: usize) -> (ClientStream, Arc<Mutex<Wire>>, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen {
        room,
        ..Seen::default()
    }));
    let (stream, wire) = over(Box::new(Recorder(Arc::clone(&seen))), h2);
    (stream, wire, seen)
}

fn over(io: Box<dyn Transport>, h2: bool) -> (ClientStream, Arc<Mutex<Wire>>) {
    let origin = ConnOrigin {
        door: Door::Web,
        peer: "192.0.2.1:1".parse().unwrap(),
        device: None,
        tls: true,
        proxied: false,
    };
    let ctx = ConnCtx::new(&origin, None, KillSwitch::new());
    let stream = ClientStream::new(io, ctx, h2);
    let wire = stream.wire();
    (stream, wire)
}

/// Never ends, like a request that waits for its upstream.
async fn wait_for_ever() {
    std::future::pending::<()>().await;
}

async fn turns() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn head_and_body_written_in_one_go_are_one_piece() {
    let (mut stream, wire, seen) = stream(false, usize::MAX);
    let work = Box::pin(async move {
        stream.write_all(b"head ").await.unwrap();
        stream.write_all(b"body").await.unwrap();
        stream.flush().await.unwrap();
    });
    Collected::new(work, wire).await;
    assert_eq!(seen.lock().pieces, [b"head body".to_vec()]);
}

#[tokio::test]
async fn what_was_written_goes_out_when_the_request_waits() {
    let (mut stream, wire, seen) = stream(false, usize::MAX);
    let work = Box::pin(async move {
        stream.write_all(b"event").await.unwrap();
        wait_for_ever().await;
    });
    let task = tokio::spawn(Collected::new(work, wire));
    turns().await;
    assert_eq!(seen.lock().pieces, [b"event".to_vec()]);
    assert_eq!(seen.lock().flushed, 1);
    task.abort();
}

#[tokio::test]
async fn what_a_full_transport_left_goes_out_later_and_in_order() {
    let (mut stream, wire, seen) = stream(false, 3);
    let work = Box::pin(async move {
        stream.write_all(b"one two").await.unwrap();
        wait_for_ever().await;
    });
    let task = tokio::spawn(Collected::new(work, wire));
    turns().await;
    assert_eq!(seen.lock().pieces.concat(), b"one two");
    task.abort();
}

#[tokio::test]
async fn a_transport_that_holds_records_back_is_asked_again() {
    let (mut stream, wire, seen) = stream(false, usize::MAX);
    seen.lock().flushes_refused = 3;
    let work = Box::pin(async move {
        stream.write_all(&[7; 40_000]).await.unwrap();
        wait_for_ever().await;
    });
    let task = tokio::spawn(Collected::new(work, wire));
    turns().await;
    assert_eq!(seen.lock().pieces.concat().len(), 40_000);
    assert_eq!(seen.lock().flushed, 1);
    task.abort();
}

#[tokio::test]
async fn large_writes_are_not_copied_and_keep_their_place() {
    let (mut stream, wire, seen) = stream(false, usize::MAX);
    let work = Box::pin(async move {
        stream.write_all(b"head").await.unwrap();
        stream.write_all(&[1; 100_000]).await.unwrap();
        stream.write_all(b"tail").await.unwrap();
        stream.flush().await.unwrap();
    });
    Collected::new(work, wire).await;
    let all = seen.lock().pieces.concat();
    assert!(all.starts_with(b"head\x01") && all.ends_with(b"\x01tail"));
    assert_eq!(all.len(), 100_008);
    assert!(seen.lock().pieces.len() <= 4);
}

#[tokio::test]
async fn a_failure_while_waiting_is_told_to_the_next_write() {
    let (mut stream, wire, seen) = stream(false, usize::MAX);
    seen.lock().broken = true;
    let work = Box::pin(async move {
        stream.write_all(b"held back").await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(b"more").await.unwrap_err().kind()
    });
    let told = Collected::new(work, wire).await;
    assert_eq!(told, io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn http2_writes_pass_at_once() {
    let (mut stream, _wire, seen) = stream(true, usize::MAX);
    stream.write_all(b"frame").await.unwrap();
    assert_eq!(seen.lock().pieces, [b"frame".to_vec()]);
}

#[tokio::test]
async fn what_comes_while_an_answer_is_on_its_way_waits_and_who_leaves_is_seen() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let (mut stream, ..) = over(Box::new(near), false);
    let mut byte = [0];
    stream.intake().is_whole();
    let mut looks = Box::pin(stream.read(&mut byte));
    assert!(looks.as_mut().now_or_never().is_none());
    far.write_all(b"GET /next HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(
        looks.as_mut().now_or_never().is_none(),
        "it is no byte of this request"
    );
    drop(looks);
    assert!(stream.park().await.unwrap(), "it is the next one");
    assert_eq!(stream.read_head(100).await.unwrap(), HeadRead::Whole(22));
    // a byte of a body is read as any other
    let (near, mut other) = tokio::io::duplex(1 << 16);
    let (mut stream, ..) = over(Box::new(near), false);
    other.write_all(b"xy").await.unwrap();
    assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
    assert_eq!(byte, *b"x");
    // and who leaves has left, behind what was sent ahead too
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let (mut stream, ..) = over(Box::new(near), false);
    stream.intake().is_whole();
    far.write_all(b"GET /next").await.unwrap();
    drop(far);
    assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
    // up to as much as a head may be
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (mut stream, ..) = over(Box::new(near), false);
    stream.intake().is_whole();
    far.write_all(&vec![b'x'; 1 << 17]).await.unwrap();
    assert!(stream.read(&mut byte).now_or_never().is_none());
    assert!((MAX_HEAD..MAX_HEAD + ROOM).contains(&stream.ahead.len()));
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut stream, ..) = over(Box::new(near), false);
    stream.intake().is_whole();
    drop(far);
    assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
}
