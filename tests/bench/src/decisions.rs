//! Policy: loading generated rules, and decisions under them.

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use policy::canon::{self, CanonHost};
use policy::{Context, Device, Outcome, Policy, Sources, Subject, SubjectBits, ZoneClass};

use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};

/// Rules of a policy, and the ns a decision under it may take.
const SIZES: [(usize, f64); 3] = [(10, 100.0), (1_000, 100.0), (10_000, 250.0)];
const RULES_PER_APP: usize = 10;
const USERS_PER_GROUP: usize = 10;
const QUESTIONS: usize = 8192;
const SPAN: Duration = Duration::from_millis(400);
const PATHS: [&str; 8] = [
    "/",
    "/bulletins/2026-10",
    "/admin",
    "/admin/users/17",
    "/api/v1/guarantees",
    "/api/v1/guarantees/7/documents",
    "/health",
    "/static/app.css",
];

/// All sizes in turn.
pub fn run(report: &Report) {
    let worlds: Vec<World> = SIZES.iter().map(|(rules, _)| World::new(*rules)).collect();
    let decide = interleaved(&worlds, ROUNDS, |world| world.time(World::decide));
    let whole = interleaved(&worlds, ROUNDS, |world| world.time(World::decide_from_text));
    for (at, (rules, most)) in SIZES.into_iter().enumerate() {
        let case = |what: &str| format!("{what}, {rules} rules");
        let ns = median(&decide[at], |ns| *ns);
        let row = Row::new("policy", case("decide"), "ns", ns);
        report.row(&row.goal(Goal::AtMost(most)));
        report.row(&Row::new("policy", case("decide"), "decisions/s", 1e9 / ns));
        let ns = median(&whole[at], |ns| *ns);
        report.row(&Row::new("policy", case("host, source too"), "ns", ns));
        report.row(&Row::new("policy", case("load"), "ms", worlds[at].load_ms));
    }
}

/// A policy and questions to it.
struct World {
    policy: Policy,
    load_ms: f64,
    subjects: Vec<SubjectBits>,
    questions: Vec<Question>,
}

struct Question {
    host_text: String,
    host: CanonHost,
    path: &'static str,
    method: &'static str,
    source: IpAddr,
    zone: ZoneClass,
    subject: usize,
}

impl World {
    fn new(rules: usize) -> Self {
        let text = rules_text(rules);
        let (policy, load_ms) = load(&text);
        let users = policy.users().map(|user| user.name.to_string());
        let subjects = users.filter_map(|name| policy.subject(&name)).collect();
        let mut world = Self {
            policy,
            load_ms,
            subjects,
            questions: Vec::new(),
        };
        let mut dice = Dice(1);
        world.questions = (0..QUESTIONS)
            .map(|_| world.question(&mut dice, apps(rules)))
            .collect();
        world.must_differ();
        world
    }

    fn question(&self, dice: &mut Dice, apps: usize) -> Question {
        let host_text = host(dice.below(apps));
        let office = dice.below(2) == 0;
        let source = if office {
            [10, 20, 3, 7]
        } else {
            [203, 0, 113, 9]
        };
        let source = IpAddr::from(Ipv4Addr::from(source));
        Question {
            host: canon::host(&host_text).unwrap(),
            host_text,
            path: PATHS[dice.below(PATHS.len())],
            method: if dice.below(4) == 0 { "POST" } else { "GET" },
            source,
            zone: self.policy.zone(source, false),
            subject: dice.below(self.subjects.len()),
        }
    }

    /// A benchmark that only ever allows or only ever denies would measure one branch.
    fn must_differ(&self) {
        let allowed = self
            .questions
            .iter()
            .filter(|q| self.decide(q) == Outcome::Allow);
        let allowed = allowed.count();
        assert!(
            allowed > 0 && allowed < QUESTIONS,
            "{allowed} of {QUESTIONS} questions are allowed"
        );
    }

    /// What a request costs once its host and source are known: the path's canonical form and
    /// the decision.
    fn decide(&self, question: &Question) -> Outcome {
        self.ask(question, &question.host, question.zone)
    }

    fn decide_from_text(&self, question: &Question) -> Outcome {
        let host = canon::host(&question.host_text).unwrap();
        let zone = self.policy.zone(question.source, false);
        self.ask(question, &host, zone)
    }

    fn ask(&self, question: &Question, host: &CanonHost, zone: ZoneClass) -> Outcome {
        let path = canon::path(question.path.as_bytes()).unwrap();
        let subject = Subject {
            bits: self.subjects.get(question.subject),
            mfa_age: Some(600),
            login_age: 3600,
            device: Device::Known,
        };
        let context = Context::new(zone, policy::TimeClass::default());
        let decision = self
            .policy
            .decide_http(&subject, host, &path, question.method, &context);
        decision.outcome
    }

    /// Nanoseconds a question.
    fn time(&self, ask: impl Fn(&Self, &Question) -> Outcome) -> f64 {
        let (begin, mut count) = (Instant::now(), 0_u32);
        while begin.elapsed() < SPAN {
            for question in &self.questions {
                black_box(ask(self, black_box(question)));
            }
            count += 1;
        }
        begin.elapsed().as_secs_f64() * 1e9 / f64::from(count) / QUESTIONS as f64
    }
}

/// Loads a policy three times; the median is in milliseconds.
fn load(text: &str) -> (Policy, f64) {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    let mut loaded = None;
    let figures = interleaved(&[()], ROUNDS, |()| {
        let begin = Instant::now();
        let result = policy::load(&sources);
        let took = begin.elapsed().as_secs_f64() * 1e3;
        loaded = Some(result.unwrap_or_else(|diags| {
            let said: Vec<_> = diags
                .iter()
                .take(5)
                .map(|d| format!("{}: {}", sources.locate(&d.span), d.title))
                .collect();
            panic!("the generated policy is refused: {said:#?}")
        }));
        took
    });
    let policy = loaded.map(|loaded| loaded.policy);
    (policy.unwrap(), median(&figures[0], |ms| *ms))
}

fn apps(rules: usize) -> usize {
    rules / RULES_PER_APP
}

fn host(app: usize) -> String {
    format!("app{app}.office.example")
}

/// Writes a policy with `rules` allows: ten an app over four areas, and as many groups as apps.
fn rules_text(rules: usize) -> String {
    let apps = apps(rules);
    let groups = apps.max(4);
    let mut text = String::from(
        "postern = 1\n\n[zone]\noffice = [\"10.20.0.0/16\", \"2001:db8:20::/48\"]\n\
         plant = [\"10.30.0.0/16\"]\n\n[group-optional]\nformer = []\n\n\
         [deny.left]\nwho = \"@former\"\nreason = \"account closed\"\n\n[group]\n",
    );
    for group in 0..groups {
        let first = group * USERS_PER_GROUP;
        let users: Vec<String> = (first..first + USERS_PER_GROUP)
            .map(|user| format!("\"u{user}\""))
            .collect();
        writeln!(text, "g{group} = [{}]", users.join(", ")).unwrap();
    }
    for app in 0..apps {
        text.push_str(&app_text(app, groups));
    }
    text
}

fn app_text(app: usize, groups: usize) -> String {
    let who = |nth: usize| format!("who = \"@g{}\"", (app + nth) % groups);
    format!(
        r#"
[app.a{app}]
host = "{host}"
upstream = "http://10.0.0.1:8080"
allow.a = {{ {a} }}
allow.b = {{ {b}, from = "office" }}
allow.c = {{ {c}, methods = "read" }}
allow.d = {{ {d}, from = ["plant", "tunnel"] }}
[app.a{app}."/admin"]
allow.a = {{ {a}, from = "office", mfa = "15m" }}
allow.d = {{ {d}, mfa = "5m" }}
[app.a{app}."/api/v1/guarantees"]
allow.a = {{ {a}, methods = ["GET", "POST"] }}
allow.c = {{ {c}, methods = "read", login = "8h" }}
[app.a{app}."=/health"]
allow.a = {{ {a} }}
allow.b = {{ {b} }}
"#,
        host = host(app),
        a = who(0),
        b = who(1),
        c = who(2),
        d = who(3),
    )
}

/// A small generator, the same numbers in every run (constants of Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[cfg(test)]
mod tests {
    use super::{SIZES, World, rules_text};

    #[test]
    fn a_policy_has_as_many_rules_as_it_says() {
        for (rules, _) in SIZES {
            assert_eq!(rules_text(rules).matches("\nallow.").count(), rules);
        }
    }

    #[test]
    fn the_generated_policy_loads_and_its_questions_have_several_answers() {
        assert!(World::new(1_000).load_ms > 0.0);
    }
}
