//! Copying between two sockets in both directions.
//!
//! A buffer is held only while bytes are in flight, so an idle flow costs its two sockets.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::tunnel::pace::Pacer;

/// Bytes moved by one read.
const BUFFER: usize = 64 * 1024;
/// Buffers kept for the next read.
const SPARE: usize = 64;

static SPARES: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Counts the payload of a flow while it runs.
#[derive(Debug, Default)]
pub(super) struct Meter {
    up: AtomicU64,
    down: AtomicU64,
}

impl Meter {
    /// Returns the bytes of both directions.
    pub(super) fn total(&self) -> u64 {
        let down = self.down.load(Ordering::Relaxed);
        self.sent_by_device().saturating_add(down)
    }

    /// Returns the bytes that came from the device.
    pub(super) fn sent_by_device(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }
}

/// Copies until both directions have ended; an end of stream is passed on as one.
///
/// # Errors
/// The first error of either socket; the caller resets both.
pub(super) async fn both_ways(
    device: &TcpStream,
    host: &TcpStream,
    meter: &Meter,
) -> io::Result<()> {
    tokio::try_join!(
        one_way(device, host, &meter.up, None),
        one_way(host, device, &meter.down, Some(Pacer::new()))
    )?;
    Ok(())
}

/// Copies one direction; the rate of `to` is looked after where there is a pacer.
async fn one_way(
    from: &TcpStream,
    to: &TcpStream,
    meter: &AtomicU64,
    mut pacer: Option<Pacer>,
) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut buffer = Spare::take();
        match from.try_read(&mut buffer.0) {
            Ok(0) => {
                let closed = SockRef::from(to).shutdown(Shutdown::Write);
                // the other end may have gone already
                let gone = |why: &io::Error| why.kind() == io::ErrorKind::NotConnected;
                return if closed.as_ref().is_err_and(gone) {
                    Ok(())
                } else {
                    closed
                };
            }
            Ok(length) => {
                write_all(to, buffer.0.get(..length).unwrap_or_default()).await?;
                if let Some(pacer) = &mut pacer {
                    pacer.wrote(to, length);
                }
                let moved = u64::try_from(length).unwrap_or(u64::MAX);
                meter.fetch_add(moved, Ordering::Relaxed);
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// A buffer that goes back to the others when dropped.
struct Spare(Box<[u8]>);

impl Spare {
    fn take() -> Self {
        let spare = SPARES.lock().pop();
        Self(spare.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()))
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let mut spares = SPARES.lock();
        if spares.len() < SPARE {
            spares.push(std::mem::take(&mut self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, both_ways};
    use crate::tunnel::testing::pair;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_half_closed_direction_leaves_the_other_open() {
        let ((mut client, a), (b, mut server)) = (pair().await, pair().await);
        let meter = Meter::default();
        let talk = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut heard = String::new();
            server.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "question");
            server.write_all(&[7; 200_000]).await.unwrap();
            drop(server);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer.len()
        };
        let (copied, answer) = tokio::join!(both_ways(&a, &b, &meter), talk);
        copied.unwrap();
        assert_eq!(answer, 200_000);
        assert_eq!(meter.total(), 200_008);
    }
}
