//! What answers get: fields, among them those of a preset, and permissions for other origins.

use super::ledger::{Ledger, Verdict};
use super::tree::Directive;
use super::write::{Keys, key, list, quoted};

/// A field that answers get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) id: usize,
}

/// Fields of security: where an app sets its own, that one stays.
const SECURITY: [&str; 6] = [
    "content-security-policy",
    "permissions-policy",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];
const HSTS: &str = "strict-transport-security";
const YEAR: &str = "max-age=31536000; includeSubDomains";
const DASHBOARD: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-xss-protection", "1; mode=block"),
];
const SPA: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';",
    ),
    ("referrer-policy", "no-referrer-when-downgrade"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-xss-protection", "1; mode=block"),
];
/// Names that no policy writes.
const OWNED: [&str; 18] = [
    "alt-svc",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-accel-redirect",
    "x-request-id",
];
/// Most fields of one area.
const MOST: usize = 32;

/// Whether a policy may set or remove a field.
pub(super) fn is_free(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let owned = ["access-control-", "ratelimit-", "x-postern-"];
    (1..=64).contains(&name.len())
        && name.bytes().all(token)
        && lower != HSTS
        && !OWNED.contains(&lower.as_str())
        && !owned.iter().any(|prefix| lower.starts_with(prefix))
}

/// Reads `add_header`; `outer` tells whether a block around has some too.
pub(super) fn read(d: &Directive, outer: bool, fields: &mut Vec<Field>, ledger: &mut Ledger) {
    let (name, value) = (d.arg(0), d.arg(1));
    let lower = name.to_ascii_lowercase();
    let cors = lower.starts_with("access-control-");
    if !cors && lower != HSTS && !is_free(name) {
        let says = "the gateway or the exchange itself needs this field";
        return ledger.unknown(d, says);
    }
    let plain = value.bytes().all(|b| (0x20..0x7f).contains(&b)) && value.len() <= 4096;
    if value.is_empty() {
        return ledger.done(d, "a field without a text is not sent");
    }
    if !plain || value.contains('$') || value.trim() != value {
        return ledger.unknown(d, "a field has a fixed text of ASCII, without variables");
    }
    if fields.len() >= MOST {
        return ledger.unknown(d, format!("an area sets at most {MOST} fields"));
    }
    let twice = fields.iter().any(|own| own.name.eq_ignore_ascii_case(name));
    if twice {
        return ledger.unknown(d, "this field is set twice; write one text");
    }
    fields.push(Field {
        name: name.to_owned(),
        value: value.to_owned(),
        id: d.id,
    });
    let says = format!("set = {{ {} = {} }}", key(name), quoted(value));
    if outer {
        let more =
            "; the fields of the block around stay, which nginx drops where a block has its own";
        ledger.differs(d, says + more);
    } else {
        ledger.carried(d, says);
    }
}

/// Puts the fields of a block over those of the block around it.
pub(super) fn over(own: &[Field], outer: &[Field]) -> Vec<Field> {
    let hidden = |field: &&Field| !own.iter().any(|f| f.name.eq_ignore_ascii_case(&field.name));
    let mut all: Vec<Field> = outer.iter().filter(hidden).cloned().collect();
    all.extend(own.iter().cloned());
    all.truncate(MOST);
    all
}

/// Writes the keys of an area: a preset where the fields are those of one, else each field.
pub(super) fn keys(fields: &[Field], expires: Option<&str>, into: &mut Keys, ledger: &mut Ledger) {
    let lower = |field: &Field| field.name.to_ascii_lowercase();
    let hsts = fields.iter().find(|field| lower(field) == HSTS);
    let is_security = |field: &&Field| SECURITY.contains(&lower(field).as_str());
    let mut security: Vec<(String, &str)> = fields
        .iter()
        .filter(is_security)
        .map(|field| (lower(field), field.value.as_str()))
        .collect();
    security.sort_unstable();
    let is = |preset: &[(&str, &str)]| {
        let preset = preset.iter().map(|(n, v)| ((*n).to_owned(), *v));
        preset.eq(security.iter().cloned())
    };
    let year = hsts.is_some_and(|field| field.value == YEAR);
    let preset = if year && is(&DASHBOARD) {
        Some("dashboard")
    } else if is(&SPA) {
        Some("spa")
    } else {
        None
    };
    if let Some(preset) = preset {
        into.insert("preset", quoted(preset));
        let says = format!("preset = \"{preset}\"; a field that the app sets itself stays");
        for field in fields.iter().filter(is_security) {
            ledger.mark(field.id, Verdict::Carried, says.as_str());
        }
    }
    if let Some(field) = hsts {
        if preset == Some("dashboard") {
            ledger.mark(field.id, Verdict::Carried, "preset = \"dashboard\"");
        } else {
            let says = "the gateway says it for all apps: hsts-seconds in [http] of postern.toml";
            ledger.mark(field.id, Verdict::Differs, says);
        }
    }
    cors(fields, into, ledger);
    let mut set = Vec::new();
    let mut kept = Vec::new();
    for field in fields {
        let name = lower(field);
        let security = SECURITY.contains(&name.as_str());
        if name == HSTS || name.starts_with("access-control-") || (security && preset.is_some()) {
            continue;
        }
        let mut value = field.value.clone();
        if name == "cache-control" {
            value = cache_control(&value, expires);
            ledger.mark(
                field.id,
                Verdict::Carried,
                format!("set = {{ Cache-Control = {} }}", quoted(&value)),
            );
        }
        if security {
            kept.push(quoted(&name));
        }
        set.push((key(&field.name), value));
    }
    let stated = fields.iter().any(|field| lower(field) == "cache-control");
    if let (Some(expires), false) = (expires, stated) {
        set.push(("Cache-Control".to_owned(), expires.to_owned()));
    }
    if !set.is_empty() {
        set.sort_unstable();
        let set: Vec<String> = set
            .iter()
            .map(|(n, v)| format!("{n} = {}", quoted(v)))
            .collect();
        into.insert("set", format!("{{ {} }}", set.join(", ")));
    }
    if !kept.is_empty() {
        into.insert("keep-app", format!("[{}]", kept.join(", ")));
    }
}

/// One field in place of the two that nginx sends.
fn cache_control(value: &str, expires: Option<&str>) -> String {
    let Some(expires) = expires.filter(|_| !value.contains("max-age")) else {
        return value.to_owned();
    };
    let mut parts: Vec<&str> = value.split(',').map(str::trim).collect();
    let shared = matches!(parts.first(), Some(&"public" | &"private"));
    parts.insert(usize::from(shared), expires);
    parts.join(", ")
}

/// Writes the permissions for other origins.
fn cors(fields: &[Field], into: &mut Keys, ledger: &mut Ledger) {
    let named = |name: &str| fields.iter().find(|f| f.name.eq_ignore_ascii_case(name));
    let cors = |field: &&Field| {
        field
            .name
            .to_ascii_lowercase()
            .starts_with("access-control-")
    };
    let Some(origin) = named("access-control-allow-origin").filter(|f| is_origin(&f.value)) else {
        for field in fields.iter().filter(cors) {
            let says = "pages of other origins may read answers only where `cors` names them: https://host, never any";
            ledger.mark(field.id, Verdict::Differs, says);
        }
        return;
    };
    let mut text = format!("{{ origins = [{}]", quoted(&origin.value));
    ledger.mark(origin.id, Verdict::Carried, "cors = { origins }");
    let token = |word: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !word.is_empty() && word.len() <= 64 && word.bytes().all(plain)
    };
    for field in fields
        .iter()
        .filter(cors)
        .filter(|field| field.id != origin.id)
    {
        let words: Vec<&str> = field.value.split(',').map(str::trim).collect();
        let names = || list(words.iter().map(|word| quoted(word)));
        let names = || {
            if words.len() == 1 {
                format!("[{}]", names())
            } else {
                names()
            }
        };
        let says = match field.name.to_ascii_lowercase().as_str() {
            "access-control-allow-methods"
                if words.iter().all(|w| policy::canon::method(w).is_ok()) =>
            {
                format!("methods = {}", names())
            }
            "access-control-allow-headers"
                if words.iter().all(|w| token(w)) && words.len() <= MOST =>
            {
                format!("headers = {}", names())
            }
            "access-control-expose-headers"
                if words.iter().all(|w| token(w)) && words.len() <= MOST =>
            {
                format!("expose = {}", names())
            }
            "access-control-allow-credentials" if field.value == "true" => {
                "credentials = true".to_owned()
            }
            "access-control-max-age" => match super::measure::secs(&field.value) {
                Some(secs) if secs > 0 => {
                    format!("max-age = \"{}\"", super::measure::show_secs(secs))
                }
                Some(_) | None => String::new(),
            },
            _ => String::new(),
        };
        if says.is_empty() {
            ledger.mark(
                field.id,
                Verdict::NotUnderstood,
                "`cors` has no place for this text",
            );
        } else {
            text = format!("{text}, {says}");
            ledger.mark(field.id, Verdict::Carried, format!("cors = {{ {says} }}"));
        }
    }
    into.insert("cors", text + " }");
}

fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "1"));
        let port = !port.starts_with('0') && port.parse::<u16>().is_ok();
        port && policy::canon::host(host).is_ok_and(|canonical| canonical.as_str() == host)
    })
}
