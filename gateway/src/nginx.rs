//! Configuration of nginx: what it says, and the policy that stands for it.
//!
//! [`read`] is the one part with IO. [`translate`] gives each directive exactly one entry: carried over, done by the
//! gateway anyway, different on purpose, or not understood. What it writes lets nobody in: each app's group is empty,
//! and where a line that keeps people out is not understood there is no rule at all.

mod access;
mod area;
mod fields;
mod files;
mod ledger;
mod lex;
mod location;
mod measure;
mod names;
mod onward;
mod pass;
mod plain;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod write;

pub(crate) use files::read;
pub(crate) use ledger::{Row, Verdict};
pub(crate) use server::{Import, translate};
