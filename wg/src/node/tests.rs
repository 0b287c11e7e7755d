//! The node against a second boringtun, all in memory.

mod allocation;
mod bare;
mod fair;
mod fuzz;
mod guards;
mod handshake;
mod hostile;
mod membership;
mod places;
mod scale;
pub(crate) mod support;
mod tcp;
mod time;
mod tun;
mod twin;
mod udp;

pub(crate) use support::{config, epoch};
