//! `postern policy who-can` and `what-can`: exact reach, ever or in some contexts.

use clap::Args;
use policy::Scope;

use super::{Folder, load, refused, show};
use crate::cli::Global;
use crate::cli::exit::Failure;
use crate::clock;

/// The help of `policy who-can`.
pub(super) const WHO: &str = "Examples:
  postern policy who-can https://app.example.org/admin
  postern policy who-can app.pay/admin --now
  postern policy who-can tcp://192.168.1.100:22 --in office
  postern policy who-can admin --in 'internet@sun 03:00' --json

A CONTEXT is a zone or an address, @ and a time, or both: office, @tue 10:00, office@2026-10-12 10:00.
What it leaves open may be anything; age of code and sign-in and the device's class always do.";

/// The help of `policy what-can`.
pub(super) const WHAT: &str = "Examples:
  postern policy what-can zoe
  postern policy what-can zoe --now
  postern policy what-can zoe --in 'internet@sun 03:00'
  postern policy what-can anyone --json

A CONTEXT is a zone or an address, @ and a time, or both: office, @tue 10:00, office@2026-10-12 10:00.
What it leaves open may be anything; age of code and sign-in and the device's class always do.";

/// Who can reach it.
#[derive(Debug, Args)]
pub(crate) struct WhoCan {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    contexts: Contexts,
    /// What is asked about
    #[arg(help = "https://host/path, tcp://ip:port, or an id such as app.pay/admin")]
    resource: String,
}

/// What they can reach.
#[derive(Debug, Args)]
pub(crate) struct WhatCan {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    contexts: Contexts,
    /// A user, or anyone
    user: String,
}

/// In which contexts.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Contexts {
    /// At this instant, from anywhere
    #[arg(long)]
    now: bool,
    /// In any context at all: the default
    #[arg(long)]
    ever: bool,
    /// In these contexts, such as office@tue 10:00
    #[arg(long = "in", value_name = "CONTEXT")]
    within: Option<String>,
}

impl Contexts {
    fn scope(&self) -> Scope {
        match &self.within {
            Some(text) => Scope::In(text.clone()),
            None if self.now => Scope::Now(clock::unix()),
            None => Scope::Ever,
        }
    }
}

/// Tells who can reach a thing.
///
/// # Errors
/// [`Exit::Config`](crate::cli::exit::Exit::Config) for a policy that does not load,
/// [`Exit::Data`](crate::cli::exit::Exit::Data) for a thing or context that is not there.
pub(super) fn who_can(asked: &WhoCan, global: &Global) -> Result<(), Failure> {
    let policy = load(&asked.folder.dir(global)?)?.policy;
    let answer = policy.who_can_in(&asked.resource, &asked.contexts.scope());
    let answer = answer.map_err(refused)?;
    show(&answer, &answer.to_text(), global.json);
    Ok(())
}

/// Tells what a person can reach.
///
/// # Errors
/// As [`who_can`].
pub(super) fn what_can(asked: &WhatCan, global: &Global) -> Result<(), Failure> {
    let policy = load(&asked.folder.dir(global)?)?.policy;
    let answer = policy.what_can_in(&asked.user, &asked.contexts.scope());
    let answer = answer.map_err(refused)?;
    show(&answer, &answer.to_text(), global.json);
    Ok(())
}
