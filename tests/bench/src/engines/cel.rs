//! CEL: one expression an app.

use std::collections::HashMap;
use std::sync::Arc;

use cel::{Context, Env, Program, Value};

use super::{Ask, NARROW, by_host, conditions, group_of, hosts};
use crate::decisions::world::{Area, LOGIN_AGE, MFA_AGE, Question, RULES, World, group};

pub fn build(world: &World) -> Ask {
    let env = Arc::new(Env::stdlib());
    let programs: HashMap<String, Program> = by_host(|app| env.compile(&text(app)).unwrap());
    let questions = world.questions.iter();
    let contexts: Vec<Context<'static, 'static>> = questions.map(|q| context(&env, q)).collect();
    let hosts = hosts(world);
    Box::new(move |nth| {
        let answer = programs[&hosts[nth]].execute(&contexts[nth]);
        answer.unwrap() == Value::Bool(true)
    })
}

fn context(env: &Arc<Env>, question: &Question) -> Context<'static, 'static> {
    let facts: HashMap<String, Value> = [
        ("path", Value::from(question.path)),
        ("method", Value::from(question.method)),
        ("zone", Value::from(question.zone_name)),
        ("mfa", Value::Int(MFA_AGE.into())),
        ("login", Value::Int(LOGIN_AGE.into())),
        ("groups", Value::from(vec![group_of(question.user)])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let mut context = Context::with_env(Arc::clone(env));
    context.add_variable_from_value("q", facts);
    context
}

/// The areas as a chain of choices, the narrower ones first.
fn text(app: usize) -> String {
    let mut text = "!(\"former\" in q.groups) && (".to_owned();
    for (area, path, exact) in NARROW {
        text += &match exact {
            true => format!("q.path == \"{path}\""),
            false => format!("(q.path == \"{path}\" || q.path.startsWith(\"{path}/\"))"),
        };
        text += &format!(" ? ({}) : ", any(app, area));
    }
    text + &format!("({}))", any(app, Area::Root))
}

fn any(app: usize, area: Area) -> String {
    let rules = RULES.iter().filter(|rule| rule.area == area).map(|rule| {
        let mut all = vec![format!("\"g{}\" in q.groups", group(app, rule.nth))];
        all.extend(conditions(rule, "q", ["[", "]"]));
        format!("({})", all.join(" && "))
    });
    rules.collect::<Vec<String>>().join(" || ")
}
