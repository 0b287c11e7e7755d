//! `postern policy explain D-…` and `policy record`: one decision on record, asked again.

use std::path::Path;

use clap::Args;
use policy::{Explanation, Outcome, Policy, Replayer, Sources};
use serde::Serialize;

use super::{Folder, read, refused};
use crate::audit::again::{self, Decided, Line, Said};
use crate::audit::query;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Global, out, reading, render};

/// The help of `policy record`.
pub(super) const RECORD: &str = "Examples:
  postern policy record 4711 >> policy/tests.toml
  postern policy record D-7K3QXN2A

The test expects what is on record. If the policy in force answers otherwise, that is said on stderr.";

/// Which decision.
#[derive(Debug, Args)]
pub(crate) struct Record {
    #[command(flatten)]
    folder: Folder,
    /// The record
    #[arg(
        value_name = "SEQ|D-XXXXXXXX",
        help = "The record's number in the journal, or the code of a denied page"
    )]
    which: String,
}

/// How a decision on record is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// By its number.
    Seq(u64),
    /// By the code its page showed.
    Code(String),
}

impl Which {
    /// Reads a code, in either case; anything else is none.
    pub(super) fn code(text: &str) -> Option<Self> {
        let code = text.to_ascii_uppercase();
        let drawn = code.strip_prefix("D-")?;
        let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
        (drawn.len() == 8 && drawn.bytes().all(base32)).then_some(Self::Code(code))
    }

    fn read(text: &str) -> Result<Self, Failure> {
        let seq = text.parse().ok().map(Self::Seq);
        seq.or_else(|| Self::code(text)).ok_or_else(|| {
            let text = format!("{text:?} is no number of a record and no code such as D-7K3QXN2A");
            Failure::new(Exit::Usage, text)
        })
    }

    /// Finds it in the configured journal; that it was read is recorded there.
    fn find(&self, command: &str, global: &Global) -> Result<Box<Decided>, Failure> {
        let config = global.config()?;
        let dir = &config.data.join("audit");
        let line = match self {
            Self::Seq(seq) => query::by_seq(dir, *seq),
            Self::Code(code) => query::by_code(dir, code),
        };
        reading::note(&config, &format!("{command} {self}"));
        let line = line
            .map_err(|e| unreadable(dir, &e))?
            .ok_or_else(|| self.missing(dir))?;
        match again::read(&line) {
            Line::Decided(decided) => Ok(decided),
            Line::Lost(lost, _) => Err(Failure::new(
                Exit::Data,
                format!("{self} cannot be decided again: {}", lost.why()),
            )),
            Line::Other => {
                let text = format!("{self} is no decision:\n{}", query::show(&line));
                Err(Failure::new(Exit::Data, text))
            }
        }
    }

    fn missing(&self, dir: &Path) -> Failure {
        let hint = match self {
            Self::Seq(_) => "",
            Self::Code(_) => "; of a flood from nobody signed in, codes are not kept",
        };
        let text = format!("{self} is not in the journal at {}{hint}", dir.display());
        Failure::new(Exit::Data, text)
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "record {seq}"),
            Self::Code(code) => write!(f, "the decision {code}"),
        }
    }
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
    let which = Which::read(&asked.which)?;
    let decided = which.find("policy record", global)?;
    let policy = super::load(&asked.folder.dir(global)?)?.policy;
    let now = now(&policy, &decided);
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

fn now(policy: &Policy, decided: &Decided) -> Said {
    let decision = Replayer::new(policy).decide(&decided.input);
    Said {
        outcome: decision.outcome,
        rule: policy.rule(decision.rule).id.to_string(),
    }
}

/// The answer of `policy explain` about a decision on record; the shape is a contract with scripts.
#[derive(Serialize)]
struct PastAnswer<'a> {
    seq: u64,
    time: &'a str,
    code: Option<&'a str>,
    user: Option<&'a str>,
    source: std::net::IpAddr,
    zones: &'a str,
    target: String,
    /// What the policy answered then.
    then: Said,
    /// Why the gateway refused it all the same.
    refused: Option<&'a str>,
    shadow: Option<&'a Said>,
    /// Digest of the policy of then.
    policy_then: Option<&'a str>,
    policy_now: &'a str,
    policy_changed: bool,
    now: Said,
    differs: bool,
    /// By the policy of now; `None` if it does not know the person.
    explanation: Option<Explanation>,
}

/// Explains a decision on record by the policy of now, and says whether that is still the one that decided.
///
/// # Errors
/// Those of [`record`].
pub(super) fn explain(which: &Which, folder: &Folder, global: &Global) -> Result<(), Failure> {
    let decided = which.find("policy explain", global)?;
    let dir = folder.dir(global)?;
    let (sources, policy) = (read(&dir)?, super::load(&dir)?.policy);
    let query = policy.query_of(&decided.input);
    let explanation = query.as_ref().ok().map(|query| policy.explain(query));
    let input = &decided.input;
    let then = Said {
        outcome: input.outcome,
        rule: input.rule.clone(),
    };
    let now = now(&policy, &decided);
    let answer = PastAnswer {
        seq: input.seq,
        time: &decided.time,
        code: decided.code.as_deref(),
        user: decided.user.as_deref(),
        source: input.source,
        zones: &decided.zones,
        target: input.target.to_string(),
        refused: decided.refused.as_deref(),
        shadow: decided.shadow.as_ref(),
        policy_then: decided.policy.as_deref(),
        policy_now: policy.digest(),
        policy_changed: decided.policy.as_deref() != Some(policy.digest()),
        differs: then.outcome != now.outcome,
        then,
        now,
        explanation,
    };
    if global.json {
        out::json(&answer);
        return Ok(());
    }
    out::raw(&answer.to_text());
    match (&answer.explanation, query) {
        (Some(explanation), _) => {
            out::raw(&format!("\n{}", explanation.to_text()));
            out::raw(&excerpts(&sources, &policy, explanation));
        }
        (None, Err(error)) => return Err(refused(error)),
        (None, Ok(_)) => {}
    }
    Ok(())
}

impl PastAnswer<'_> {
    fn to_text(&self) -> String {
        let who = self.user.unwrap_or("nobody signed in");
        let code = self
            .code
            .map(|code| format!("  {code}"))
            .unwrap_or_default();
        let place = if self.zones.is_empty() {
            self.source.to_string()
        } else {
            format!("{} ({})", self.source, self.zones)
        };
        let mut text = format!(
            "record {}  {}{code}\n  {who}, from {place}, asked for {}\n",
            self.seq, self.time, self.target
        );
        if let Some(why) = self.refused {
            text.push_str(&format!("  the gateway refused it: {why}\n"));
        }
        text.push_str(&format!("  the policy answered {}\n", self.then));
        if let Some(shadow) = self.shadow {
            text.push_str(&format!("  with the rules in shadow: {shadow}\n"));
        }
        text.push_str(&match (self.policy_changed, self.differs) {
            (false, false) => format!(
                "  the policy has not changed since ({})\n",
                short(self.policy_now)
            ),
            (true, false) => format!(
                "  the policy has changed since ({} to {}); its answer has not\n",
                short(self.policy_then.unwrap_or("unknown")),
                short(self.policy_now)
            ),
            (false, true) => format!(
                "  the policy has not changed since ({}), but its answer would now be {}\n",
                short(self.policy_now),
                self.now
            ),
            (true, true) => format!(
                "  the policy has changed since ({} to {}); its answer would now be {}\n",
                short(self.policy_then.unwrap_or("unknown")),
                short(self.policy_now),
                self.now
            ),
        });
        text
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.rule.is_empty() {
            return write!(f, "{}", self.outcome);
        }
        write!(f, "{} by {}", self.outcome, self.rule)
    }
}

/// The first digits of a digest, as people compare them.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Shows the lines of the policy that decided, each with what it said.
pub(super) fn excerpts(sources: &Sources, policy: &Policy, explanation: &Explanation) -> String {
    let decided = policy.rule_named(&explanation.rule);
    let mut marks: Vec<render::Mark<'_>> = Vec::new();
    if let Some(rule) = decided {
        let label = rule.reason.as_deref().unwrap_or("this rule decided");
        marks.push(render::Mark {
            file: &rule.file,
            line: rule.line,
            label,
        });
    }
    for allow in explanation
        .allows
        .iter()
        .filter(|allow| allow.rule != explanation.rule)
    {
        if let Some(rule) = policy.rule_named(&allow.rule) {
            marks.push(render::Mark {
                file: &rule.file,
                line: rule.line,
                label: &allow.why,
            });
        }
    }
    if explanation.outcome != Outcome::Allow
        && let Some(why) = explanation
            .allows
            .iter()
            .find(|allow| allow.rule == explanation.rule)
        && let Some(first) = marks.first_mut()
    {
        first.label = &why.why;
    }
    let shown = render::marked(sources, &marks);
    if shown.is_empty() {
        shown
    } else {
        format!("\n{shown}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::Which;

    #[test]
    fn codes_and_numbers_name_a_record() {
        assert_eq!(Which::read("4711").unwrap(), Which::Seq(4711));
        let code = Which::Code("D-7K3QXN2A".to_owned());
        assert_eq!(Which::read("D-7K3QXN2A").unwrap(), code);
        assert_eq!(Which::read("d-7k3qxn2a").unwrap(), code);
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
        ] {
            assert!(Which::read(text).is_err(), "{text}");
        }
    }
}
