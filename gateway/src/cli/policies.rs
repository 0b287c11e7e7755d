//! `postern policy`: questions about a policy folder.

mod check;
mod past;
mod reach;
mod replay;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use policy::{Loaded, QueryError, QueryText, Sources};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::findings::{self, Finding};
use super::{Global, apply, out, render};
use crate::explain::{self, Which};
use crate::{clock, reload};

/// The commands about the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load a policy folder as a start would, and tell whom it locks out
    #[command(after_help = check::CHECK)]
    Check(Folder),
    /// Run the tests a policy folder carries
    Test(Folder),
    /// Tell why a request is decided as it is, or why one on record was
    #[command(after_help = EXPLAIN)]
    Explain(Explain),
    /// Decide the requests on record again; exit code 3 if access changes
    #[command(after_help = replay::HELP)]
    Replay(replay::Replay),
    /// Write a decision on record as a [[test]] for the policy folder
    #[command(after_help = past::RECORD)]
    Record(past::Record),
    /// Print what decides about a resource, or about all: areas, rules and guards in the order that counts
    #[command(after_help = SHOW)]
    Show(Show),
    /// Tell who can reach something, exactly, and in which contexts
    #[command(after_help = reach::WHO)]
    WhoCan(reach::WhoCan),
    /// Tell what somebody can reach, exactly, and in which contexts
    #[command(after_help = reach::WHAT)]
    WhatCan(reach::WhatCan),
    /// Tell what another policy would change; exit code 3 if it widens access
    Diff(Diff),
    /// Tell what is allowed but looks like a mistake
    Lint(Folder),
    /// Print the JSON Schema of policy files, for editors
    Schema,
    /// Put a policy in force after showing what changes; exit code 3 if a guard holds it
    #[command(after_help = apply::APPLY)]
    Apply(apply::Apply),
    /// Keep a policy that was applied with --confirm
    #[command(after_help = apply::CONFIRM)]
    Confirm,
    /// Return to an earlier policy; exit code 3 if a guard holds it
    #[command(after_help = apply::ROLLBACK)]
    Rollback(apply::Rollback),
    /// List what was put in force and what was refused: when, how, by whom
    #[command(after_help = apply::HISTORY)]
    History,
}

/// What is shown.
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    folder: Folder,
    /// What is asked about; all of the policy if absent
    #[arg(
        help = "https://host/path, tcp://ip:port, or an id: app.pay, app.pay/admin, net.ssh, deny.left, admin"
    )]
    resource: Option<String>,
}

const SHOW: &str = "Examples:
  postern policy show
  postern policy show app.pay                all areas, the most specific first
  postern policy show https://pay.example.org/admin/x
  postern policy show tcp://192.168.1.100:22 --json";

/// Two policies.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The folder of now
    old: PathBuf,
    /// The folder that would replace it
    new: PathBuf,
}

/// Where the policy is.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// A policy folder, instead of the configured one
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
}

/// A question.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    folder: Folder,
    /// Who is signed in; nobody if absent
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// By what they are known: sign-in, device or token [default: sign-in]
    #[arg(long, value_name = "PROOF")]
    by: Option<String>,
    /// A zone or a source address [default: internet]
    #[arg(long, value_name = "ZONE|IP")]
    from: Option<String>,
    /// A time such as 'tue 10:00' [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Age of the code, such as 20m, or none [default: fresh]
    #[arg(long, value_name = "AGE|none")]
    mfa: Option<String>,
    /// Age of the sign-in, such as 3h [default: fresh]
    #[arg(long, value_name = "AGE")]
    login: Option<String>,
    /// any, known or managed [default: any]
    #[arg(long, value_name = "CLASS")]
    device: Option<String>,
    /// The method of the request [default: GET]
    #[arg(long, value_name = "M")]
    method: Option<String>,
    /// Decide it again by a plain interpreter of the files and compare; exit code 70 if they differ
    #[arg(long)]
    check: bool,
    /// A decision on record, by its number in the journal
    #[arg(long, value_name = "N", conflicts_with_all = ["url", "user", "by", "from", "at", "mfa", "login", "device", "method", "check"])]
    seq: Option<u64>,
    /// What is asked for
    #[arg(
        required_unless_present = "seq",
        help = "https://host/path, tcp://ip:port, udp://ip:port, icmp://ip, admin, the code of a denied page: D-XXXXXXXX, or the id of a request"
    )]
    url: Option<String>,
}

const EXPLAIN: &str = "Examples:
  postern policy explain --user laure --from office --at 'tue 10:00' https://paie.cabinet.example/admin
  postern policy explain --user laure --check https://paie.cabinet.example/
  postern policy explain D-7K3QXN2A          what a denied page showed
  postern policy explain 3nK5w0Qz6mYpA1bC7dEfGg
                                             the id of a request, which the page of a 502 shows:
                                             its decision, how it ended, and whose fault that is
  postern policy explain --seq 4711          a number from `postern audit search`";

/// Runs a command about the policy.
///
/// # Errors
/// [`Exit::Config`] for a policy that does not load or whose tests fail, [`Exit::Data`] for a question that cannot
/// be asked of it.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Check(folder) => check::check(&folder.dir(global)?, global),
        Command::Test(folder) => check::test(&folder.dir(global)?, global.json),
        Command::Explain(question) => explain(question, global),
        Command::Replay(asked) => replay::run(asked, global),
        Command::Record(asked) => past::record(asked, global),
        Command::Show(asked) => {
            let policy = load(&asked.folder.dir(global)?)?.policy;
            let answer = policy.show(asked.resource.as_deref()).map_err(refused)?;
            show(&answer, &answer.to_text(), global.json);
            Ok(())
        }
        Command::WhoCan(asked) => reach::who_can(asked, global),
        Command::WhatCan(asked) => reach::what_can(asked, global),
        Command::Diff(Diff { old, new }) => {
            let (old, new) = (load(old)?.policy, load(new)?.policy);
            let diff = policy::diff(&old, &new);
            show(&diff, &diff.to_text(), global.json);
            if diff.widens {
                return Err(Failure::new(Exit::Widens, "access widens"));
            }
            Ok(())
        }
        Command::Lint(folder) => lint(&folder.dir(global)?, global.json),
        Command::Schema => {
            out::json(&policy::json_schema());
            Ok(())
        }
        Command::Apply(options) => apply::apply(options, global),
        Command::Confirm => apply::confirm(global),
        Command::Rollback(options) => apply::rollback(options, global),
        Command::History => apply::history(global),
    }
}

impl Folder {
    fn dir(&self, global: &Global) -> Result<PathBuf, Failure> {
        match &self.policy {
            Some(dir) => Ok(dir.clone()),
            None => Ok(global.config()?.policy_dir),
        }
    }
}

/// Reads a policy folder.
///
/// # Errors
/// Those of [`reload::read_policy`]; an empty folder is one.
pub(crate) fn read(dir: &Path) -> Result<Sources, Failure> {
    Ok(reload::read_policy(dir)?)
}

/// Loads a policy folder as a start would, tests included.
///
/// # Errors
/// [`Exit::Config`] with rendered diagnostics.
pub(crate) fn load(dir: &Path) -> Result<Loaded, Failure> {
    let sources = read(dir)?;
    policy::load(&sources).map_err(|found| Failure::policy(&sources, &found))
}

fn explain(question: &Explain, global: &Global) -> Result<(), Failure> {
    if let Some(which) = question.on_record()? {
        return past::explain(&which, &question.folder, global);
    }
    let dir = question.folder.dir(global)?;
    let (sources, policy) = (read(&dir)?, load(&dir)?.policy);
    let url = question.url.clone().unwrap_or_default();
    let to = match &question.method {
        Some(method) => format!("{method} {url}"),
        None => url,
    };
    let asked = QueryText {
        user: question.user.clone(),
        groups: Vec::new(),
        by: question.by.clone(),
        from: question.from.clone(),
        at: question.at.clone(),
        device: question.device.clone(),
        mfa: question.mfa.clone(),
        login: question.login.clone(),
        to,
    };
    let query = policy.query_at(&asked, clock::unix()).map_err(refused)?;
    let explanation = policy.explain(&query);
    let excerpts = explain::excerpts(&sources, &policy, &explanation);
    let text = format!("{}{excerpts}", explanation.to_text());
    if !question.check {
        show(&explanation, &text, global.json);
        return Ok(());
    }
    let checked = policy.check(&query);
    let same =
        "checked: a plain reading of the files, without the compiled tables, says the same\n";
    let text = match &checked {
        Ok(()) => format!("{text}{same}"),
        Err(_) => text,
    };
    let answer = CheckedExplanation {
        explanation: &explanation,
        checked: checked.is_ok(),
    };
    show(&answer, &text, global.json);
    checked.map_err(|differ| {
        let text = format!("{differ}: this is a fault of the program, please report it");
        Failure::new(Exit::Internal, text)
    })
}

/// An explanation and whether a plain reading of the files agrees.
#[derive(Serialize)]
struct CheckedExplanation<'a> {
    #[serde(flatten)]
    explanation: &'a policy::Explanation,
    checked: bool,
}

impl Explain {
    /// Names the decision on record that is asked about, if it is not a question of its own.
    fn on_record(&self) -> Result<Option<Which>, Failure> {
        if let Some(seq) = self.seq {
            return Ok(Some(Which::Seq(seq)));
        }
        let url = self.url.as_deref();
        let code = url.and_then(Which::code);
        let words = [
            &self.user,
            &self.by,
            &self.from,
            &self.at,
            &self.mfa,
            &self.login,
            &self.device,
            &self.method,
        ];
        let alone = !self.check && words.iter().all(|word| word.is_none());
        if code.is_none() && alone {
            return Ok(url.and_then(Which::request));
        }
        if code.is_some() && !alone {
            let text = "a decision on record is asked for by its code alone: it has all the rest";
            return Err(Failure::new(Exit::Usage, text));
        }
        Ok(code)
    }
}

fn refused(error: QueryError) -> Failure {
    let help = error.help.map(|h| format!("\nhelp: {h}"));
    let text = format!("{}{}", error.title, help.unwrap_or_default());
    Failure::new(Exit::Data, text)
}

fn show<T: Serialize>(answer: &T, text: &str, json: bool) {
    if json {
        out::json(answer);
    } else {
        out::raw(text);
    }
}

#[derive(Serialize)]
struct LintAnswer {
    findings: Vec<Finding>,
}

fn lint(dir: &Path, json: bool) -> Result<(), Failure> {
    let sources = read(dir)?;
    let loaded = load(dir)?;
    let mut found = loaded.warnings;
    found.extend(loaded.policy.lint(Some(clock::unix())));
    found.sort_by_key(|finding| (finding.span.file, finding.span.start));
    if json {
        out::json(&LintAnswer {
            findings: findings::all(&sources, &found),
        });
    } else if found.is_empty() {
        out::line(&format!("{}: nothing found", dir.display()));
    } else {
        out::line(&render::all(&sources, &found));
    }
    Ok(())
}
