//! `postern doctor`.

use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Global, block_on, offline, out, policies};
use crate::control::Operator;
use crate::doctor::{Diagnosis, Finding, Verdict, golive, listeners};

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A device that does not get through: d7, its name, `zoe/laptop`, its address or public key
    #[arg(long, value_name = "DEVICE", required_unless_present = "golive")]
    peer: Option<String>,
    /// What the policy, and what listens on this machine, leave open that is better closed before people come
    #[arg(long, conflicts_with = "peer")]
    golive: bool,
    /// A policy folder, instead of the configured one
    #[arg(long, value_name = "DIR", requires = "golive")]
    policy: Option<PathBuf>,
}

/// What was looked at before people come.
#[derive(Serialize)]
struct GoLive {
    findings: Vec<Finding>,
}

/// Walks why a device does not get through, or what policy and machine leave open, with a next step for each trouble.
///
/// # Errors
/// [`Exit::Unavailable`] if it does not get through, or no gateway runs; [`Exit::Data`] for a
/// device that does not exist.
pub(crate) fn run(options: &Options, global: &Global) -> Result<(), Failure> {
    match &options.peer {
        Some(peer) => device(peer, global),
        None => before_people_come(options, global),
    }
}

fn before_people_come(options: &Options, global: &Global) -> Result<(), Failure> {
    let dir = match &options.policy {
        Some(dir) => dir.clone(),
        None => global.config()?.policy_dir,
    };
    let policy = policies::load(&dir)?.policy;
    let mut findings = golive::examine(&policy);
    findings.extend(match sockets() {
        Ok(tables) => listeners::examine(&policy, &tables),
        Err(why) => vec![listeners::unknown(&why)],
    });
    if global.json {
        out::json(&GoLive { findings });
    } else {
        out::raw(&lines(&findings));
    }
    Ok(())
}

/// Reads the kernel's tables of sockets; a machine without IPv6 has but one.
fn sockets() -> Result<Vec<String>, String> {
    let mut tables = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(path) {
            Ok(table) => tables.push(table),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !tables.is_empty() => {}
            Err(e) => {
                return Err(format!(
                    "what listens on this machine is not known: {path}: {e}"
                ));
            }
        }
    }
    Ok(tables)
}

fn device(peer: &str, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let diagnosis = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.device_doctor(peer).await?)
    })?;
    if global.json {
        out::json(&diagnosis);
    } else {
        out::raw(&text(&diagnosis));
    }
    let mut findings = diagnosis.findings.iter();
    match findings.find(|f| f.verdict == Verdict::Fault) {
        None => Ok(()),
        Some(fault) => {
            let text = format!(
                "{} does not get through: {}",
                diagnosis.device.id, fault.check
            );
            Err(Failure::new(Exit::Unavailable, text))
        }
    }
}

fn text(diagnosis: &Diagnosis) -> String {
    let device = &diagnosis.device;
    let head = format!("{} {} of {}\n", device.id, device.name, device.user);
    head + &lines(&diagnosis.findings)
}

fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let verdict = finding.verdict.name();
        text += &format!("{verdict:<6}{:<12}{}\n", finding.check, finding.found);
        if let Some(next) = &finding.next {
            let next = next.replace('\n', &format!("\n{:<21}", ""));
            text += &format!("{:<18}-> {next}\n", "");
        }
    }
    text
}
