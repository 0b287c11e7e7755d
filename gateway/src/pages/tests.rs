mod account;
mod fake;
mod forgot;
mod golden;
mod handlers;
mod words;
