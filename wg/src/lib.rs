//! Sans-IO WireGuard node: peers, ingress rules, flow table and packet rewriting around boringtun.
//!
//! Nothing here opens a socket or a device. [`Node`] takes datagrams and TUN packets with the
//! time, and returns what to send; `gateway` owns the descriptors.
#![forbid(unsafe_code)]

mod allowed_ips;
mod backlog;
mod coalesce;
mod config;
mod counters;
mod error;
mod event;
mod flow;
mod index;
mod ingress;
mod initiation;
mod keys;
mod mark;
mod node;
mod packet;
mod peer;
mod peers;
mod place;
mod source_budget;
mod split;
mod transmit;
mod tunnel;
pub mod turns;
mod twin;

pub use config::{Inside, NodeConfig, PeerConfig, PeerId};
pub use counters::{Counters, DropReason};
pub use error::{KeyError, NodeError, SendError};
pub use event::{Event, FlowId, FlowRecord, PeerStatus, Refusal, Unreachable};
pub use keys::{PresharedKey, PrivateKey, PublicKey};
pub use node::{Handled, Node};
pub use place::Place;
pub use transmit::Transmit;
