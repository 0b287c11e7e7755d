//! Postern, a zero-trust access gateway: one sign-in, two doors, one record.

mod access;
mod audit;
mod cli;
mod clock;
mod config;
mod control;
mod demo;
mod gateway;
mod identity;
mod ids;
mod limits;
mod operate;
mod pages;
mod proxy;
mod reload;
mod run;
mod secrets;
mod snapshot;
mod store;
mod streams;
mod tunnel;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
