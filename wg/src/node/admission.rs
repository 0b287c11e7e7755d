//! Handshake messages in two steps: what is cheap at once, curve arithmetic when there is time.

use super::datagram::RESPONSE;
use super::{DropReason, Duration, Instant, Node, SocketAddr};
use crate::config::PeerId;
use crate::initiation;
use crate::tunnel;

/// What came of a handshake message that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// A peer proved itself.
    Believed,
    /// It was dropped and counted.
    Refused,
    /// It names a peer of another node, which is to be given it: nothing was done here.
    Elsewhere(PeerId),
}

impl Node {
    /// Whether a datagram is a handshake message by its kind and length; those may be handled in
    /// two steps, by [`Node::admit_handshake`] and [`Node::handle_admitted`].
    #[must_use]
    pub fn is_handshake(datagram: &[u8]) -> bool {
        let kind = datagram.first_chunk::<4>().copied();
        let kind = kind.map(u32::from_le_bytes);
        matches!(
            (kind, datagram.len()),
            (Some(1), initiation::LEN) | (Some(2), RESPONSE)
        )
    }

    /// Looks at a handshake message without any curve arithmetic; returns whether
    /// [`Node::handle_admitted`] is to be asked about it. While the caller `is_crowded`, only who
    /// shows a cookie is admitted.
    pub fn admit_handshake(
        &mut self,
        from: SocketAddr,
        message: &[u8],
        is_crowded: bool,
        now: Instant,
    ) -> bool {
        self.counters.datagrams_in += 1;
        let admitted = self.admit(from, message, is_crowded, now);
        self.conclude(admitted)
    }

    /// Handles a handshake message that was admitted, here or by another node of the gateway.
    pub fn handle_admitted(
        &mut self,
        from: SocketAddr,
        message: &[u8],
        now: Instant,
        wall: Duration,
    ) -> Handled {
        let elsewhere = match self.handshake(from, message, now, wall) {
            Ok(elsewhere) => elsewhere,
            Err(reason) => {
                self.conclude(Err(reason));
                return Handled::Refused;
            }
        };
        self.settle();
        elsewhere.map_or(Handled::Believed, Handled::Elsewhere)
    }

    /// Returns the peer of another node that an initiation is from.
    pub(super) fn handshake(
        &mut self,
        from: SocketAddr,
        message: &[u8],
        now: Instant,
        wall: Duration,
    ) -> Result<Option<PeerId>, DropReason> {
        if message.len() == RESPONSE {
            self.response(from, message, now).map(|()| None)
        } else {
            self.initiation(from, message, now, wall)
        }
    }

    /// First MAC, then the budget of the source, then cookies: in this order, and before any key is
    /// used. Who does not know the public key spends nobody's budget. Whoever shows no
    /// cookie and cannot be sent one either is turned away before all that: most of a storm.
    pub(super) fn admit(
        &mut self,
        from: SocketAddr,
        message: &[u8],
        is_crowded: bool,
        now: Instant,
    ) -> Result<(), DropReason> {
        let source = from.ip();
        let is_under_load = self.identity.is_under_load(is_crowded, now);
        let may_reply = self.identity.has_cookies() && self.budget.may_have_cookie(source, now);
        if is_under_load && !may_reply && !tunnel::shows_a_cookie(message) {
            return Err(DropReason::SourceBudget);
        }
        if !self.identity.first_mac.is_right(message) {
            return Err(DropReason::BadMac);
        }
        if !self.budget.spend(source, now) {
            return Err(DropReason::SourceBudget);
        }
        let mut reply = [0; 64];
        let load = (is_under_load, may_reply);
        match self.identity.admit(source, message, load, &mut reply) {
            Ok(()) => Ok(()),
            Err(None) => Err(DropReason::SourceBudget),
            Err(Some(cookie)) => {
                self.counters.cookies += 1;
                self.budget.note_cookie(source, now);
                // No peer is known yet; the reply travels outside all lanes.
                self.transmit_stranger(from, cookie);
                Err(DropReason::SourceBudget)
            }
        }
    }
}
