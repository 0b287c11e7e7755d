//! What follows a 101: bytes both ways, until a side ends.

use std::future::{pending, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use pingora_core::protocols::http::HttpTask;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::asked::Asked;
use crate::proxy::app::RequestCtl;
use crate::proxy::pep::{Ctx, internal};

/// The most bytes that are read at once; one TLS record. Source: RFC 8446 section 5.1.
const CHUNK: usize = 16 * 1024;
/// How long a client may take nothing of what is there for it.
const STUCK: Duration = Duration::from_secs(30);

/// How one way ended.
#[derive(Debug)]
enum Broke {
    /// Where bytes come from failed.
    From(io::Error),
    /// Where bytes go to failed.
    To(io::Error),
    /// It took nothing for too long.
    Stuck,
}

/// Passes bytes both ways until a side ends; what it sent until then arrives.
///
/// # Errors
/// An app that broke off or takes nothing, a client that takes nothing, silence both ways for too long. A client that goes
/// away is an end like any.
pub(super) async fn pass(
    ctl: &RequestCtl,
    session: &mut Session,
    ctx: &mut Ctx,
    asked: Asked,
    peer: &HttpPeer,
) -> Result<()> {
    let Some(client) = ctl.far.clone() else {
        return Err(internal("no far end"));
    };
    // this is watched here, to the second
    ctl.answered();
    let lull = Lull::new();
    let limit = ctx.route.front.as_ref().map(|front| front.stream);
    let stuck = peer.options.write_timeout;
    let (judged, early, _) = asked.into_parts();
    let (mut of_app, mut to_app) = tokio::io::split(judged);
    let (mut of_client, mut to_client) = (client.clone(), client);
    let (mut up, mut down) = ctx.ways();
    let ended = {
        let note = |bytes: &[u8]| {
            lull.ends();
            up.came(bytes);
        };
        let up = pump(&mut of_client, &mut to_app, stuck, note);
        let down = async {
            if !early.is_empty() {
                down.came(early.len());
                give(&mut to_client, &early, Some(STUCK)).await?;
            }
            drop(early);
            let note = |bytes: &[u8]| {
                lull.ends();
                down.came(bytes.len());
            };
            pump(&mut of_app, &mut to_client, Some(STUCK), note).await
        };
        tokio::select! {
            () = lull.lasts(limit) => Side::Client.late(ErrorType::ReadTimedout, "nothing came"),
            ended = up => judge(ended, Side::Client, Side::App),
            ended = down => judge(ended, Side::App, Side::Client),
        }
    };
    ended?;
    let end = vec![HttpTask::UpgradedBody(None, true)];
    session.write_response_tasks(end).await.map(drop)
}

/// Who stands at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    App,
}

impl Side {
    /// A client that went away is an end like any; an app that did broke off.
    fn lost(self, kind: ErrorType, error: io::Error) -> Result<()> {
        match self {
            Self::Client => Ok(()),
            Self::App => Err(Error::because(kind, "after the upgrade", error).into_up()),
        }
    }

    fn late(self, kind: ErrorType, why: &'static str) -> Result<()> {
        let error = Error::explain(kind, why);
        Err(match self {
            Self::Client => error.into_down(),
            Self::App => error.into_up(),
        })
    }
}

/// Silence both ways.
struct Lull(AtomicBool);

impl Lull {
    /// In how many parts a limit is looked at.
    const PARTS: u32 = 4;

    fn new() -> Self {
        Self(AtomicBool::new(true))
    }

    /// Says that bytes came, whichever way.
    fn ends(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Waits until none came for at least so long, and at most a quarter longer.
    async fn lasts(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return pending().await;
        };
        let mut quiet = 0;
        while quiet < Self::PARTS {
            tokio::time::sleep(limit / Self::PARTS).await;
            quiet = if self.0.swap(true, Ordering::Relaxed) {
                quiet + 1
            } else {
                0
            };
        }
    }
}

/// Judges how the way from one side to the other ended.
fn judge(ended: std::result::Result<(), Broke>, from: Side, to: Side) -> Result<()> {
    match ended {
        Ok(()) => Ok(()),
        Err(Broke::From(error)) => from.lost(ErrorType::ReadError, error),
        Err(Broke::To(error)) => to.lost(ErrorType::WriteError, error),
        Err(Broke::Stuck) => to.late(ErrorType::WriteTimedout, "nothing was taken"),
    }
}

/// Passes bytes one way until their source ends.
async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    stuck: Option<Duration>,
    mut note: impl FnMut(&[u8]),
) -> std::result::Result<(), Broke> {
    loop {
        let bytes = read_some(from).await.map_err(Broke::From)?;
        if bytes.is_empty() {
            return Ok(());
        }
        note(&bytes);
        give(to, &bytes, stuck).await?;
    }
}

async fn give<W: AsyncWrite + Unpin>(
    to: &mut W,
    bytes: &[u8],
    stuck: Option<Duration>,
) -> std::result::Result<(), Broke> {
    let write = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    let written = within(stuck, write).await;
    written.ok_or(Broke::Stuck)?.map_err(Broke::To)
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// Reads what is there, at most [`CHUNK`] bytes; none at the end. Holds no buffer while it waits.
async fn read_some<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); CHUNK];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().to_vec()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use pingora_error::{ErrorSource, ErrorType};

    use super::{Broke, CHUNK, Lull, Side, judge, pump};

    #[tokio::test]
    async fn everything_that_was_sent_arrives_in_order_before_the_end() {
        let (mut source, mut from) = duplex(CHUNK * 2);
        let (mut to, mut sink) = duplex(1000);
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let sent = bytes.clone();
        let write = async move { source.write_all(&sent).await.unwrap() };
        let mut noted = 0;
        let pump = async {
            let ended = pump(&mut from, &mut to, None, |b| noted += b.len()).await;
            drop(to);
            ended
        };
        let mut got = Vec::new();
        let (_, ended, read) = tokio::join!(write, pump, sink.read_to_end(&mut got));
        assert!(ended.is_ok());
        assert_eq!(read.unwrap(), bytes.len());
        assert_eq!(got, bytes);
        assert_eq!(noted, bytes.len());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_takes_nothing_is_told() {
        let hour = Some(Duration::from_secs(3600));
        let (mut source, mut from) = duplex(1000);
        let (mut to, _sink) = duplex(100);
        source.write_all(&[1; 1000]).await.unwrap();
        let ended = pump(&mut from, &mut to, hour, |_| {}).await;
        assert!(matches!(ended, Err(Broke::Stuck)), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_over_with_the_first_byte_either_way_and_lasts_from_the_last_one_on() {
        let limit = Duration::from_secs(3600);
        let start = tokio::time::Instant::now();
        let lull = Lull::new();
        let speaks = async {
            for _ in 0..20 {
                tokio::time::sleep(limit.mul_f64(0.9)).await;
                lull.ends();
            }
            start.elapsed()
        };
        let (spoke, ()) = tokio::join!(speaks, lull.lasts(Some(limit)));
        let silent = start.elapsed() - spoke;
        assert!(
            silent >= limit && silent <= limit.mul_f64(1.25),
            "{silent:?}"
        );
        let without = tokio::time::timeout(limit * 1000, lull.lasts(None)).await;
        assert!(without.is_err(), "where there is no limit");
    }

    #[tokio::test]
    async fn an_end_that_is_gone_ends_its_way() {
        let (mut source, mut from) = duplex(100);
        let (mut to, sink) = duplex(100);
        drop(sink);
        source.write_all(b"hello").await.unwrap();
        let ended = pump(&mut from, &mut to, None, |_| {}).await;
        assert!(matches!(ended, Err(Broke::To(_))), "{ended:?}");
    }

    #[test]
    fn a_client_that_leaves_is_an_end_and_an_app_that_does_a_fault() {
        let broke =
            |kind: fn(std::io::Error) -> Broke| Err(kind(std::io::ErrorKind::BrokenPipe.into()));
        let up = |ended| judge(ended, Side::Client, Side::App);
        let down = |ended| judge(ended, Side::App, Side::Client);
        for end in [
            up(Ok(())),
            up(broke(Broke::From)),
            down(Ok(())),
            down(broke(Broke::To)),
        ] {
            assert!(end.is_ok(), "{end:?}");
        }
        let (app, client) = (ErrorSource::Upstream, ErrorSource::Downstream);
        for (end, kind, source) in [
            (up(broke(Broke::To)), ErrorType::WriteError, &app),
            (down(broke(Broke::From)), ErrorType::ReadError, &app),
            (up(Err(Broke::Stuck)), ErrorType::WriteTimedout, &app),
            (down(Err(Broke::Stuck)), ErrorType::WriteTimedout, &client),
        ] {
            let error = end.unwrap_err();
            assert_eq!((error.etype(), error.esource()), (&kind, source));
        }
    }
}
