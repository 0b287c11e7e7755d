//! The same rules and requests for general policy engines, indexed by host as ours are.
//!
//! Every peer gets what favours it: one policy set, program or expression an app, requests built
//! beforehand, canonical paths, and only the rules themselves (no defaults, rates or obligations).

mod cedar;
mod cel;
mod rego;

use std::collections::HashMap;

use crate::decisions::cpu_ns;
use crate::decisions::world::{Area, RULES, Rule, USERS_PER_GROUP, World};
use crate::report::{Goal, Report, Row};
use crate::rounds::{ROUNDS, interleaved, median};

/// Rules of the policy all engines decide under.
const RULES_OF_ALL: usize = 1_000;
const APPS: usize = RULES_OF_ALL / RULES.len();
/// A peer takes at least so many times as long.
const TIMES: f64 = 30.0;

/// Answers question `nth` of the world it was made for.
type Ask = Box<dyn FnMut(usize) -> bool>;

/// Ours, then each peer, in turn within one run.
pub fn run(report: &Report) {
    let world = World::new(RULES_OF_ALL);
    let allowed = world.allowed(World::decide_from_path);
    let names = ["cedar-policy", "regorus", "cel"];
    let mut asks = [
        cedar::build(&world),
        rego::build(&world),
        cel::build(&world),
    ];
    for (name, ask) in names.iter().zip(&mut asks) {
        let theirs = (0..world.questions.len()).filter(|nth| ask(*nth)).count();
        assert_eq!(allowed, theirs, "ours allows as many as {name}");
    }
    let figures = interleaved(&[0, 1, 2, 3], ROUNDS, |target| match target {
        0 => world.time(World::decide_from_path),
        peer => pass(&world, &mut asks[peer - 1]),
    });
    let ours = median(&figures[0], |ns| *ns);
    for (name, figures) in names.into_iter().zip(&figures[1..]) {
        let row = Row::new(
            "policy",
            format!("path and decision, {RULES_OF_ALL} rules"),
            "ns",
            ours,
        );
        let row = row.beside(name, median(figures, |ns| *ns));
        report.row(&row.goal(Goal::RatioAtMost(1.0 / TIMES)));
    }
}

/// Nanoseconds a question, over all questions once.
fn pass(world: &World, ask: &mut Ask) -> f64 {
    let begin = cpu_ns();
    for nth in 0..world.questions.len() {
        std::hint::black_box(ask(std::hint::black_box(nth)));
    }
    (cpu_ns() - begin) as f64 / world.questions.len() as f64
}

/// One thing for each app, found by host.
fn by_host<T>(make: impl Fn(usize) -> T) -> HashMap<String, T> {
    let apps = 0..APPS;
    apps.map(|app| (crate::decisions::world::host(app), make(app)))
        .collect()
}

fn group_of(user: usize) -> String {
    format!("g{}", user / USERS_PER_GROUP)
}

fn hosts(world: &World) -> Vec<String> {
    let questions = world.questions.iter();
    questions
        .map(|question| question.host_text.clone())
        .collect()
}

/// Conditions of a rule besides who and where, with what stands before the name of a fact and
/// around a list.
fn conditions(rule: &Rule, facts: &str, [open, close]: [&str; 2]) -> Vec<String> {
    let mut out = Vec::new();
    let lists = [("zone", rule.from), ("method", rule.methods)];
    for (fact, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        let quoted: Vec<String> = list.iter().map(|word| format!("{word:?}")).collect();
        out.push(match quoted.as_slice() {
            [one] => format!("{facts}.{fact} == {one}"),
            more => format!("{facts}.{fact} in {open}{}{close}", more.join(", ")),
        });
    }
    if let Some(minutes) = rule.mfa {
        out.push(format!("{facts}.mfa <= {}", minutes * 60));
    }
    if let Some(hours) = rule.login {
        out.push(format!("{facts}.login <= {}", hours * 3600));
    }
    out
}

/// The areas that are narrower than the root, with the path each begins with.
const NARROW: [(Area, &str, bool); 3] = [
    (Area::Admin, "/admin", false),
    (Area::Guarantees, "/api/v1/guarantees", false),
    (Area::Health, "/health", true),
];

#[cfg(test)]
mod tests {
    use policy::Outcome;

    use super::{RULES_OF_ALL, World, cedar, cel, rego};

    #[test]
    fn every_engine_answers_every_question_as_ours_does() {
        let world = World::new(RULES_OF_ALL);
        let peers = [
            cedar::build(&world),
            rego::build(&world),
            cel::build(&world),
        ];
        for mut ask in peers {
            for (nth, question) in world.questions.iter().enumerate() {
                let ours = world.decide_from_path(question) == Outcome::Allow;
                assert_eq!(ask(nth), ours, "{question:?}");
            }
        }
    }
}
