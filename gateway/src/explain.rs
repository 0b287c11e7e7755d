//! Decisions explained: one on record asked again, and the lines of the policy behind an answer.
//!
//! The command line and the console say the same because both say this.

pub(crate) mod end;

use policy::{Explanation, Outcome, Policy, QueryError, Replayer, Sources};
use serde::Serialize;

use crate::audit::again::{Decided, Said};
use crate::cli::render;
use crate::identity::Due;
use crate::ids;

/// Longer than a code with a letter too many, and shorter than the ids the gateway draws.
const CODE_MOST: usize = 12;

/// How a decision on record is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// By its number.
    Seq(u64),
    /// By the code its page showed.
    Code(String),
    /// By the id of its request, which every page of an error shows.
    Request(String),
}

impl Which {
    /// Reads a code, in either case; anything else is none.
    pub(crate) fn code(text: &str) -> Option<Self> {
        let code = text.to_ascii_uppercase();
        let drawn = code.strip_prefix("D-")?;
        let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
        (drawn.len() == 8 && drawn.bytes().all(base32)).then_some(Self::Code(code))
    }

    /// Reads the id of a request; what looks like a code that was mistyped is none.
    pub(crate) fn request(text: &str) -> Option<Self> {
        let is_code =
            text.len() <= CODE_MOST && text.get(..2).is_some_and(|c| c.eq_ignore_ascii_case("D-"));
        (ids::is_request_id(text) && !is_code).then(|| Self::Request(text.to_owned()))
    }

    /// Reads a code or the id of a request.
    pub(crate) fn shown(text: &str) -> Option<Self> {
        Self::code(text).or_else(|| Self::request(text))
    }

    /// Reads a number, a code or the id of a request.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let seq = text.parse().ok().map(Self::Seq);
        seq.or_else(|| Self::shown(text))
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "record {seq}"),
            Self::Code(code) => write!(f, "the decision {code}"),
            Self::Request(id) => write!(f, "the request {id}"),
        }
    }
}

/// Finds the id of the app that a host belongs to.
pub(crate) fn app_of(policy: &Policy, host: &str) -> Option<String> {
    let host = policy::canon::host(host).ok()?;
    let app = policy.app_for(&host)?;
    Some(policy.app(app).id.to_string())
}

/// What the policy of now answers to a question on record.
pub(crate) fn now(policy: &Policy, decided: &Decided) -> Said {
    let decision = Replayer::new(policy).decide(&decided.input);
    Said {
        outcome: decision.outcome,
        rule: policy.rule(decision.rule).id.to_string(),
    }
}

/// The answer of `policy explain` about a decision on record; the shape is a contract with scripts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Past {
    /// The record's number in the journal.
    pub(crate) seq: u64,
    /// When it was written.
    pub(crate) time: String,
    /// What a denied page showed.
    pub(crate) code: Option<String>,
    /// The person the record names.
    pub(crate) user: Option<String>,
    /// Where it came from.
    pub(crate) source: std::net::IpAddr,
    /// The zones of the source then.
    pub(crate) zones: String,
    /// What was asked for.
    pub(crate) target: String,
    /// What the policy answered then.
    pub(crate) then: Said,
    /// Why the gateway refused it all the same.
    pub(crate) refused: Option<String>,
    /// What rules in shadow would have answered.
    pub(crate) shadow: Option<Said>,
    /// Digest of the policy of then.
    pub(crate) policy_then: Option<String>,
    /// Digest of the policy of now.
    pub(crate) policy_now: String,
    /// Whether those are two.
    pub(crate) policy_changed: bool,
    /// What the policy answers now.
    pub(crate) now: Said,
    /// Whether that is another outcome.
    pub(crate) differs: bool,
    /// By the policy of now; `None` if it does not know the person.
    pub(crate) explanation: Option<Explanation>,
    /// By the policy of then, where that is another one and its files are still kept.
    pub(crate) explanation_then: Option<Explanation>,
}

/// Asks a decision on record again, by the policy of now. The error is why it cannot be explained: that policy does
/// not know the person.
pub(crate) fn again(policy: &Policy, decided: &Decided) -> (Past, Option<QueryError>) {
    let query = policy.query_of(&decided.input);
    let explanation = query.as_ref().ok().map(|query| policy.explain(query));
    let input = &decided.input;
    let then = Said {
        outcome: input.outcome,
        rule: input.rule.clone(),
    };
    let now = now(policy, decided);
    let past = Past {
        seq: input.seq,
        time: decided.time.clone(),
        code: decided.code.clone(),
        user: decided.user.clone(),
        source: input.source,
        zones: decided.zones.clone(),
        target: input.target.to_string(),
        refused: decided.refused.clone(),
        shadow: decided.shadow.clone(),
        policy_then: decided.policy.clone(),
        policy_now: policy.digest().to_owned(),
        policy_changed: decided.policy.as_deref() != Some(policy.digest()),
        differs: then.outcome != now.outcome,
        then,
        now,
        explanation,
        explanation_then: None,
    };
    (past, query.err())
}

/// The policy that took a decision, with what it says of it.
pub(crate) struct Then {
    sources: Sources,
    policy: Policy,
    explanation: Explanation,
}

impl Then {
    /// Asks the policy of kept files; `None` if it does not load any more or does not know the person.
    pub(crate) fn ask(sources: Sources, decided: &Decided) -> Option<Self> {
        let policy = policy::load(&sources).ok()?.policy;
        let query = policy.query_of(&decided.input).ok()?;
        let explanation = policy.explain(&query);
        Some(Self {
            sources,
            policy,
            explanation,
        })
    }
}

impl Past {
    /// Notes what the policy of then says.
    pub(crate) fn note(&mut self, then: Option<&Then>) {
        self.explanation_then = then.map(|then| then.explanation.clone());
    }

    /// Tells all of it for people, with the lines of the policies that decided.
    pub(crate) fn whole_text(
        &self,
        then: Option<&Then>,
        policy: &Policy,
        sources: Option<&Sources>,
    ) -> String {
        let mut text = self.to_text();
        if let Some(then) = then {
            text.push_str("\nby the policy of then:\n");
            text.push_str(&then.explanation.to_text());
            text.push_str(&excerpts(&then.sources, &then.policy, &then.explanation));
            text.push_str("\nby the policy of now:");
        }
        if let Some(explanation) = &self.explanation {
            text.push_str(&format!("\n{}", explanation.to_text()));
            if let Some(sources) = sources {
                text.push_str(&excerpts(sources, policy, explanation));
            }
        }
        text
    }

    /// Tells it for people, a few lines ending in a line break; the explanation is apart.
    pub(crate) fn to_text(&self) -> String {
        let who = self.user.as_deref().unwrap_or("nobody signed in");
        let code = self
            .code
            .as_ref()
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
        if let Some(why) = &self.refused {
            let words = Due::of(why).map_or(String::new(), |due| format!(" ({})", due.words()));
            text.push_str(&format!("  the gateway refused it: {why}{words}\n"));
        }
        text.push_str(&format!("  the policy answered {}\n", self.then));
        if let Some(shadow) = &self.shadow {
            text.push_str(&format!("  with the rules in shadow: {shadow}\n"));
        }
        text.push_str(&match (self.policy_changed, self.differs) {
            (false, false) => format!(
                "  the policy has not changed since ({})\n",
                short(&self.policy_now)
            ),
            (true, false) => format!(
                "  the policy has changed since ({} to {}); its answer has not\n",
                short(self.policy_then.as_deref().unwrap_or("unknown")),
                short(&self.policy_now)
            ),
            (false, true) => format!(
                "  the policy has not changed since ({}), but its answer would now be {}\n",
                short(&self.policy_now),
                self.now
            ),
            (true, true) => format!(
                "  the policy has changed since ({} to {}); its answer would now be {}\n",
                short(self.policy_then.as_deref().unwrap_or("unknown")),
                short(&self.policy_now),
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
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Shows the lines of the policy that decided, each with what it said.
pub(crate) fn excerpts(sources: &Sources, policy: &Policy, explanation: &Explanation) -> String {
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
