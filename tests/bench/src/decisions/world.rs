//! Generated policies, and the questions put to them.

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use policy::canon::{self, CanonHost, CanonPath};
use policy::{Context, Device, Outcome, Policy, Sources, Subject, SubjectBits, ZoneClass};

use super::cpu_ns;

pub const QUESTIONS: usize = 8192;
const SPAN_NS: u64 = 300_000_000;
pub const RULES_PER_APP: usize = 10;
pub const GROUPS: usize = 1000;
pub const USERS_PER_GROUP: usize = 10;
pub const USERS: usize = GROUPS * USERS_PER_GROUP;
/// Seconds since the last code, and since the sign-in, of everybody who asks.
pub const MFA_AGE: u32 = 600;
pub const LOGIN_AGE: u32 = 3600;

/// The areas of every app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    Root,
    Admin,
    Guarantees,
    Health,
}

/// One rule of every app.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub area: Area,
    pub name: &'static str,
    /// Who: the group that is so many behind the app's own.
    pub nth: usize,
    /// No zone is everywhere.
    pub from: &'static [&'static str],
    /// No method is all of them.
    pub methods: &'static [&'static str],
    /// Greatest age of the code in minutes.
    pub mfa: Option<u32>,
    /// Greatest age of the sign-in in hours.
    pub login: Option<u32>,
}

const PLAIN: Rule = Rule {
    area: Area::Root,
    name: "a",
    nth: 0,
    from: &[],
    methods: &[],
    mfa: None,
    login: None,
};

/// The rules of every app, area by area.
#[rustfmt::skip]
pub const RULES: [Rule; RULES_PER_APP] = [
    PLAIN,
    Rule { name: "b", nth: 1, from: &["office"], ..PLAIN },
    Rule { name: "c", nth: 2, methods: &["GET"], ..PLAIN },
    Rule { name: "d", nth: 3, from: &["plant", "tunnel"], ..PLAIN },
    Rule { area: Area::Admin, from: &["office"], mfa: Some(15), ..PLAIN },
    Rule { area: Area::Admin, name: "d", nth: 3, mfa: Some(5), ..PLAIN },
    Rule { area: Area::Guarantees, methods: &["GET", "POST"], ..PLAIN },
    Rule { area: Area::Guarantees, name: "c", nth: 2, methods: &["GET"], login: Some(8), ..PLAIN },
    Rule { area: Area::Health, ..PLAIN },
    Rule { area: Area::Health, name: "b", nth: 1, ..PLAIN },
];

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

const ZONES: [(&str, [u8; 4]); 3] = [
    ("office", [10, 20, 3, 7]),
    ("plant", [10, 30, 9, 1]),
    ("internet", [203, 0, 113, 9]),
];

/// A policy and questions to it.
#[derive(Debug)]
pub struct World {
    pub policy: Policy,
    subjects: Vec<SubjectBits>,
    paths: Vec<CanonPath<'static>>,
    pub questions: Vec<Question>,
}

/// One request.
#[derive(Debug)]
pub struct Question {
    pub host_text: String,
    host: CanonHost,
    pub path: &'static str,
    /// Which of the world's paths that is.
    path_at: usize,
    pub method: &'static str,
    source: IpAddr,
    pub zone_name: &'static str,
    zone: ZoneClass,
    pub app: usize,
    pub user: usize,
}

impl World {
    pub fn new(rules: usize) -> Self {
        let policy = load(&text(rules, ""));
        let subject = |user| policy.subject(&format!("u{user}")).unwrap();
        let subjects = (0..USERS).map(subject).collect();
        let mut dice = Dice(1);
        let apps = rules / RULES_PER_APP;
        let questions = (0..QUESTIONS)
            .map(|_| question(&policy, &mut dice, apps))
            .collect();
        let world = Self {
            policy,
            subjects,
            paths: PATHS.map(canonical).to_vec(),
            questions,
        };
        // a benchmark that only ever allows or only ever denies would measure one branch
        let allowed = world.allowed(Self::decide);
        assert!(
            (QUESTIONS / 10..QUESTIONS / 2).contains(&allowed),
            "{allowed} of {QUESTIONS} questions are allowed"
        );
        world
    }

    /// Nanoseconds of this thread a question, over all questions in turn.
    pub fn time(&self, ask: impl Fn(&Self, &Question) -> Outcome) -> f64 {
        let (begin, mut count) = (cpu_ns(), 0_u32);
        while cpu_ns() - begin < SPAN_NS {
            for question in &self.questions {
                black_box(ask(self, black_box(question)));
            }
            count += 1;
        }
        (cpu_ns() - begin) as f64 / f64::from(count) / QUESTIONS as f64
    }

    pub fn allowed(&self, ask: impl Fn(&Self, &Question) -> Outcome) -> usize {
        let questions = self.questions.iter();
        questions.filter(|q| ask(self, q) == Outcome::Allow).count()
    }

    /// The decision itself, of what is canonical already.
    pub fn decide(&self, question: &Question) -> Outcome {
        let path = &self.paths[question.path_at];
        self.ask(question, &question.host, path, question.zone)
    }

    /// What a request costs once its host and source are known: the path's canonical form and
    /// the decision.
    pub fn decide_from_path(&self, question: &Question) -> Outcome {
        let path = canonical(question.path);
        self.ask(question, &question.host, &path, question.zone)
    }

    pub fn decide_from_text(&self, question: &Question) -> Outcome {
        let host = canon::host(&question.host_text).unwrap();
        let zone = self.policy.zone(question.source, false);
        self.ask(question, &host, &canonical(question.path), zone)
    }

    fn ask(
        &self,
        question: &Question,
        host: &CanonHost,
        path: &CanonPath<'_>,
        zone: ZoneClass,
    ) -> Outcome {
        let bits = self.subjects.get(question.user);
        decide(&self.policy, question.method, bits, (host, path), zone)
    }
}

fn canonical(path: &'static str) -> CanonPath<'static> {
    canon::path(path.as_bytes()).unwrap()
}

impl Question {
    /// Asks a policy that other files made; the person is not signed in.
    pub fn ask(&self, policy: &Policy) -> Outcome {
        let zone = policy.zone(self.source, false);
        let place = (&self.host, &canonical(self.path));
        decide(policy, self.method, None, place, zone)
    }
}

fn decide(
    policy: &Policy,
    method: &str,
    bits: Option<&SubjectBits>,
    (host, path): (&CanonHost, &CanonPath<'_>),
    zone: ZoneClass,
) -> Outcome {
    let subject = Subject {
        bits,
        mfa_age: Some(MFA_AGE),
        login_age: LOGIN_AGE,
        device: Device::Known,
    };
    let context = Context::new(zone, policy::TimeClass::default());
    let decision = policy.decide_http(&subject, host, path, method, &context);
    decision.outcome
}

/// Half of the questions come from somebody of the groups the app knows.
fn question(policy: &Policy, dice: &mut Dice, apps: usize) -> Question {
    let app = dice.below(apps);
    let host_text = host(app);
    let (zone_name, source) = ZONES[dice.below(ZONES.len())];
    let source = IpAddr::from(Ipv4Addr::from(source));
    let user = if dice.below(2) == 0 {
        dice.below(USERS)
    } else {
        (app + dice.below(4)) % GROUPS * USERS_PER_GROUP + dice.below(USERS_PER_GROUP)
    };
    let path_at = dice.below(PATHS.len());
    Question {
        host: canon::host(&host_text).unwrap(),
        host_text,
        path: PATHS[path_at],
        path_at,
        method: if dice.below(4) == 0 { "POST" } else { "GET" },
        source,
        zone_name,
        zone: policy.zone(source, false),
        app,
        user,
    }
}

/// Reads and compiles a policy, which must be valid.
pub fn load(text: &str) -> Policy {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let said = diags.iter().take(5);
        let said = said.map(|d| format!("{}: {}", sources.locate(&d.span), d.title));
        let said: Vec<String> = said.collect();
        panic!("the generated policy is refused: {said:#?}")
    });
    loaded.policy
}

pub fn host(app: usize) -> String {
    format!("app{app}.office.example")
}

/// The group that rule `nth` of an app names.
pub fn group(app: usize, nth: usize) -> usize {
    (app + nth) % GROUPS
}

/// Writes a policy with `rules` allows, ten an app over four areas; `more` goes into the first rule.
pub fn text(rules: usize, more: &str) -> String {
    let mut text = String::from(
        "postern = 1\n\n[zone]\noffice = [\"10.20.0.0/16\", \"2001:db8:20::/48\"]\n\
         plant = [\"10.30.0.0/16\"]\n\n[group-optional]\nformer = []\n\n\
         [deny.left]\nwho = \"@former\"\nreason = \"account closed\"\n\n[group]\n",
    );
    for group in 0..GROUPS {
        let first = group * USERS_PER_GROUP;
        let users = (first..first + USERS_PER_GROUP).map(|user| format!("\"u{user}\""));
        let users: Vec<String> = users.collect();
        writeln!(text, "g{group} = [{}]", users.join(", ")).unwrap();
    }
    for app in 0..rules / RULES_PER_APP {
        app_text(&mut text, app, if app == 0 { more } else { "" });
    }
    text
}

/// A policy of [`text`] whose rules that name one method and no age hold from 8 o'clock to `end` only.
pub fn with_hours(text: &str, end: &str) -> String {
    let schedule =
        format!("\n[schedule.day]\ntime = \"08:00-{end}\"\ntz = \"Europe/Paris\"\n\n[group]\n");
    let narrow = "methods = [\"GET\"]";
    text.replacen("\n[group]\n", &schedule, 1).replace(
        &format!("{narrow} }}"),
        &format!("{narrow}, when = \"day\" }}"),
    )
}

fn app_text(text: &mut String, app: usize, more: &str) {
    let mut area = None;
    for (at, rule) in RULES.iter().enumerate() {
        if area != Some(rule.area) {
            area = Some(rule.area);
            text.push_str(&match rule.area {
                Area::Root => format!(
                    "\n[app.a{app}]\nhost = \"{}\"\nupstream = \"http://10.0.0.1:8080\"\n",
                    host(app)
                ),
                Area::Admin => format!("[app.a{app}.\"/admin\"]\n"),
                Area::Guarantees => format!("[app.a{app}.\"/api/v1/guarantees\"]\n"),
                Area::Health => format!("[app.a{app}.\"=/health\"]\n"),
            });
        }
        let more = if at == 0 { more } else { "" };
        text.push_str(&rule_text(rule, group(app, rule.nth), more));
    }
}

fn rule_text(rule: &Rule, group: usize, more: &str) -> String {
    let mut text = format!("allow.{} = {{ who = \"@g{group}\"", rule.name);
    for (key, list) in [("from", rule.from), ("methods", rule.methods)] {
        if !list.is_empty() {
            write!(text, ", {key} = {list:?}").unwrap();
        }
    }
    if let Some(minutes) = rule.mfa {
        write!(text, ", mfa = \"{minutes}m\"").unwrap();
    }
    if let Some(hours) = rule.login {
        write!(text, ", login = \"{hours}h\"").unwrap();
    }
    text + more + " }\n"
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
    use super::{World, text};

    #[test]
    fn a_policy_has_as_many_rules_as_it_says() {
        for rules in [10, 1000] {
            assert_eq!(text(rules, "").matches("\nallow.").count(), rules);
        }
    }

    #[test]
    fn answers_from_text_are_those_from_canonical_hosts() {
        let world = World::new(100);
        let allowed = world.allowed(World::decide);
        assert_eq!(allowed, world.allowed(World::decide_from_path));
        assert_eq!(allowed, world.allowed(World::decide_from_text));
    }
}
