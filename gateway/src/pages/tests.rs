mod account;
mod devices;
mod fake;
mod golden;
mod handlers;
mod words;
