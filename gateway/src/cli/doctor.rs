//! `postern doctor`.

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, block_on, offline, out};
use crate::control::Operator;
use crate::doctor::{Diagnosis, Verdict};

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A device that does not get through: d7, its name, `zoe/laptop`, its address or public key
    #[arg(long, value_name = "DEVICE")]
    peer: String,
}

/// Walks why a device does not get through, with a next step for each trouble.
///
/// # Errors
/// [`Exit::Unavailable`] if it does not get through, or no gateway runs; [`Exit::Data`] for a
/// device that does not exist.
pub(crate) fn run(options: &Options, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let diagnosis = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.device_doctor(&options.peer).await?)
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
    let mut text = format!("{} {} of {}\n", device.id, device.name, device.user);
    for finding in &diagnosis.findings {
        let verdict = finding.verdict.name();
        text += &format!("{verdict:<6}{:<12}{}\n", finding.check, finding.found);
        if let Some(next) = &finding.next {
            text += &format!("{:<18}-> {next}\n", "");
        }
    }
    text
}
