//! `postern policy explain D-…` and `policy record`: one decision on record, asked again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Folder, read, refused};
use crate::audit::again::{self, Decided, Line};
use crate::audit::newest::Bounds;
use crate::audit::query;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Global, block_on, out, reading};
use crate::config::Config;
use crate::control::{Operator, Remote, UpstreamStatus};
use crate::explain::end::{End, OfRequest, Trail};
use crate::explain::{self, Then, Which};
use crate::reload::history::History;
use crate::secrets::Keys;

/// The help of `policy record`.
pub(super) const RECORD: &str = "Examples:
  postern policy record 4711 >> policy/tests.toml
  postern policy record D-7K3QXN2A

The test expects what is on record. If the policy in force answers otherwise, that is said on stderr.";

/// A command may read all of the journal.
const ALL: Bounds = Bounds {
    bytes: u64::MAX,
    time: Duration::MAX,
};

/// Which decision.
#[derive(Debug, Args)]
pub(crate) struct Record {
    #[command(flatten)]
    folder: Folder,
    /// The record
    #[arg(
        value_name = "SEQ|D-XXXXXXXX|ID",
        help = "The record's number in the journal, the code of a denied page, or the id of a request"
    )]
    which: String,
}

/// Reads how a decision is named.
fn named(text: &str) -> Result<Which, Failure> {
    Which::parse(text).ok_or_else(|| {
        let text = format!(
            "{text:?} is no number of a record, no code such as D-7K3QXN2A and no id of a request"
        );
        Failure::new(Exit::Usage, text)
    })
}

/// Finds it in the configured journal; that it was read is recorded there.
fn find(which: &Which, command: &str, global: &Global) -> Result<Box<Decided>, Failure> {
    let config = global.config()?;
    let dir = &config.data.join("audit");
    let line = match which {
        Which::Seq(seq) => query::by_seq(dir, *seq),
        Which::Code(code) => query::by_code(dir, code),
        Which::Request(id) => Trail::read(dir, id, ALL).map(|trail| trail.decision),
    };
    reading::note(&config, &format!("{command} {which}"));
    let line = line
        .map_err(|e| unreadable(dir, &e))?
        .ok_or_else(|| missing(which, dir))?;
    match again::read(&line) {
        Line::Decided(decided) => Ok(decided),
        Line::Lost(lost, _) => Err(Failure::new(
            Exit::Data,
            format!("{which} cannot be decided again: {}", lost.why()),
        )),
        Line::Other => {
            let text = format!("{which} is no decision:\n{}", query::show(&line));
            Err(Failure::new(Exit::Data, text))
        }
    }
}

fn missing(which: &Which, dir: &Path) -> Failure {
    let hint = match which {
        Which::Seq(_) => "",
        Which::Code(_) => "; of a flood from nobody signed in, codes are not kept",
        Which::Request(_) => {
            "; of a flood from nobody signed in, ids are not kept; to ask about an address, write https://host/path"
        }
    };
    let text = format!("{which} is not in the journal at {}{hint}", dir.display());
    Failure::new(Exit::Data, text)
}

/// Says that the journal cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let text = format!("reading the journal at {}: {error}", path.display());
    Failure::new(Exit::Unavailable, text)
}

/// Writes a decision on record as a test.
///
/// # Errors
/// [`Exit::Data`] if there is none that can be taken again, [`Exit::Config`] for a policy that does not load.
pub(super) fn record(asked: &Record, global: &Global) -> Result<(), Failure> {
    let which = named(&asked.which)?;
    let decided = find(&which, "policy record", global)?;
    let policy = super::load(&asked.folder.dir(global)?)?.policy;
    let now = explain::now(&policy, &decided);
    let mut input = decided.input;
    let same = now.outcome == input.outcome;
    if same {
        // the rule may have been renamed since
        input.rule.clone_from(&now.rule);
    } else {
        input.rule.clear();
        out::note(&format!(
            "note: {which} was answered {}; the policy now answers {} by {}, so this test fails until that is changed",
            input.outcome, now.outcome, now.rule
        ));
    }
    if global.json {
        out::json(&RecordAnswer {
            seq: input.seq,
            test: &input.to_test(),
            passes: same,
        });
    } else {
        out::raw(&input.to_test());
    }
    Ok(())
}

#[derive(Serialize)]
struct RecordAnswer<'a> {
    seq: u64,
    test: &'a str,
    passes: bool,
}

/// Explains a decision on record by the policy that took it, if its files are still kept, and by that of now.
///
/// # Errors
/// Those of [`record`].
pub(super) fn explain(which: &Which, folder: &Folder, global: &Global) -> Result<(), Failure> {
    if let Which::Request(id) = which {
        return request(id, folder, global);
    }
    let decided = find(which, "policy explain", global)?;
    let dir = folder.dir(global)?;
    let (sources, policy) = (read(&dir)?, super::load(&dir)?.policy);
    let (mut past, error) = explain::again(&policy, &decided);
    let then = past.policy_changed.then(|| of_then(&decided, global));
    let then = then.flatten();
    past.note(then.as_ref());
    if global.json {
        out::json(&past);
        return Ok(());
    }
    out::raw(&past.whole_text(then.as_ref(), &policy, Some(&sources)));
    error.map_or(Ok(()), |error| Err(refused(error)))
}

/// Explains a request: the decision on it, how it ended, and how its upstreams do now.
fn request(id: &str, folder: &Folder, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let dir = &config.data.join("audit");
    let which = Which::Request(id.to_owned());
    let trail = Trail::read(dir, id, ALL);
    reading::note(&config, &format!("policy explain {which}"));
    let trail = trail.map_err(|e| unreadable(dir, &e))?;
    if trail.is_empty() {
        return Err(missing(&which, dir));
    }
    let dir = folder.dir(global)?;
    let (sources, policy) = (read(&dir)?, super::load(&dir)?.policy);
    let mut answer = OfRequest {
        request_id: id.to_owned(),
        decision: None,
        why_not: None,
        end: None,
    };
    let mut text = String::new();
    match trail.decision.as_deref().map(again::read) {
        Some(Line::Decided(decided)) => {
            let (mut past, error) = explain::again(&policy, &decided);
            let then = past.policy_changed.then(|| of_then(&decided, global));
            let then = then.flatten();
            past.note(then.as_ref());
            text = past.whole_text(then.as_ref(), &policy, Some(&sources));
            answer.why_not = error.map(|error| error.title);
            answer.decision = Some(past);
        }
        Some(Line::Lost(lost, _)) => answer.why_not = Some(lost.why().to_owned()),
        Some(Line::Other) | None => {
            answer.why_not = Some("no decision on it is on record".to_owned());
        }
    }
    if answer.decision.is_none()
        && let Some(line) = &trail.decision
    {
        text.push_str(&format!("{}\n", query::show(line)));
    }
    if let Some(why) = &answer.why_not {
        text.push_str(&format!("{which} cannot be explained: {why}\n"));
    }
    text.push_str(&trail.others_text());
    if let Some(line) = &trail.ended {
        let app_of = |host: &str| explain::app_of(&policy, host);
        answer.end = End::read(line, upstreams(&config), &app_of);
    }
    text.extend(answer.end.as_ref().map(End::to_text));
    if global.json {
        out::json(&answer);
    } else {
        out::raw(&text);
    }
    Ok(())
}

/// Asks the running gateway how its upstreams do; nothing is known where none runs.
fn upstreams(config: &Config) -> Vec<UpstreamStatus> {
    let asked = block_on(async {
        match Remote::find(&config.control_socket()).await? {
            Some(gateway) => Ok(gateway.status().await?.upstreams),
            None => Ok(Vec::new()),
        }
    });
    asked.unwrap_or_default()
}

/// Asks the policy that took a decision, if the gateway still keeps it.
fn of_then(decided: &Decided, global: &Global) -> Option<Then> {
    let config = global.config().ok()?;
    let keys = Arc::new(Keys::load(&config.master_key).ok()?);
    let folder = History::peek(&config.data, keys, decided.policy.as_deref()?)?;
    Then::ask(folder.sources(&config.policy_dir), decided)
}

#[cfg(test)]
mod tests {
    use super::{Which, named};

    #[test]
    fn numbers_codes_and_ids_of_requests_name_a_record() {
        assert_eq!(named("4711").unwrap(), Which::Seq(4711));
        let code = Which::Code("D-7K3QXN2A".to_owned());
        assert_eq!(named("D-7K3QXN2A").unwrap(), code);
        assert_eq!(named("d-7k3qxn2a").unwrap(), code);
        for id in [
            "3nK5w0Qz6mYpA1bC7dEfGg",
            "D-nK5w0Qz6mYpA1bC7dEfGg",
            "trace-of-mine",
        ] {
            assert_eq!(named(id).unwrap(), Which::Request(id.to_owned()));
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "D-",
            "D-7K3QXN2",
            "D-7K3QXN20",
            "-1",
            "https://a.example/",
            "D-7K3QXN2AA",
            "short",
        ] {
            assert!(named(text).is_err(), "{text}");
        }
    }
}
