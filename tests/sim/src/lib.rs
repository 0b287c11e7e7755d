//! Simulation of the WireGuard node: devices, a hostile network and a kernel in virtual time.
//!
//! Each seed is one world. What must hold in all of them is asserted where bytes leave the node:
//! see [`world`].

mod config;
mod device;
mod kernel;
mod packet;
mod rng;
mod summary;
mod world;

pub use summary::Summary;
pub use world::run;
