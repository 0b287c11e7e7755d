//! Rego: a module an app, compiled for regorus's virtual machine.

use std::collections::HashMap;

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::{Engine, Rc, Value};
use serde_json::json;

use super::{Ask, NARROW, by_host, conditions, group_of, hosts};
use crate::decisions::world::{Area, LOGIN_AGE, MFA_AGE, Question, RULES, World, group};

const ENTRY: &str = "data.app.allow";

pub fn build(world: &World) -> Ask {
    let mut machines: HashMap<String, RegoVM> = by_host(machine);
    let inputs: Vec<Value> = world.questions.iter().map(input).collect();
    let hosts = hosts(world);
    Box::new(move |nth| {
        let machine = machines.get_mut(&hosts[nth]).unwrap();
        machine.set_input(inputs[nth].clone());
        machine.execute_entry_point_by_index(0).unwrap() == Value::Bool(true)
    })
}

fn machine(app: usize) -> RegoVM {
    let mut engine = Engine::new();
    engine
        .add_policy(format!("a{app}.rego"), text(app))
        .unwrap();
    let entry: Rc<str> = ENTRY.into();
    let compiled = engine.compile_with_entrypoint(&entry).unwrap();
    let program = Compiler::compile_from_policy(&compiled, &[ENTRY]).unwrap();
    let mut machine = RegoVM::new_with_policy(compiled);
    machine.load_program(program);
    machine.set_data(Value::new_object()).unwrap();
    machine
}

fn input(question: &Question) -> Value {
    let facts = json!({
        "path": question.path,
        "method": question.method,
        "zone": question.zone_name,
        "mfa": MFA_AGE,
        "login": LOGIN_AGE,
        "groups": { group_of(question.user): true },
    });
    Value::from_json_str(&facts.to_string()).unwrap()
}

fn text(app: usize) -> String {
    let mut text = "package app\n\ndefault allow := false\n\nallow if {\n\
        \tnot input.groups.former\n\tgranted\n}\n\n"
        .to_owned();
    for (area, path, exact) in NARROW {
        let name = name(area);
        text += &format!("{name} if input.path == \"{path}\"\n\n");
        if !exact {
            text += &format!("{name} if startswith(input.path, \"{path}/\")\n\n");
        }
    }
    for rule in &RULES {
        text += "granted if {\n";
        text += &format!("\tinput.groups.g{}\n", group(app, rule.nth));
        for condition in conditions(rule, "input", ["{", "}"]) {
            text += &format!("\t{condition}\n");
        }
        if rule.area == Area::Root {
            for (narrow, _, _) in NARROW {
                text += &format!("\tnot {}\n", name(narrow));
            }
        } else {
            text += &format!("\t{}\n", name(rule.area));
        }
        text += "}\n\n";
    }
    text
}

fn name(area: Area) -> &'static str {
    match area {
        Area::Root => "root",
        Area::Admin => "admin",
        Area::Guarantees => "guarantees",
        Area::Health => "health",
    }
}
