mod account;
mod fake;
mod golden;
mod handlers;
mod words;
