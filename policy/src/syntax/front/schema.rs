//! The JSON Schema of the front's keys.

use serde_json::{Value, json};

use super::super::keys;
use super::super::schema::{table, words};
use super::upstreams::AT_ONCE;
use crate::front::{Balance, Preset};

/// The value of a key in an app's or an area's table.
pub(in crate::syntax) fn value(key: &str) -> Value {
    match key {
        "upstream" => upstream(),
        "balance" => {
            let words = [Balance::RoundRobin, Balance::LeastConnections].map(Balance::as_str);
            described(
                json!({ "enum": words }),
                "how one of several upstreams is chosen",
            )
        }
        "sticky" => described(
            json!({ "type": "boolean" }),
            "whether a browser stays with the upstream it was first given",
        ),
        "websocket" => described(
            json!({ "type": "boolean" }),
            "whether a WebSocket may be opened; true unless written",
        ),
        "check" => described(check(), "how upstreams are probed"),
        "static" => described(
            json!({ "anyOf": [path(), table(keys::STATIC, |key| match key {
                "root" => path(),
                _ => text(),
            })] }),
            "a folder whose files answer; fallback is for an app that reads paths in the browser",
        ),
        "redirect" => described(
            json!({ "anyOf": [text(), table(keys::REDIRECT, |key| match key {
                "status" => json!({ "enum": [301, 302, 303, 307, 308] }),
                _ => text(),
            })] }),
            "another address; with /* at its end the rest of the path and the query follow",
        ),
        "timeout" => described(
            table(keys::TIMEOUT, |_| duration()),
            "connect, head: until the answer begins; idle: of silence within it; stream: of silence on a WebSocket; body: until the request is whole",
        ),
        "body-max" => described(size(), "most bytes of a request body"),
        "methods" => described(words(), "the methods that are taken at all"),
        "strip-prefix" => described(prefix(), "what is taken off the path on the way to the app"),
        "add-prefix" => described(
            prefix(),
            "what is put in front of the path on the way to the app",
        ),
        "preset" => described(
            json!({ "enum": Preset::ALL.map(Preset::as_str) }),
            "security fields that answers get where the app sets none of its own",
        ),
        "set" => described(fields(), "fields of answers, in place of the app's own"),
        "add" => described(fields(), "fields added to answers"),
        "concurrency" => described(
            count(AT_ONCE),
            "most requests under way; one more is refused, and the last quarter is for those who have few",
        ),
        "breaker" => described(
            breaker(),
            "when requests are refused at once because those before got no answer",
        ),
        "upstream-networks" => described(
            words(),
            "where upstreams may be, whatever their names lead to; else anywhere but on the gateway's own link",
        ),
        "maintenance" => described(
            json!({ "enum": [true, false, "auto"] }),
            "whether people get the page of maintenance; auto: while every check fails",
        ),
        "justify" => described(
            json!({ "anyOf": [duration(), { "const": false }] }),
            "people are asked why they come, and for how long what they said holds",
        ),
        "remove" => described(words(), "fields taken off answers"),
        "keep-app" => described(words(), "fields of `set` where the app's own value stays"),
        "csp-report-only" => described(
            json!({ "type": "boolean" }),
            "whether a content security policy written here is only told of, not obeyed",
        ),
        "csp-reports" => described(
            json!({ "type": "boolean" }),
            "whether browsers tell the gateway of breaches of it",
        ),
        "cors" => described(cors(), "which other origins' pages may read answers"),
        "cache" => described(
            cache(),
            "answers that are kept: for each person, or with shared = \"reason\" for everybody",
        ),
        "compress" => described(compress(), "what is compressed on the way to the browser"),
        _ => text(),
    }
}

fn described(mut value: Value, text: &str) -> Value {
    if let Value::Object(map) = &mut value {
        map.insert("description".to_owned(), json!(text));
    }
    value
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn path() -> Value {
    json!({ "type": "string", "pattern": "^/" })
}

fn prefix() -> Value {
    json!({ "type": "string", "pattern": "^/.*[^/]$" })
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+[smhd]$" })
}

fn size() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" })
}

fn count(most: u32) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": most })
}

fn fields() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" } })
}

fn upstream() -> Value {
    let url = json!({ "type": "string", "pattern": "^(https?://|h2c?://|unix:/)" });
    let member = table(keys::UPSTREAM, |key| match key {
        "url" => url.clone(),
        "weight" => count(100),
        "drain" => json!({ "type": "boolean" }),
        "name" => text(),
        _ => path(),
    });
    let one = json!({ "anyOf": [url, member] });
    described(
        json!({ "anyOf": [one, { "type": "array", "minItems": 1, "maxItems": 32, "items": one }] }),
        "where requests go: one address, or several",
    )
}

fn check() -> Value {
    table(keys::CHECK, |key| match key {
        "path" => path(),
        "status" => json!({ "type": "integer", "minimum": 200, "maximum": 599 }),
        "every" | "timeout" => duration(),
        "up" | "down" => count(100),
        "json" => fields(),
        _ => text(),
    })
}

fn breaker() -> Value {
    let written = table(keys::BREAKER, |key| match key {
        "failures" => count(1000),
        _ => duration(),
    });
    json!({ "anyOf": [{ "const": true }, written] })
}

fn cors() -> Value {
    let written = table(keys::CORS, |key| match key {
        "credentials" => json!({ "type": "boolean" }),
        "max-age" => duration(),
        _ => words(),
    });
    json!({ "anyOf": [{ "const": false }, written] })
}

fn cache() -> Value {
    let written = table(keys::CACHE, |key| match key {
        "shared" => json!({ "type": ["boolean", "string"] }),
        "most" => size(),
        _ => duration(),
    });
    json!({ "anyOf": [{ "const": false }, written] })
}

fn compress() -> Value {
    let written = table(keys::COMPRESS, |key| match key {
        "types" => words(),
        "min" => size(),
        _ => count(9),
    });
    json!({ "anyOf": [{ "type": "boolean" }, written] })
}
