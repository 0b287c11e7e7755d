//! The HTTP plane: one pipeline for both doors.

mod accept;
mod admin;
pub(crate) mod answer;
pub(crate) mod app;
mod cached;
mod caps;
pub(crate) mod conn;
pub(crate) mod cookies;
pub(crate) mod counter;
mod direct;
mod edge;
pub(crate) mod frames;
pub(crate) mod front;
pub(crate) mod gate;
mod guests;
pub(crate) mod handover;
pub(crate) mod head;
pub(crate) mod headers;
pub(crate) mod identify;
pub(crate) mod kept;
mod native;
mod offence;
pub(crate) mod own;
pub(crate) mod pep;
pub(crate) mod preflight;
mod proxied;
mod record;
pub(crate) mod reports;
mod served;
pub(crate) mod statement;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod upstream;

pub(crate) use conn::ConnOrigin;
pub(crate) use edge::{CUT, DRAIN, Edges};
pub(crate) use guests::Guests;
