//! The front's keys written out again.

use super::{Cache, Check, Compress, Cors, Maintenance, Member, Pool, Shared, Source, Written};
use crate::print::words::{list, pair, quote};
use crate::resolve::values::show_duration;

impl Written {
    /// Writes the keys into an app's or an area's table.
    pub(crate) fn print(&self, out: &mut String) {
        match &self.source {
            Some(Source::Pool(pool)) => print_pool(out, pool),
            Some(Source::Static(files)) => {
                let mut parts = vec![("root", quote(&files.root)), ("index", quote(&files.index))];
                parts.extend(files.fallback.as_ref().map(|f| ("fallback", quote(f))));
                pair(out, "static", &inline(&parts));
            }
            Some(Source::Redirect(to)) => {
                let star = if to.keep { "/*" } else { "" };
                let address = quote(&format!("{}{star}", to.to));
                let parts = [("to", address), ("status", to.status.to_string())];
                pair(out, "redirect", &inline(&parts));
            }
            None => {}
        }
        let limits = [
            ("timeout.connect", self.timeout.connect),
            ("timeout.head", self.timeout.head),
            ("timeout.idle", self.timeout.idle),
            ("timeout.stream", self.timeout.stream),
            ("timeout.body", self.timeout.body),
        ];
        for (key, secs) in limits {
            if let Some(secs) = secs {
                pair(out, key, &quote(&show_duration(secs)));
            }
        }
        if let Some(most) = self.body_max {
            pair(out, "body-max", &quote(&format!("{most}B")));
        }
        if let Some(methods) = &self.methods {
            pair(out, "methods", &list(methods));
        }
        if let Some(on) = self.websocket {
            pair(out, "websocket", word(on));
        }
        for (key, path) in [("strip-prefix", &self.strip), ("add-prefix", &self.lead)] {
            if let Some(path) = path {
                pair(out, key, &quote(path));
            }
        }
        if let Some(preset) = self.preset {
            pair(out, "preset", &quote(preset.as_str()));
        }
        for (key, fields) in [("set", &self.set), ("add", &self.add)] {
            if let Some(fields) = fields {
                pair(out, key, &texts(fields));
            }
        }
        if let Some(names) = &self.remove {
            pair(out, "remove", &list(names));
        }
        if let Some(names) = &self.keep_app {
            pair(out, "keep-app", &list(names));
        }
        for (key, on) in [
            ("csp-report-only", self.csp_report_only),
            ("csp-reports", self.csp_reports),
        ] {
            if let Some(on) = on {
                pair(out, key, word(on));
            }
        }
        match &self.cors {
            Some(Some(cors)) => print_cors(out, cors),
            Some(None) => pair(out, "cors", "false"),
            None => {}
        }
        match &self.cache {
            Some(Some(cache)) => print_cache(out, cache),
            Some(None) => pair(out, "cache", "false"),
            None => {}
        }
        match &self.compress {
            Some(Some(compress)) => print_compress(out, compress),
            Some(None) => pair(out, "compress", "false"),
            None => {}
        }
        match self.maintenance {
            Some(Maintenance::Off) => pair(out, "maintenance", "false"),
            Some(Maintenance::On) => pair(out, "maintenance", "true"),
            Some(Maintenance::Auto) => pair(out, "maintenance", "\"auto\""),
            None => {}
        }
        match self.justify {
            Some(Some(secs)) => pair(out, "justify", &quote(&show_duration(secs))),
            Some(None) => pair(out, "justify", "false"),
            None => {}
        }
    }
}

fn print_pool(out: &mut String, pool: &Pool) {
    let members: Vec<String> = pool.members.iter().map(member).collect();
    pair(out, "upstream", &format!("[{}]", members.join(", ")));
    pair(out, "balance", &quote(pool.balance.as_str()));
    pair(out, "sticky", word(pool.sticky));
    if let Some(check) = &pool.check {
        print_check(out, check);
    }
    if let Some(most) = pool.concurrency {
        pair(out, "concurrency", &most.to_string());
    }
    if let Some(breaker) = pool.breaker {
        let parts = [
            ("failures", breaker.failures.to_string()),
            ("rest", quote(&show_duration(breaker.rest))),
        ];
        pair(out, "breaker", &inline(&parts));
    }
    if !pool.networks.is_empty() {
        let networks: Vec<String> = pool.networks.iter().map(ToString::to_string).collect();
        pair(out, "upstream-networks", &list(&networks));
    }
}

fn member(member: &Member) -> String {
    let mut parts = vec![
        ("url", quote(&member.to.to_string())),
        ("weight", member.weight.to_string()),
        ("drain", word(member.drain).to_owned()),
    ];
    let tls = &member.tls;
    parts.extend(tls.ca.as_ref().map(|file| ("ca", quote(file))));
    parts.extend(tls.name.as_ref().map(|name| ("name", quote(name))));
    if let Some((cert, key)) = &tls.identity {
        parts.push(("cert", quote(cert)));
        parts.push(("key", quote(key)));
    }
    inline(&parts)
}

fn print_check(out: &mut String, check: &Check) {
    let secs = |secs| quote(&show_duration(secs));
    let mut parts = vec![("path", quote(&check.path))];
    parts.extend(check.status.map(|status| ("status", status.to_string())));
    parts.push(("every", secs(check.every)));
    parts.push(("timeout", secs(check.timeout)));
    parts.push(("up", check.up.to_string()));
    parts.push(("down", check.down.to_string()));
    parts.extend(check.body.as_ref().map(|text| ("body", quote(text))));
    if !check.json.is_empty() {
        parts.push(("json", texts(&check.json)));
    }
    pair(out, "check", &inline(&parts));
}

fn print_cors(out: &mut String, cors: &Cors) {
    let parts = [
        ("origins", list(&cors.origins)),
        ("methods", list(&cors.methods)),
        ("headers", list(&cors.headers)),
        ("expose", list(&cors.expose)),
        ("credentials", word(cors.credentials).to_owned()),
        ("max-age", quote(&show_duration(cors.max_age))),
    ];
    pair(out, "cors", &inline(&parts));
}

fn print_cache(out: &mut String, cache: &Cache) {
    let mut parts = vec![
        ("ttl", quote(&show_duration(cache.ttl))),
        ("most", quote(&format!("{}B", cache.most))),
    ];
    if cache.stale > 0 {
        parts.push(("stale", quote(&show_duration(cache.stale))));
    }
    match &cache.shared {
        Shared::No => {}
        Shared::Strangers => parts.push(("shared", "true".to_owned())),
        Shared::All(why) => parts.push(("shared", quote(why))),
    }
    pair(out, "cache", &inline(&parts));
}

fn print_compress(out: &mut String, compress: &Compress) {
    let parts = [
        ("types", list(&compress.types)),
        ("min", quote(&format!("{}B", compress.min))),
        ("level", compress.level.to_string()),
    ];
    pair(out, "compress", &inline(&parts));
}

fn word(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}

fn inline(parts: &[(&str, String)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(k, v)| format!("{k} = {v}")).collect();
    format!("{{ {} }}", parts.join(", "))
}

fn texts(fields: &[(String, String)]) -> String {
    let parts = fields.iter();
    let parts: Vec<String> = parts
        .map(|(name, text)| format!("{} = {}", quote(name), quote(text)))
        .collect();
    format!("{{ {} }}", parts.join(", "))
}
