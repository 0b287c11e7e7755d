//! Postern, a zero-trust access gateway: one sign-in, two doors, one record.

mod access;
mod acme;
mod audit;
mod backup;
mod bans;
mod cli;
mod clock;
mod config;
mod console;
mod control;
mod demo;
mod descriptors;
mod disk;
mod doctor;
mod door;
mod edits;
mod explain;
mod gateway;
mod identity;
mod ids;
mod justify;
mod limits;
mod mail;
mod nginx;
mod observe;
mod operate;
mod outward;
mod pages;
mod proxy;
mod reload;
mod reproof;
mod rotation;
mod run;
mod secrets;
mod snapshot;
mod store;
mod streams;
mod traces;
mod tunnel;
mod upstreams;
mod uri;
mod wgquick;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // the namespace helper is this binary again; it must not parse a command line or start threads
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == "ns-helper")
    {
        return tunnel::namespace::helper_main();
    }
    // only the first caller can install one, and this is the first
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    cli::main()
}
