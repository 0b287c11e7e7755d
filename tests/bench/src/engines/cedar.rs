//! Cedar: a policy set an app, people and groups as entities.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression,
};

use super::{Ask, NARROW, by_host, group_of, hosts};
use crate::decisions::world::{
    Area, GROUPS, LOGIN_AGE, MFA_AGE, Question, RULES, Rule, USERS, World, group,
};

pub fn build(world: &World) -> Ask {
    let sets: HashMap<String, PolicySet> = by_host(|app| text(app).parse().unwrap());
    let entities = Entities::from_entities(people(), None).unwrap();
    let requests: Vec<Request> = world.questions.iter().map(request).collect();
    let (hosts, authorizer) = (hosts(world), Authorizer::new());
    Box::new(move |nth| {
        let set = &sets[&hosts[nth]];
        let answer = authorizer.is_authorized(&requests[nth], set, &entities);
        answer.decision() == Decision::Allow
    })
}

fn uid(kind: &str, name: &str) -> EntityUid {
    let kind: EntityTypeName = kind.parse().unwrap();
    EntityUid::from_type_name_and_id(kind, EntityId::new(name))
}

fn people() -> Vec<Entity> {
    let groups = (0..GROUPS)
        .map(|ix| format!("g{ix}"))
        .chain(["former".to_owned()]);
    let groups = groups.map(|name| Entity::new_no_attrs(uid("Group", &name), HashSet::new()));
    let users = (0..USERS).map(|user| {
        let within = HashSet::from([uid("Group", &group_of(user))]);
        Entity::new_no_attrs(uid("User", &format!("u{user}")), within)
    });
    groups.chain(users).collect()
}

fn request(question: &Question) -> Request {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let number = |number: u32| RestrictedExpression::new_long(number.into());
    let facts = [
        ("path", text(question.path)),
        ("method", text(question.method)),
        ("zone", text(question.zone_name)),
        ("mfa", number(MFA_AGE)),
        ("login", number(LOGIN_AGE)),
    ];
    let facts = facts.map(|(name, value)| (name.to_owned(), value));
    Request::new(
        uid("User", &format!("u{}", question.user)),
        uid("Action", "http"),
        uid("App", &format!("a{}", question.app)),
        Context::from_pairs(facts).unwrap(),
        None,
    )
    .unwrap()
}

fn text(app: usize) -> String {
    let guard = "forbid (principal in Group::\"former\", action, resource);\n";
    let rules = RULES.iter().map(|rule| {
        let who = group(app, rule.nth);
        let conditions = conditions(rule).join(" && ");
        format!(
            "permit (principal in Group::\"g{who}\", action, resource) when {{ {conditions} }};\n"
        )
    });
    std::iter::once(guard.to_owned()).chain(rules).collect()
}

fn conditions(rule: &Rule) -> Vec<String> {
    let mut out = vec![place(rule.area)];
    for (fact, list) in [("zone", rule.from), ("method", rule.methods)] {
        let ways = list
            .iter()
            .map(|word| format!("context.{fact} == {word:?}"));
        let ways: Vec<String> = ways.collect();
        if !ways.is_empty() {
            out.push(format!("({})", ways.join(" || ")));
        }
    }
    let plain = Rule {
        from: &[],
        methods: &[],
        ..*rule
    };
    out.extend(super::conditions(&plain, "context", ["", ""]));
    out
}

fn place(area: Area) -> String {
    let within = |(_, path, exact): &(Area, &str, bool)| match exact {
        true => format!("(context.path == \"{path}\")"),
        false => format!("(context.path == \"{path}\" || context.path like \"{path}/*\")"),
    };
    let others = || NARROW.iter().map(|area| format!("!{}", within(area)));
    let own = NARROW.iter().find(|(narrow, _, _)| *narrow == area);
    own.map(within)
        .unwrap_or_else(|| others().collect::<Vec<String>>().join(" && "))
}
