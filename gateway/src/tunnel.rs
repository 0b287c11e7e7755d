//! The tunnel door.

mod gate;
mod namespace;
mod shard;
mod sys;
