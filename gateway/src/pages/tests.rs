mod account;
mod devices;
pub(crate) mod fake;
mod golden;
pub(crate) mod handlers;
mod words;
