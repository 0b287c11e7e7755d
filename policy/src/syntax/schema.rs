//! A JSON Schema of the policy files for editors, built from the key tables the reader uses.

use serde_json::{Map, Value, json};

use super::front::{self, schema};
use super::keys::{self, Keys};
use super::lower::OUTCOMES;

const NAME: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";
const HEADER: &str = "^[A-Za-z0-9!#$%&'*+.^`|~-]{1,64}$";
const AREA: &str = "^=?/";

/// The JSON Schema (draft 2020-12) of a policy file. Keys that are part of the language but not built yet are not in
/// it, so an editor marks them.
pub fn json_schema() -> Value {
    let mut schema = table(keys::FILE, |key| match key {
        "postern" => json!({ "const": super::FORMAT_VERSION }),
        "zone" | "zone-group" | "group" | "group-optional" => named(&words()),
        "zone-file" => {
            named(&json!({ "type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._/-]*$" }))
        }
        "tenant" => named(&tenant()),
        "group-from" => named(&json!({ "type": "string", "pattern": "^attr:" })),
        "rate" => named(
            &json!({ "type": "string", "pattern": "^[0-9]+/[smhd]( burst [0-9]+)?( alert)?$" }),
        ),
        "headers" => named(&header_set()),
        "schedule" => named(&table(keys::SCHEDULE, value)),
        "user" => named(&table(keys::USER, value)),
        "default" => table(keys::DEFAULT, value),
        "tunnel" => table(keys::TUNNEL, tunnel),
        "app" => named(&app()),
        "net" => named(&table(keys::NET, |key| rules_or(key, keys::ALLOW_PLAIN))),
        "admin" => table(keys::ADMIN, |key| rules_or(key, keys::ALLOW_ADMIN)),
        "deny" => named(&table(keys::DENY, value)),
        "test" => list(&table(keys::TEST, value)),
        "invariant" => list(&table(keys::INVARIANT, value)),
        _ => json!({}),
    });
    if let Value::Object(map) = &mut schema {
        map.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        map.insert("title".to_owned(), json!("Postern policy"));
        map.insert("required".to_owned(), json!(["postern"]));
    }
    schema
}

/// Any header name; which are reserved is told when the policy is read.
fn header_set() -> Value {
    json!({
        "type": "object",
        "patternProperties": { HEADER: { "type": "string", "maxLength": 1024 } },
        "additionalProperties": false,
    })
}

fn tunnel(key: &str) -> Value {
    match key {
        "reprove" => table(keys::REPROVE, |key| match key {
            "moved" => json!({ "type": "boolean" }),
            _ => value("idle"),
        }),
        "dns" => table(keys::DNS, |key| match key {
            "others" => json!({ "enum": ["forward", "refuse"] }),
            "quarantine" => json!({ "enum": ["forward", "own", "sign-in"] }),
            _ => words(),
        }),
        "headless" => json!({
            "type": "object",
            "patternProperties": { "^[a-z0-9][a-z0-9._-]*/.+$": words() },
            "additionalProperties": false,
        }),
        _ => value(key),
    }
}

fn tenant() -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    table(keys::TENANT, |key| match key {
        "quota" => table(keys::QUOTA, |_| count.clone()),
        "domains" => words(),
        _ => value(key),
    })
}

fn app() -> Value {
    let area = table(keys::AREA, |key| rules_or(key, keys::ALLOW));
    let mut app = table(keys::APP, |key| rules_or(key, keys::ALLOW));
    if let Value::Object(map) = &mut app {
        let patterns: Map<String, Value> = [(AREA.to_owned(), area)].into_iter().collect();
        map.insert("patternProperties".to_owned(), Value::Object(patterns));
    }
    app
}

fn rules_or(key: &str, allow: Keys) -> Value {
    match key {
        "allow" => named(&table(allow, value)),
        _ => value(key),
    }
}

/// The value of a key that means the same wherever it may stand.
fn value(key: &str) -> Value {
    match key {
        "who" | "from" | "when" | "unless-when" | "on" | "methods" | "days" | "time" | "host"
        | "to" | "port" | "reach" | "only" | "never" | "can-reach" | "groups" => words(),
        "tenants-disjoint" | "hide" | "disabled" | "windows" | "case-insensitive"
        | "path-params" | "encoded-slashes" | "empty-segments" | "preflight" | "device-only"
        | "shadow" => {
            json!({ "type": "boolean" })
        }
        key if front::KEYS.contains(&key) => schema::value(key),
        "sessions" => json!({ "type": "integer", "minimum": 1 }),
        "device" => json!({ "enum": ["any", "known", "managed"] }),
        "device-not" => json!({ "enum": ["known", "managed"] }),
        "sign-in" => json!({ "enum": ["tunnel", "web"] }),
        "login" | "idle" | "extend" | "tokens" => {
            json!({ "type": "string", "pattern": "^[0-9]+[smhd]$" })
        }
        "attributes" => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        "by" => json!({ "enum": ["sign-in", "device", "token"] }),
        "as" => table(keys::AS, value),
        "requires" => table(keys::REQUIRES, value),
        "expect" => expect(),
        _ => json!({ "type": "string" }),
    }
}

/// An outcome, or one with the rule that gives it.
fn expect() -> Value {
    let by = OUTCOMES.map(|outcome| (outcome.to_owned(), json!({ "type": "string" })));
    let by: Map<String, Value> = by.into_iter().collect();
    json!({ "anyOf": [
        { "enum": OUTCOMES },
        {
            "type": "object", "properties": by, "additionalProperties": false,
            "minProperties": 1, "maxProperties": 1,
        },
    ] })
}

pub(super) fn table(keys: Keys, mut of: impl FnMut(&str) -> Value) -> Value {
    let properties = keys.known().map(|key| (key.to_owned(), of(key)));
    let properties: Map<String, Value> = properties.collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn named(of: &Value) -> Value {
    json!({ "type": "object", "patternProperties": { NAME: of }, "additionalProperties": false })
}

fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

pub(super) fn words() -> Value {
    json!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" } },
    ] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(schema: &Value) -> Vec<&str> {
        let map = schema["properties"].as_object().unwrap();
        let mut names: Vec<&str> = map.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn built(keys: Keys) -> Vec<&'static str> {
        let mut names: Vec<&str> = keys.known().collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_schema_lists_the_keys_the_reader_knows() {
        let schema = json_schema();
        let of = |path: &[&str]| {
            let found = path.iter().fold(&schema, |at, key| match *key {
                "*" => &at["patternProperties"][NAME],
                "/" => &at["patternProperties"][AREA],
                "[]" => &at["items"],
                key => &at["properties"][key],
            });
            listed(found)
        };
        for (path, keys) in [
            (&[][..], keys::FILE),
            (&["user", "*"], keys::USER),
            (&["schedule", "*"], keys::SCHEDULE),
            (&["tenant", "*"], keys::TENANT),
            (&["tenant", "*", "quota"], keys::QUOTA),
            (&["default"], keys::DEFAULT),
            (&["tunnel"], keys::TUNNEL),
            (&["tunnel", "reprove"], keys::REPROVE),
            (&["tunnel", "dns"], keys::DNS),
            (&["app", "*"], keys::APP),
            (&["app", "*", "/"], keys::AREA),
            (&["app", "*", "allow", "*"], keys::ALLOW),
            (&["app", "*", "/", "allow", "*"], keys::ALLOW),
            (&["net", "*"], keys::NET),
            (&["net", "*", "allow", "*"], keys::ALLOW_PLAIN),
            (&["admin"], keys::ADMIN),
            (&["admin", "allow", "*"], keys::ALLOW_ADMIN),
            (&["deny", "*"], keys::DENY),
            (&["test", "[]"], keys::TEST),
            (&["test", "[]", "as"], keys::AS),
            (&["invariant", "[]"], keys::INVARIANT),
            (&["invariant", "[]", "requires"], keys::REQUIRES),
        ] {
            assert_eq!(of(path), built(keys), "{path:?}");
        }
    }

    #[test]
    fn every_section_and_every_value_has_a_shape() {
        let text = json_schema().to_string();
        assert!(!text.contains(":{}"), "{text}");
    }
}
