//! `postern policy apply`, `confirm`, `rollback` and `history`: changes of the policy in force.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, block_on, offline, out};
use crate::config::lock;
use crate::control::{self, Operator, Remote, Verdict};
use crate::reload::folder::Folder;
use crate::reload::guards::{self, Own};
use crate::reload::history::{Entry, History};
use crate::secrets::Keys;

pub(super) const APPLY: &str = "Examples:
  postern policy apply ./policy.new --dry-run
  postern policy apply ./policy.new --confirm 5m      then: postern policy confirm
  postern policy apply --accept-wider 2               the folder as it lies there
  postern policy apply ./policy.new --as laure --from office

The files of DIR replace those of the policy folder; what lay there is kept. This command comes
through the local socket, which no policy governs, so that whoever runs it cannot lock themselves
out of it; name with --as whose access must last. --confirm helps who reaches this machine through
the gateway: if the change cuts them off, it is taken back.

Exit codes: 0 in force, or nothing stands against it, 3 a guard holds it, 65 not possible,
69 no gateway runs, 78 the policy is wrong or locks everybody out";
pub(super) const CONFIRM: &str = "Examples:
  postern policy confirm

Exit codes: 0 kept, 65 nothing waits, 69 no gateway runs";
pub(super) const ROLLBACK: &str = "Examples:
  postern policy rollback              the one before
  postern policy rollback 41           a generation of postern policy history
  postern policy rollback 7c1f02 --dry-run

Exit codes: 0 in force, 3 a guard holds it, 65 no such policy, 69 no gateway runs";
pub(super) const HISTORY: &str = "Examples:
  postern policy history
  postern policy history --json";

/// A policy to put in force.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// The folder whose files come in place of those of the policy folder [default: the policy folder as it is]
    dir: Option<PathBuf>,
    /// Take it back after this time, such as 5m, unless postern policy confirm comes first
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    confirm: Option<u64>,
    #[command(flatten)]
    guarded: Guarded,
}

/// An earlier policy to return to.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// A generation or the beginning of a digest [default: the one before]
    #[arg(value_name = "GENERATION|DIGEST")]
    to: Option<String>,
    /// Accept that exactly so many people who are shut out are let in again
    #[arg(long, value_name = "N")]
    accept_back: Option<usize>,
    #[command(flatten)]
    guarded: Guarded,
}

/// What the guards ask.
#[derive(Debug, Args)]
struct Guarded {
    /// Accept that exactly so many pairs of person and place become open to the world, openings of [tunnel] counted in
    #[arg(long, value_name = "N")]
    accept_wider: Option<usize>,
    /// Accept that exactly so many pairs of person and app in use are refused
    #[arg(long, value_name = "N")]
    accept_loss: Option<usize>,
    /// Whose access must last
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    /// Where they are: a zone or an address [default: internet]
    #[arg(long, value_name = "ZONE|IP", requires = "user")]
    from: Option<String>,
    /// The class of their device: any, known or managed [default: any]
    #[arg(long, value_name = "CLASS", requires = "user")]
    device: Option<String>,
    /// What they must still reach
    #[arg(
        long,
        value_name = "WHAT",
        requires = "user",
        default_value = "admin",
        help = "What they must still reach: admin, https://host/path or tcp://ip:port"
    )]
    to_reach: String,
    /// Accept that they lose it
    #[arg(long, requires = "user")]
    i_lose_access: bool,
    /// Only tell what would change and what the guards say
    #[arg(long)]
    dry_run: bool,
}

impl Guarded {
    fn accept(&self) -> guards::Accept {
        guards::Accept {
            wider: self.accept_wider,
            loss: self.accept_loss,
            back: None,
            own: self.i_lose_access,
        }
    }

    fn own(&self) -> Option<Own> {
        let user = self.user.clone()?;
        Some(Own {
            user,
            from: self.from.clone(),
            device: self.device.clone(),
            to: self.to_reach.clone(),
        })
    }
}

/// Puts a policy in force, or tells what that would do.
///
/// # Errors
/// [`Exit::Widens`] if a guard holds it, [`Exit::Config`] if it is wrong or locks everybody out.
pub(super) fn apply(options: &Apply, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let files = match &options.dir {
        Some(dir) => Some(Folder::read(dir)?),
        None => None,
    };
    let asked = control::Apply {
        files,
        accept: options.guarded.accept(),
        own: options.guarded.own(),
        confirm_s: options.confirm,
        dry_run: options.guarded.dry_run,
    };
    let verdict = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.policy_apply(&asked).await?)
    })?;
    let command = match &options.dir {
        Some(dir) => format!("postern policy apply {}", dir.display()),
        None => "postern policy apply".to_owned(),
    };
    tell(&verdict, options.guarded.dry_run, &command, global.json)
}

/// Returns to an earlier policy.
///
/// # Errors
/// [`Exit::Data`] if there is none, else as [`apply`].
pub(super) fn rollback(options: &Rollback, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let asked = control::Rollback {
        to: options.to.clone(),
        accept: guards::Accept {
            back: options.accept_back,
            ..options.guarded.accept()
        },
        own: options.guarded.own(),
        dry_run: options.guarded.dry_run,
    };
    let verdict = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.policy_rollback(&asked).await?)
    })?;
    let mut command = "postern policy rollback".to_owned();
    if let Some(to) = &options.to {
        command = format!("{command} {to}");
    }
    tell(&verdict, options.guarded.dry_run, &command, global.json)
}

/// Keeps a policy that waits to be confirmed.
///
/// # Errors
/// [`Exit::Data`] if none waits.
pub(super) fn confirm(global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let confirmed = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.policy_confirm().await?)
    })?;
    if global.json {
        out::json(&confirmed);
    } else {
        out::line(&format!("generation {} stays", confirmed.generation));
    }
    Ok(())
}

/// Lists what was put in force and what was refused; needs no running gateway.
///
/// # Errors
/// What keeps the state folder closed.
pub(super) fn history(global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let entries = block_on(async {
        if let Some(gateway) = Remote::find(&config.control_socket()).await? {
            return Ok(gateway.policy_history().await?);
        }
        let _lock = lock::acquire(&config.data)?;
        let keys = Arc::new(Keys::load(&config.master_key)?);
        let history = History::open(&config.data, keys);
        let history = history.map_err(|e| Failure::file("open", &config.data, &e))?;
        Ok(history.entries())
    })?;
    if global.json {
        entries.iter().for_each(out::json);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    out::table(
        &[
            "GEN", "POLICY", "TIME", "HOW", "BY", "RESULT", "WIDER", "NARROWER",
        ],
        &rows,
    );
    Ok(())
}

fn row(entry: &Entry) -> Vec<String> {
    let generation = entry
        .generation
        .map_or_else(|| "-".to_owned(), |g| g.to_string());
    let digest = entry
        .digest
        .as_deref()
        .and_then(|d| d.get(..12))
        .unwrap_or("-");
    vec![
        generation,
        digest.to_owned(),
        entry.time.clone(),
        entry.how.name().to_owned(),
        entry.by.to_string(),
        entry.result.clone(),
        entry.widened.to_string(),
        entry.narrowed.to_string(),
    ]
}

fn tell(verdict: &Verdict, dry_run: bool, command: &str, json: bool) -> Result<(), Failure> {
    if json {
        out::json(verdict);
    } else {
        out::raw(&verdict.text);
        verdict
            .notes
            .iter()
            .for_each(|note| out::note(&format!("note: {note}")));
    }
    verdict
        .warnings
        .iter()
        .for_each(|warning| out::note(warning));
    if !verdict.stops.is_empty() {
        return Err(held(verdict, command));
    }
    if json {
        return Ok(());
    }
    let digest = verdict.digest.get(..12).unwrap_or(&verdict.digest);
    let generation = verdict.generation;
    if dry_run {
        out::line(&format!(
            "nothing stands against policy {digest}; it was not put in force"
        ));
        return Ok(());
    }
    out::line(&format!(
        "policy {digest} in force, generation {generation}"
    ));
    if let Some(kept) = &verdict.kept {
        out::line(&format!("what lay in the policy folder is kept in {kept}"));
    }
    if let Some(why) = &verdict.not_written {
        out::note(&format!(
            "warning: the policy folder was not put right: {why}"
        ));
    }
    if let Some(until) = &verdict.confirm_until {
        out::line(&format!(
            "it is taken back at {until} unless: postern policy confirm"
        ));
    }
    Ok(())
}

fn held(verdict: &Verdict, command: &str) -> Failure {
    let stops = verdict.stops.iter();
    let mut lines: Vec<String> = stops
        .map(|s| format!("held ({}): {}", s.guard, s.text))
        .collect();
    let command = guards::command(&verdict.stops, command);
    let exit = match command {
        Some(_) => Exit::Widens,
        None => Exit::Config,
    };
    lines.extend(command.map(|command| format!("to accept it: {command}")));
    Failure::new(exit, lines.join("\n"))
}

/// Reads a time such as 90, 90s, 5m or 2h as seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let bad = || "write a time such as 30s, 5m or 2h, at most a day".to_owned();
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.get(number.len()..).unwrap_or_default()),
        None => (text, "s"),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    let factor = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    let seconds = number.saturating_mul(factor);
    (1..=86_400)
        .contains(&seconds)
        .then_some(seconds)
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_to_confirm_is_a_second_to_a_day() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("24h", Some(86_400)),
            ("90", Some(90)),
            ("25h", None),
            ("0", None),
            ("5d", None),
            ("-5m", None),
            ("m", None),
            ("", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text:?}");
        }
    }
}
