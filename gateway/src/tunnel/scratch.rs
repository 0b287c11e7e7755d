//! Where datagrams of hosts are received: each thread has one room, so that a flow that waits
//! holds none.

use std::cell::RefCell;
use std::io;

use tokio::net::UdpSocket;

/// Bytes of the longest datagram, headers of an echo included.
const ROOM: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Receives one datagram if there is one.
///
/// # Errors
/// What the system answers, `WouldBlock` if there is none.
pub(super) fn try_receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    SCRATCH.with_borrow_mut(|room| {
        room.resize(ROOM, 0);
        let length = socket.try_recv(room)?;
        Ok(room.get(..length).unwrap_or_default().to_vec())
    })
}

/// Waits for one datagram.
///
/// # Errors
/// What the system answers.
pub(super) async fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    loop {
        socket.readable().await?;
        match try_receive(socket) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::UdpSocket;

    use super::{receive, try_receive};

    #[tokio::test]
    async fn the_longest_datagram_arrives_whole_and_a_short_one_after_it_has_nothing_of_it() {
        let (near, far) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        );
        near.connect(far.local_addr().unwrap()).await.unwrap();
        assert_eq!(
            try_receive(&near).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let to = near.local_addr().unwrap();
        for sent in [vec![7; 65_507], b"short".to_vec(), Vec::new()] {
            far.send_to(&sent, to).await.unwrap();
            let came = receive(&near).await.unwrap();
            assert!(came == sent, "{} of {}", came.len(), sent.len());
            assert_eq!(came.capacity(), came.len(), "no more is kept of it");
        }
    }
}
