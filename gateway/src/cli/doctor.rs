//! `postern doctor`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Global, block_on, offline, out, policies};
use crate::control::Operator;
use crate::doctor::{Diagnosis, Finding, Verdict, golive};

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A device that does not get through: d7, its name, `zoe/laptop`, its address or public key
    #[arg(long, value_name = "DEVICE", required_unless_present = "golive")]
    peer: Option<String>,
    /// What the policy leaves open that is better closed before people come
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

/// Walks why a device does not get through, or what a policy leaves open, with a next step for each trouble.
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
    let findings = golive::examine(&policies::load(&dir)?.policy);
    if global.json {
        out::json(&GoLive { findings });
    } else {
        out::raw(&lines(&findings));
    }
    Ok(())
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
