//! Exact answers by enumeration. The language compares inputs with constants only, so people, addresses, instants,
//! devices, methods and ages each fall into finitely many classes; within one place only those its own rules and
//! guards tell apart matter. Deciding one member of every class decides them all.
//!
//! Exact for the people of the folder, and for instants from 2025 to 2033, or a year beyond any date a schedule
//! names.

mod alike;
mod answers;
mod changed;
mod diff;
mod grid;
mod invariants;
mod label;
mod lanes;
mod moved;
mod names;
mod openings;
mod places;
mod samples;
mod scope;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod world;

pub use answers::{Grantee, Reachable, WhatCan, WhoCan};
pub use diff::{Change, Diff, diff};
pub(crate) use grid::{Grid, Group, Split};
pub(crate) use invariants::check as check_invariants;
pub use openings::{Open, Opening};
pub(crate) use places::{JointPlace, Side, Spot, joint_places};
pub use samples::Sample;
pub use scope::Scope;
pub use settings::Setting;
pub(crate) use world::{World, standings};

/// A cell: positions in the classes of zone, time, device, method, code and sign-in.
pub(crate) type Cell = [usize; DIMS];

/// Zone, time, device, method, code, sign-in.
pub(crate) const DIMS: usize = 6;
