//! The tunnel door.

mod bucket;
mod dns;
mod door;
mod flows;
mod gate;
mod namespace;
mod peers;
mod reach;
mod shard;
mod sys;
mod udp;
