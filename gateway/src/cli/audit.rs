//! `postern audit`: reads the journal's files, with or without a running gateway.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::audit::query::{self, Cursor, Filter};
use crate::audit::{Event, reason, verify as check};
use crate::cli::reading;
use crate::clock;
use crate::config::Config;
use crate::ids;
use crate::secrets::Keys;

const OK: u8 = 0;
const USAGE: u8 = 64;
const BAD_DATA: u8 = 65;

/// How often `tail -f` looks for new records.
const POLL: Duration = Duration::from_millis(200);

/// Read and check the audit journal.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the last records
    Tail(TailArgs),
    /// Show the records that match all filters, oldest first
    #[command(after_help = SEARCH)]
    Search(SearchArgs),
    /// Check every record; exit code 65 names file, line and record of each fault
    Verify,
}

const SEARCH: &str = "Examples:
  postern audit search --user ines --since 1d
  postern audit search --request 3nK5w0Qz6mYpA1bC7dEfGg     all there is of one request
  postern audit search --event request-ended --outcome failed --since 2h --json";

/// Arguments of `audit tail`.
#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    /// How many records
    #[arg(short = 'n', long = "lines", default_value_t = 20)]
    lines: usize,
    /// Go on showing new records as they are written
    #[arg(short, long)]
    follow: bool,
}

/// Arguments of `audit search`.
#[derive(Args, Debug)]
pub(crate) struct SearchArgs {
    /// Name of the person
    #[arg(long)]
    user: Option<String>,
    /// Host of the request
    #[arg(long)]
    host: Option<String>,
    /// Outcome: allow, deny, login, step-up, ok, failed, limited or cut
    #[arg(long)]
    outcome: Option<String>,
    /// Reason code, such as no-rule or sensitive-limited
    #[arg(long)]
    reason: Option<String>,
    /// Id of a request, as the page of an error shows it
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Event, such as signed-in or signed-in.1
    #[arg(long)]
    event: Option<String>,
    /// Not older than: RFC 3339 time, day, or age such as 30m, 2h, 1d
    #[arg(long)]
    since: Option<String>,
    /// Only the newest so many
    #[arg(long)]
    limit: Option<usize>,
}

impl TailArgs {
    /// The command as the record of it has it.
    fn words(&self) -> String {
        let follow = if self.follow { " --follow" } else { "" };
        format!("audit tail -n {}{follow}", self.lines)
    }
}

impl SearchArgs {
    /// The command as the record of it has it.
    fn words(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let filters = [
            ("user", &self.user),
            ("host", &self.host),
            ("outcome", &self.outcome),
            ("reason", &self.reason),
            ("request", &self.request),
            ("event", &self.event),
            ("since", &self.since),
            ("limit", &limit),
        ];
        let mut words = "audit search".to_owned();
        for (name, value) in filters {
            words.extend(value.as_ref().map(|value| format!(" --{name} {value}")));
        }
        words
    }
}

/// Runs one of the audit commands and returns its exit code.
///
/// # Errors
/// If the journal, or for `verify` the master key, cannot be read.
pub(crate) fn run(cmd: &AuditCommand, config: &Config, json: bool) -> anyhow::Result<u8> {
    let dir = config.data.join("audit");
    match cmd {
        AuditCommand::Tail(args) => {
            reading::note(config, &args.words());
            tail(args, &dir, json)
        }
        AuditCommand::Search(args) => {
            reading::note(config, &args.words());
            search(args, &dir, json)
        }
        AuditCommand::Verify => verify(&dir, &config.master_key, json),
    }
}

/// Shows the last records, and with `-f` new ones until the reader goes away.
///
/// # Errors
/// If the journal cannot be read.
pub(crate) fn tail(args: &TailArgs, dir: &Path, json: bool) -> anyhow::Result<u8> {
    let mut cursor = Cursor::before_last(dir, args.lines).with_context(|| reading(dir))?;
    loop {
        let result = print(json, |sink| cursor.advance(sink));
        if result.with_context(|| reading(dir))? == Reader::Gone || !args.follow {
            return Ok(OK);
        }
        pause();
    }
}

/// Shows the records that match.
///
/// # Errors
/// If the journal cannot be read.
pub(crate) fn search(args: &SearchArgs, dir: &Path, json: bool) -> anyhow::Result<u8> {
    let filter = match filter(args, clock::unix_ms()) {
        Ok(filter) => filter,
        Err(why) => {
            complain(&why);
            return Ok(USAGE);
        }
    };
    print(json, |sink| query::search(dir, &filter, sink)).with_context(|| reading(dir))?;
    Ok(OK)
}

/// Checks the journal: 0 if it is whole, 65 with the faults named.
///
/// # Errors
/// If the journal or the master key cannot be read.
pub(crate) fn verify(dir: &Path, master_key: &Path, json: bool) -> anyhow::Result<u8> {
    let keys = Keys::load(master_key)?;
    let report = check::verify(dir, &keys.derive_all("audit")).with_context(|| reading(dir))?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        for fault in &report.faults {
            writeln!(out, "{fault}")?;
        }
        let (records, files, faults) = (report.records, report.files, report.faults_in_all);
        writeln!(out, "{records} records in {files} files, {faults} faults")?;
    }
    Ok(if report.ok { OK } else { BAD_DATA })
}

fn filter(args: &SearchArgs, now: u64) -> Result<Filter, String> {
    const OUTCOMES: [&str; 8] = [
        "allow", "deny", "login", "step-up", "ok", "failed", "limited", "cut",
    ];
    let event = match &args.event {
        None => None,
        Some(name) => Some(Event::named(name).ok_or_else(|| format!("no event {name:?}"))?),
    };
    let since = match &args.since {
        None => None,
        Some(text) => {
            let bad = || format!("no time or age {text:?}: 2026-01-31T08:00:00Z, 2h, 1d");
            Some(query::since(text, now).ok_or_else(bad)?)
        }
    };
    if let Some(outcome) = &args.outcome
        && !OUTCOMES.contains(&outcome.as_str())
    {
        return Err(format!("no outcome {outcome:?}: {}", OUTCOMES.join(", ")));
    }
    if let Some(reason) = &args.reason
        && !reason::ALL.contains(&reason.as_str())
    {
        return Err(format!(
            "no reason code {reason:?}: {}",
            reason::ALL.join(", ")
        ));
    }
    if let Some(id) = &args.request
        && !ids::is_request_id(id)
    {
        return Err(format!(
            "no id of a request {id:?}: 8 to 64 letters, digits, - or _, as the page of an error shows it"
        ));
    }
    Ok(Filter {
        user: args.user.clone(),
        host: args.host.clone(),
        outcome: args.outcome.clone(),
        reason: args.reason.clone(),
        request: args.request.clone(),
        event,
        since,
        limit: args.limit,
    })
}

#[derive(PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

/// Writes lines to stdout; a reader that closes it ends the command without an error.
fn print(
    json: bool,
    read: impl FnOnce(&mut query::Sink<'_>) -> io::Result<()>,
) -> io::Result<Reader> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = read(&mut |line| {
        if json {
            out.write_all(line)?;
        } else {
            out.write_all(query::show(line).as_bytes())?;
        }
        out.write_all(b"\n")
    });
    match result.and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(e) => Err(e),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command has no runtime and nothing else to do"
)]
fn pause() {
    std::thread::sleep(POLL);
}

fn reading(dir: &Path) -> String {
    format!("reading the journal at {}", dir.display())
}

fn complain(why: &str) {
    // stderr may be closed, and there is no better place to say so
    drop(writeln!(io::stderr(), "postern: {why}"));
}

#[cfg(test)]
mod tests {
    use super::{SearchArgs, filter};
    use crate::audit::Event;

    fn args() -> SearchArgs {
        SearchArgs {
            user: None,
            host: None,
            outcome: None,
            reason: None,
            request: None,
            event: None,
            since: None,
            limit: None,
        }
    }

    #[test]
    fn filters_are_read() {
        let args = SearchArgs {
            event: Some("signed-in".into()),
            outcome: Some("ok".into()),
            since: Some("2h".into()),
            ..args()
        };
        let filter = filter(&args, 7_200_001).unwrap();
        assert_eq!(filter.event, Some(Event::SignedIn));
        assert_eq!(filter.since, Some(1));
    }

    #[test]
    fn a_command_is_recorded_with_its_filters() {
        let args = SearchArgs {
            user: Some("ann".into()),
            limit: Some(5),
            ..args()
        };
        assert_eq!(args.words(), "audit search --user ann --limit 5");
    }

    #[test]
    fn a_filter_that_can_match_nothing_is_a_usage_error() {
        let bad = [
            SearchArgs {
                event: Some("x".into()),
                ..args()
            },
            SearchArgs {
                outcome: Some("x".into()),
                ..args()
            },
            SearchArgs {
                since: Some("x".into()),
                ..args()
            },
            SearchArgs {
                request: Some("short".into()),
                ..args()
            },
        ];
        for bad in bad {
            assert!(filter(&bad, 0).is_err());
        }
    }
}
