mod account;
mod ca;
mod devices;
pub(crate) mod fake;
mod forgot;
mod golden;
pub(crate) mod handlers;
mod proofs;
mod words;
