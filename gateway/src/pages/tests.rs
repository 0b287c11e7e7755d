mod account;
mod ca;
mod fake;
mod golden;
mod handlers;
mod words;
