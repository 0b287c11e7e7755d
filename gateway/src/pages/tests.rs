mod account;
pub(crate) mod fake;
mod golden;
pub(crate) mod handlers;
mod words;
