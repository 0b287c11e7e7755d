//! What a block says besides where its answers come from; blocks within take it over.

use std::collections::BTreeSet;

use super::access::{self, From};
use super::fields::{self, Field};
use super::ledger::Ledger;
use super::measure::{secs, show_secs, show_size, size};
use super::names::Names;
use super::plain;
use super::tree::Directive;
use super::write::{key, quoted};

/// A value and the directive that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) id: usize,
}

/// A limit of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) zone: String,
    pub(super) burst: u32,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsTo {
    pub(super) verify: bool,
    ca: Option<String>,
    name: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl TlsTo {
    /// The keys of an upstream's table, each behind a comma.
    pub(super) fn keys(&self) -> String {
        let pair = self.cert.as_ref().zip(self.key.as_ref());
        [
            ("ca", self.ca.as_ref()),
            ("name", self.name.as_ref()),
            ("cert", pair.map(|(cert, _)| cert)),
            ("key", pair.map(|(_, key)| key)),
        ]
        .iter()
        .filter_map(|(name, value)| Some(format!(", {name} = {}", quoted(value.as_ref()?))))
        .collect()
    }
}

/// What a block says, what it took over included.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) body_max: Option<Said<u64>>,
    pub(super) connect: Option<u32>,
    pub(super) read: Option<Said<u32>>,
    pub(super) upgrade: Option<bool>,
    pub(super) limit: Option<Limit>,
    pub(super) fields: Vec<Field>,
    /// What `expires` makes of Cache-Control.
    pub(super) expires: Option<String>,
    pub(super) hide: BTreeSet<String>,
    pub(super) gzip: Option<bool>,
    pub(super) gzip_types: Option<Vec<String>>,
    pub(super) gzip_min: Option<u64>,
    pub(super) gzip_level: Option<u32>,
    pub(super) cache: Option<Said<bool>>,
    pub(super) cache_ttl: Option<u32>,
    pub(super) cache_stale: Option<bool>,
    pub(super) root: Option<String>,
    pub(super) index: Option<String>,
    pub(super) tries: Option<Said<Vec<String>>>,
    pub(super) tls: TlsTo,
    pub(super) from: Option<From>,
    pub(super) methods: Option<Vec<String>>,
    /// Fields that tell an app the name of the person.
    pub(super) told: BTreeSet<String>,
    /// Places of lines that keep people out and are not understood.
    pub(super) barred: Vec<String>,
}

impl Settings {
    /// Reads the lines of a block, without those that [`super::location`] reads, over what it takes over.
    pub(super) fn read(
        block: &[Directive],
        outer: &Self,
        names: &Names,
        ledger: &mut Ledger,
    ) -> Self {
        let mut own = Self {
            fields: Vec::new(),
            limit: None,
            told: BTreeSet::new(),
            hide: BTreeSet::new(),
            tries: None,
            cache_ttl: None,
            ..outer.clone()
        };
        for d in block {
            let known = own.limits(d, names, ledger)
                || own.request(d, names, ledger)
                || own.answer(d, outer, ledger)
                || own.compression(d, ledger)
                || own.caching(d, names, ledger)
                || own.files(d, ledger)
                || own.tls_to(d, ledger);
            if known {
                continue;
            }
            if let Some((verdict, says)) = plain::fate(&d.name) {
                ledger.mark(d.id, verdict, says);
                ledger.within(d, verdict, says);
            }
        }
        match access::read(block, ledger) {
            Some(Ok(from)) => own.from = Some(from),
            Some(Err(place)) => own.barred.push(place),
            None => {}
        }
        own.fields = fields::over(&own.fields, &outer.fields);
        own.limit = own.limit.or_else(|| outer.limit.clone());
        own.cache_ttl = own.cache_ttl.or(outer.cache_ttl);
        own.told.extend(outer.told.iter().cloned());
        own.hide.extend(outer.hide.iter().cloned());
        own
    }

    fn limits(&mut self, d: &Directive, names: &Names, ledger: &mut Ledger) -> bool {
        match d.name.as_str() {
            "client_max_body_size" => match size(d.arg(0)) {
                Some(bytes) => {
                    let value = if bytes == 0 { 1 << 40 } else { bytes };
                    self.body_max = Some(Said { value, id: d.id });
                    let none = if bytes == 0 {
                        ", in place of no limit"
                    } else {
                        ""
                    };
                    ledger.carried(d, format!("body-max = \"{}\"{none}", show_size(value)));
                }
                None => ledger.unknown(d, "no size such as 100M"),
            },
            "proxy_connect_timeout" | "grpc_connect_timeout" => match secs(d.arg(0)) {
                Some(value) => {
                    self.connect = Some(value);
                    ledger.carried(d, format!("timeout.connect = \"{}\"", show_secs(value)));
                }
                None => ledger.unknown(d, "no time such as 60s"),
            },
            "proxy_read_timeout" | "grpc_read_timeout" => match secs(d.arg(0)) {
                Some(value) => {
                    self.read = Some(Said { value, id: d.id });
                    ledger.carried(
                        d,
                        format!("timeout.head and timeout.idle = \"{}\"", show_secs(value)),
                    );
                }
                None => ledger.unknown(d, "no time such as 60s"),
            },
            "limit_req" => self.limit_req(d, names, ledger),
            "limit_req_status" => ledger.differs(d, "429 with Retry-After, as RFC 6585 has it"),
            _ => return false,
        }
        true
    }

    fn limit_req(&mut self, d: &Directive, names: &Names, ledger: &mut Ledger) {
        let zone = super::names::option(d, "zone").unwrap_or_default();
        let burst = super::names::option(d, "burst").map_or(Some(0), |b| b.parse::<u32>().ok());
        let known = names.rates.get(zone).copied().flatten();
        let (Some(burst), Some((count, unit))) = (burst.filter(|b| *b < 1_000_000), known) else {
            return ledger.unknown(d, "no zone with a rate by address, or no burst");
        };
        if self.limit.is_some() {
            return ledger.unknown(d, "a rule has one rate; this is the second here");
        }
        self.limit = Some(Limit {
            zone: zone.to_owned(),
            // the language knows no tier without one
            burst: burst.max(1),
        });
        let rate = format!("rate = \"{count}/{unit} burst {}\"", burst.max(1));
        let all = burst.max(1) + 1;
        let nodelay = d.args.iter().any(|arg| arg == "nodelay");
        if burst == 0 {
            let says = format!("{rate}: two requests may come at once, nginx takes one");
            ledger.differs(d, says);
        } else if nodelay {
            let who = "counted by person; whoever comes too often gets 429 with Retry-After";
            ledger.carried(d, format!("{rate}, {who}"));
        } else {
            let says = format!(
                "{rate}: {all} requests pass at once, the next gets 429 with Retry-After, counted by person; \
                 nginx lets the first pass and holds {burst} back in a queue"
            );
            ledger.differs(d, says);
        }
    }

    fn request(&mut self, d: &Directive, names: &Names, ledger: &mut Ledger) -> bool {
        match d.name.as_str() {
            "proxy_set_header" | "grpc_set_header" => self.set_header(d, names, ledger),
            "auth_basic_user_file" => ledger.differs(
                d,
                format!(
                    "people are declared first, then their passwords come along: postern user import {}",
                    d.arg(0).escape_debug()
                ),
            ),
            "satisfy" => match d.arg(0) {
                "all" => ledger.done(d, "network and sign-in are both asked for"),
                _ => ledger.differs(d, "both are asked for, always: the network and the sign-in"),
            },
            "limit_except" => {
                let denied = d.children().iter().all(|inner| inner.name == "deny" && inner.arg(0) == "all");
                let sound = d.args.iter().all(|m| policy::canon::method(m).is_ok());
                if denied && sound && !d.args.is_empty() && !d.children().is_empty() {
                    self.methods = Some(d.args.clone());
                    let says = "`methods` of the area; others get 405";
                    ledger.within(d, super::Verdict::Carried, says);
                    ledger.carried(d, says);
                } else {
                    self.barred.push(d.place());
                    ledger.unknown(d, "only methods with `deny all` within are carried over");
                }
            }
            _ => return false,
        }
        true
    }

    fn set_header(&mut self, d: &Directive, names: &Names, ledger: &mut Ledger) {
        let (name, value) = (d.arg(0).to_ascii_lowercase(), d.arg(1));
        match (name.as_str(), value) {
            ("host", "$host" | "$http_host" | "$server_name") => {
                ledger.done(d, "the app is told the host that was asked for");
            }
            ("host", _) => ledger.differs(d, "the app is told the host that was asked for, with its port"),
            ("x-real-ip" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port" | "forwarded"
                | "x-forwarded-ssl" | "x-forwarded-server" | "x-scheme" | "x-url-scheme", _) => {
                ledger.done(d, "the gateway says it to the app, and passes on nothing of it that a client says");
            }
            ("x-request-id", _) => ledger.done(d, "one id stands in the app's request and in the journal"),
            ("upgrade", "$http_upgrade") => {
                self.upgrade = Some(true);
                ledger.carried(d, "websocket = true");
            }
            ("connection", "upgrade" | "Upgrade" | "" | "keep-alive" | "close" | "$http_connection") => {
                ledger.done(d, "connections to an app are kept, and upgraded where `websocket` allows it");
            }
            ("connection", variable) if names.upgrades.contains(variable) => {
                ledger.done(d, "connections to an app are kept, and upgraded where `websocket` allows it");
            }
            (_, "$remote_user") if is_told(&name) => {
                self.told.insert(d.arg(0).to_owned());
                ledger.carried(d, format!("[headers]: {} = \"{{user}}\"", key(d.arg(0))));
            }
            _ => ledger.unknown(d, "an app is told what [headers] says, with {user} and {groups}; the rest is passed on as it comes"),
        }
    }

    fn answer(&mut self, d: &Directive, outer: &Self, ledger: &mut Ledger) -> bool {
        match d.name.as_str() {
            "add_header" => fields::read(d, !outer.fields.is_empty(), &mut self.fields, ledger),
            "expires" => match (d.arg(0), secs(d.arg(0))) {
                ("off", _) => {
                    self.expires = None;
                    ledger.done(d, "nothing is said");
                }
                ("max", _) => self.expire("max-age=315360000".to_owned(), d, ledger),
                ("epoch", _) => self.expire("no-cache".to_owned(), d, ledger),
                (text, None) if text.starts_with('-') => {
                    self.expire("no-cache".to_owned(), d, ledger)
                }
                (_, Some(secs)) if d.args.len() == 1 => {
                    self.expire(format!("max-age={secs}"), d, ledger)
                }
                _ => ledger.unknown(d, "no time such as 1y"),
            },
            "proxy_hide_header" if fields::is_free(d.arg(0)) => {
                self.hide.insert(d.arg(0).to_ascii_lowercase());
                ledger.carried(
                    d,
                    format!("remove = [{}]", quoted(&d.arg(0).to_ascii_lowercase())),
                );
            }
            "proxy_redirect" if matches!(d.arg(0), "off" | "default") => {
                ledger.done(
                    d,
                    "an app knows the host it is asked for, so its redirects are right",
                );
            }
            _ => return false,
        }
        true
    }

    fn expire(&mut self, says: String, d: &Directive, ledger: &mut Ledger) {
        ledger.carried(
            d,
            format!("{says} in Cache-Control; Expires is not sent beside it"),
        );
        self.expires = Some(says);
    }

    fn compression(&mut self, d: &Directive, ledger: &mut Ledger) -> bool {
        match d.name.as_str() {
            "gzip" => {
                self.gzip = Some(d.arg(0) == "on");
                let says = if d.arg(0) == "on" {
                    "`compress` of the areas"
                } else {
                    "nothing is compressed"
                };
                ledger.carried(d, says);
            }
            "gzip_types" => {
                let part = |text: &str| {
                    let plain =
                        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
                    !text.is_empty() && text.bytes().all(plain)
                };
                let sound = |t: &String| t.split_once('/').is_some_and(|(a, b)| part(a) && part(b));
                if d.args.iter().all(sound) {
                    self.gzip_types = Some(d.args.clone());
                    ledger.carried(d, "`types` of `compress`, with text/html");
                } else {
                    self.gzip_types = None;
                    ledger.differs(d, "only media types in lower case, no pattern for all: what is compressed already is left alone");
                }
            }
            "gzip_min_length" => match size(d.arg(0)) {
                Some(bytes) => {
                    self.gzip_min = Some(bytes);
                    ledger.carried(d, format!("`min` of `compress` = \"{}\"", show_size(bytes)));
                }
                None => ledger.unknown(d, "no size such as 1024"),
            },
            "gzip_comp_level" => match d.arg(0).parse() {
                Ok(level @ 1..=9) => {
                    self.gzip_level = Some(level);
                    ledger.carried(d, format!("`level` of `compress` = {level}"));
                }
                Ok(_) | Err(_) => ledger.unknown(d, "a level is from 1 to 9"),
            },
            _ => return false,
        }
        true
    }

    fn caching(&mut self, d: &Directive, names: &Names, ledger: &mut Ledger) -> bool {
        match d.name.as_str() {
            "proxy_cache" => match d.arg(0) {
                "off" => {
                    let (value, id) = (false, d.id);
                    self.cache = Some(Said { value, id });
                    ledger.carried(d, "nothing is kept");
                }
                zone if names.caches.contains(zone) => {
                    let (value, id) = (true, d.id);
                    self.cache = Some(Said { value, id });
                    ledger.differs(d, "`cache`: answers are kept for each person alone; where they are the same for all, write `shared` with the reason");
                }
                _ => ledger.unknown(d, "no proxy_cache_path has this keys_zone"),
            },
            "proxy_cache_valid" => {
                let time = d
                    .args
                    .last()
                    .and_then(|text| secs(text))
                    .filter(|secs| *secs > 0);
                let codes = d.args.split_last().map_or(&[][..], |(_, codes)| codes);
                let good =
                    codes.is_empty() || codes.iter().any(|c| matches!(c.as_str(), "200" | "any"));
                match time.filter(|_| good && self.cache_ttl.is_none()) {
                    Some(ttl) => {
                        self.cache_ttl = Some(ttl);
                        ledger.carried(d, format!("`ttl` of `cache` = \"{}\"", show_secs(ttl)));
                    }
                    None => ledger.differs(d, "one time for all answers that may be kept; an app's own Cache-Control comes first"),
                }
            }
            "proxy_cache_use_stale" => {
                self.cache_stale = Some(d.arg(0) != "off");
                ledger.carried(
                    d,
                    "`stale` of `cache` = \"1h\", told by Age; nginx has no end for it",
                );
            }
            "proxy_cache_key" => {
                ledger.differs(d, "an answer is found by host, path, query and person")
            }
            "proxy_cache_methods"
                if d.args.iter().all(|m| matches!(m.as_str(), "GET" | "HEAD")) =>
            {
                ledger.done(d, "only answers to GET and HEAD are kept");
            }
            _ => return false,
        }
        true
    }

    fn files(&mut self, d: &Directive, ledger: &mut Ledger) -> bool {
        match d.name.as_str() {
            "root" => {
                if d.arg(0).contains('$') || !d.arg(0).starts_with('/') {
                    self.root = None;
                    ledger.unknown(d, "a folder is written from the root, without variables");
                } else {
                    self.root = Some(d.arg(0).trim_end_matches('/').to_owned());
                    ledger.carried(d, "`static` of areas that pass nothing on");
                }
            }
            "index" => {
                let first = d.arg(0).to_owned();
                let sound =
                    !first.is_empty() && !first.contains(['$', '/']) && !first.starts_with('.');
                if sound && !first.chars().any(char::is_control) {
                    self.index = Some(first);
                    let more = if d.args.len() > 1 {
                        "; the others are not looked for"
                    } else {
                        ""
                    };
                    ledger.carried(d, format!("`index` of `static`{more}"));
                } else {
                    ledger.unknown(d, "no name of a file");
                }
            }
            "try_files" => {
                self.tries = Some(Said {
                    value: d.args.clone(),
                    id: d.id,
                });
            }
            _ => return false,
        }
        true
    }

    fn tls_to(&mut self, d: &Directive, ledger: &mut Ledger) -> bool {
        let value = d.arg(0);
        let path = value.starts_with('/') && value.len() <= 1024 && !value.contains("..");
        let slot = match d.name.as_str() {
            "proxy_ssl_verify" => {
                self.tls.verify = value == "on";
                let says = "the certificate of an https:// upstream is checked, always";
                if self.tls.verify {
                    ledger.done(d, says);
                } else {
                    ledger.differs(d, says);
                }
                return true;
            }
            "proxy_ssl_server_name"
            | "proxy_ssl_session_reuse"
            | "proxy_ssl_verify_depth"
            | "proxy_ssl_protocols"
            | "proxy_ssl_ciphers" => {
                ledger.done(d, "TLS 1.2 or 1.3 to upstreams, with the name");
                return true;
            }
            "proxy_ssl_trusted_certificate" if path => &mut self.tls.ca,
            "proxy_ssl_certificate" if path => &mut self.tls.cert,
            "proxy_ssl_certificate_key" if path => &mut self.tls.key,
            "proxy_ssl_name" if policy::canon::host(value).is_ok_and(|h| h.as_str() == value) => {
                &mut self.tls.name
            }
            _ => return false,
        };
        *slot = Some(value.to_owned());
        ledger.carried(
            d,
            "in the table of each https:// upstream: ca, name, cert and key",
        );
        true
    }
}

/// Whether a policy may tell an app something in a field of this name.
fn is_told(name: &str) -> bool {
    let known = [
        "remote-user",
        "x-remote-user",
        "x-user",
        "x-auth-user",
        "x-webauth-user",
        "x-forwarded-user",
        "x-auth-request-user",
    ];
    known.contains(&name)
}
