//! `postern policy`: questions about a policy folder.

mod past;
mod replay;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use policy::{Checked, Loaded, QueryError, QueryText, Sources};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Global, apply, out, render};
use crate::explain::{self, Which};
use crate::{clock, reload};

/// The commands about the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load a policy folder as a start would
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
    WhoCan(WhoCan),
    /// Tell what somebody can reach, exactly, and in which contexts
    WhatCan(WhatCan),
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

/// Who can reach it.
#[derive(Debug, Args)]
pub(crate) struct WhoCan {
    #[command(flatten)]
    folder: Folder,
    /// What is asked about
    #[arg(help = "https://host/path, tcp://ip:port, or an id such as app.pay/admin")]
    resource: String,
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

/// What they can reach.
#[derive(Debug, Args)]
pub(crate) struct WhatCan {
    #[command(flatten)]
    folder: Folder,
    /// A user, or anyone
    user: String,
}

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
    /// A decision on record, by its number in the journal
    #[arg(long, value_name = "N", conflicts_with_all = ["url", "user", "by", "from", "at", "mfa", "login", "device", "method"])]
    seq: Option<u64>,
    /// What is asked for
    #[arg(
        required_unless_present = "seq",
        help = "https://host/path, tcp://ip:port, udp://ip:port, icmp://ip, admin, or the code of a denied page: D-XXXXXXXX"
    )]
    url: Option<String>,
}

const EXPLAIN: &str = "Examples:
  postern policy explain --user laure --from office --at 'tue 10:00' https://paie.cabinet.example/admin
  postern policy explain D-7K3QXN2A          what a denied page showed
  postern policy explain --seq 4711          a number from `postern audit search`";

/// Runs a command about the policy.
///
/// # Errors
/// [`Exit::Config`] for a policy that does not load or whose tests fail, [`Exit::Data`] for a question that cannot
/// be asked of it.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::Check(folder) => check(&folder.dir(global)?, global.json),
        Command::Test(folder) => test(&folder.dir(global)?, global.json),
        Command::Explain(question) => explain(question, global),
        Command::Replay(asked) => replay::run(asked, global),
        Command::Record(asked) => past::record(asked, global),
        Command::Show(asked) => {
            let policy = load(&asked.folder.dir(global)?)?.policy;
            let answer = policy.show(asked.resource.as_deref()).map_err(refused)?;
            show(&answer, &answer.to_text(), global.json);
            Ok(())
        }
        Command::WhoCan(asked) => {
            let policy = load(&asked.folder.dir(global)?)?.policy;
            let answer = policy.who_can(&asked.resource).map_err(refused)?;
            show(&answer, &answer.to_text(), global.json);
            Ok(())
        }
        Command::WhatCan(asked) => {
            let policy = load(&asked.folder.dir(global)?)?.policy;
            let answer = policy.what_can(&asked.user).map_err(refused)?;
            show(&answer, &answer.to_text(), global.json);
            Ok(())
        }
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
    policy::load(&sources)
        .map_err(|found| Failure::new(Exit::Config, render::all(&sources, &found)))
}

#[derive(Serialize)]
struct CheckAnswer<'a> {
    ok: bool,
    digest: Option<&'a str>,
    tests: usize,
    findings: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    file: &'a str,
    line: u32,
    column: u32,
    severity: &'a str,
    code: &'a str,
    title: &'a str,
    help: Option<&'a str>,
}

fn findings<'a>(sources: &'a Sources, found: &'a [policy::Diagnostic]) -> Vec<Finding<'a>> {
    let finding = |d: &'a policy::Diagnostic| {
        let at = sources.locate(&d.span);
        Finding {
            file: at.path,
            line: at.line,
            column: at.column,
            severity: d.severity.as_str(),
            code: d.code,
            title: &d.title,
            help: d.help.as_deref(),
        }
    };
    found.iter().map(finding).collect()
}

fn check(dir: &Path, json: bool) -> Result<(), Failure> {
    let sources = read(dir)?;
    match policy::load(&sources) {
        Ok(loaded) => {
            if json {
                out::json(&CheckAnswer {
                    ok: true,
                    digest: Some(loaded.policy.digest()),
                    tests: loaded.tests_passed,
                    findings: findings(&sources, &loaded.warnings),
                });
                return Ok(());
            }
            if !loaded.warnings.is_empty() {
                out::note(&render::all(&sources, &loaded.warnings));
            }
            out::line(&format!(
                "{}: ok, {} tests passed, {} warnings",
                dir.display(),
                loaded.tests_passed,
                loaded.warnings.len()
            ));
            Ok(())
        }
        Err(found) => {
            if json {
                out::json(&CheckAnswer {
                    ok: false,
                    digest: None,
                    tests: 0,
                    findings: findings(&sources, &found),
                });
            }
            Err(Failure::new(Exit::Config, render::all(&sources, &found)))
        }
    }
}

#[derive(Serialize)]
struct TestLine<'a> {
    name: &'a str,
    file: &'a str,
    line: u32,
    passed: bool,
    expected: &'a str,
    got: &'a str,
}

fn test(dir: &Path, json: bool) -> Result<(), Failure> {
    let sources = read(dir)?;
    let Checked { tests, .. } = policy::check(&sources)
        .map_err(|found| Failure::new(Exit::Config, render::all(&sources, &found)))?;
    let failed = tests.iter().filter(|t| !t.passed).count();
    for test in &tests {
        let at = sources.locate(&test.span);
        if json {
            out::json(&TestLine {
                name: &test.name,
                file: at.path,
                line: at.line,
                passed: test.passed,
                expected: &test.expected,
                got: &test.got,
            });
        } else if test.passed {
            out::line(&format!("ok      {}", test.name));
        } else {
            out::line(&format!(
                "FAILED  {}\n        {at}: expected {}, got {}",
                test.name, test.expected, test.got
            ));
            for line in test.explanation.lines() {
                out::line(&format!("        {line}"));
            }
        }
    }
    if !json {
        out::line(&format!("{} passed, {failed} failed", tests.len() - failed));
    }
    if failed > 0 {
        let lines = tests
            .iter()
            .filter(|t| !t.passed)
            .map(|t| format!("{}: test `{}` failed", sources.locate(&t.span), t.name));
        let lines: Vec<String> = lines.collect();
        return Err(Failure::new(Exit::Config, lines.join("\n")));
    }
    Ok(())
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
    show(&explanation, &text, global.json);
    Ok(())
}

impl Explain {
    /// Names the decision on record that is asked about, if it is not a question of its own.
    fn on_record(&self) -> Result<Option<Which>, Failure> {
        if let Some(seq) = self.seq {
            return Ok(Some(Which::Seq(seq)));
        }
        let code = self.url.as_deref().and_then(Which::code);
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
        if code.is_some() && words.iter().any(|word| word.is_some()) {
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

fn lint(dir: &Path, json: bool) -> Result<(), Failure> {
    let sources = read(dir)?;
    let loaded = load(dir)?;
    let mut found = loaded.warnings;
    found.extend(loaded.policy.lint(Some(clock::unix())));
    found.sort_by_key(|finding| (finding.span.file, finding.span.start));
    if json {
        for finding in findings(&sources, &found) {
            out::json(&finding);
        }
    } else if found.is_empty() {
        out::line(&format!("{}: nothing found", dir.display()));
    } else {
        out::line(&render::all(&sources, &found));
    }
    Ok(())
}
