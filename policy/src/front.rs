//! What the front does with the requests of an area besides letting them through: where answers come from, what a
//! request may hold, what an answer gets.
//!
//! A key that an area does not write is that of the nearest area around it.

mod merge;
mod places;
mod print;

pub(crate) use merge::{Alike, Fronts};
pub use places::{is_near, may_be_upstream};

use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use crate::ir::Upstream;

/// The settings of one area, its parents' included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// Where answers come from.
    pub source: Source,
    /// The area that says so, such as `/` or `/api`.
    pub source_at: String,
    /// How many segments of a path lead to that area.
    pub source_depth: usize,
    /// How long things may take.
    pub timeout: Timeouts,
    /// Most bytes of a request body; `None` is the gateway's own limit.
    pub body_max: Option<u64>,
    /// The methods that are taken at all, sorted, HEAD wherever GET is; `None` is every ordinary one.
    pub methods: Option<Vec<String>>,
    /// Whether a WebSocket may be opened.
    pub websocket: bool,
    /// What is taken off the path on the way to the app; begins with `/`.
    pub strip: Option<String>,
    /// What is put in front of the path on the way to the app; begins with `/`.
    pub lead: Option<String>,
    /// The set of security fields answers get.
    pub preset: Option<Preset>,
    /// Fields set on answers, names in lower case, sorted.
    pub set: Vec<(String, String)>,
    /// Fields added to answers.
    pub add: Vec<(String, String)>,
    /// Names taken off answers, in lower case, sorted.
    pub remove: Vec<String>,
    /// Names of `set` where the app's own value stays, in lower case, sorted.
    pub keep_app: Vec<String>,
    /// Whether a content security policy that the front writes is only told of, not obeyed.
    pub csp_report_only: bool,
    /// Whether browsers are asked to tell the gateway of breaches of it.
    pub csp_reports: bool,
    /// Which other origins' pages may read answers.
    pub cors: Option<Arc<Cors>>,
    /// What is compressed.
    pub compress: Option<Arc<Compress>>,
    /// What is kept to be answered again.
    pub cache: Option<Arc<Cache>>,
    /// Whether people get the page of maintenance instead.
    pub maintenance: Maintenance,
    /// Whether people must say why they come.
    pub justify: Option<Arc<Justify>>,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            source: Source::Pool(Arc::default()),
            source_at: "/".to_owned(),
            source_depth: 0,
            timeout: Timeouts::default(),
            body_max: None,
            methods: None,
            websocket: true,
            strip: None,
            lead: None,
            preset: None,
            set: Vec::new(),
            add: Vec::new(),
            remove: Vec::new(),
            keep_app: Vec::new(),
            csp_report_only: false,
            csp_reports: false,
            cors: None,
            compress: None,
            cache: None,
            maintenance: Maintenance::Off,
            justify: None,
        }
    }
}

/// When the page of maintenance stands for an area's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maintenance {
    /// Never.
    #[default]
    Off,
    /// As long as the policy says so.
    On,
    /// As long as the check of every upstream fails.
    Auto,
}

/// What is asked of people before they come in: a reason, which stands in the records of what they do then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Justify {
    /// For how many seconds a reason holds.
    pub hold: u32,
    /// The area that asks; areas below it take the reason given for it.
    pub area: String,
}

/// Where the answers of an area come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// One of several upstreams.
    Pool(Arc<Pool>),
    /// Files of a folder.
    Static(Static),
    /// Another address.
    Redirect(Redirect),
}

/// The upstreams of an area.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Pool {
    /// At least one.
    pub members: Vec<Member>,
    /// How one is chosen.
    pub balance: Balance,
    /// Whether a browser stays with the upstream it was first given.
    pub sticky: bool,
    /// How upstreams are probed.
    pub check: Option<Check>,
    /// Most requests under way at all of them together; one more is refused, never made to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// When requests are refused at once because those before got no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Where its upstreams may be, sorted; where none is named, anywhere but on a link or in no single place.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_text")]
    pub networks: Vec<IpNet>,
}

/// When requests are refused at once because those before got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Breaker {
    /// Requests without an answer, one after another, that open it.
    pub failures: u32,
    /// Seconds until one request is let through to try.
    pub rest: u32,
}

/// One upstream of several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Member {
    /// Where it is.
    pub to: Upstream,
    /// Its share of new requests, from 1 to 100.
    pub weight: u32,
    /// Whether it only serves browsers that are already pinned to it.
    pub drain: bool,
    /// TLS towards it, beyond the ordinary.
    pub tls: TlsTo,
}

/// TLS towards an upstream, beyond the ordinary.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TlsTo {
    /// File of the authority that signs its certificate; without it, those of the machine.
    pub ca: Option<String>,
    /// The name its certificate must have; without it, the host of the address.
    pub name: Option<String>,
    /// Files of the certificate and key shown to it.
    pub identity: Option<(String, String)>,
}

/// How an upstream is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way, by weight.
    LeastConnections,
}

impl Balance {
    /// The word of the policy language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
        }
    }
}

/// How upstreams are probed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Check {
    /// Path and query that are asked for.
    pub path: String,
    /// The status of a good answer; `None` is any from 200 to 399.
    pub status: Option<u16>,
    /// Seconds between two probes.
    pub every: u32,
    /// Seconds a probe may take.
    pub timeout: u32,
    /// Good probes in a row that bring an upstream back.
    pub up: u32,
    /// Bad probes in a row that take it out.
    pub down: u32,
    /// Text a good answer holds.
    pub body: Option<String>,
    /// Fields of a good answer's JSON, written `a.b`, with the text they have.
    pub json: Vec<(String, String)>,
}

/// How long things may take, in seconds; `None` is the gateway's own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Timeouts {
    /// To connect, TLS included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<u32>,
    /// Until the head of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u32>,
    /// Of silence within an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<u32>,
    /// Of silence on a WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<u32>,
    /// Until the body of the request is whole, however fast it comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<u32>,
}

/// A folder of files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Static {
    /// Its absolute path. What stands below the area in a request's path is looked for in it.
    pub root: String,
    /// The file that answers for a folder.
    pub index: String,
    /// The file, below the root, that answers where there is none, for an app that reads paths in the browser.
    pub fallback: Option<String>,
}

/// Another address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Redirect {
    /// An absolute URL or a path, without a closing `/*`.
    pub to: String,
    /// Whether what stands below the area in the path, and the query, is kept.
    pub keep: bool,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A set of security fields that answers get where the app sets none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The seven that OWASP recommends, with strict values.
    Owasp,
    /// Those of a dashboard behind nginx: HSTS for a year, frames of the same origin only.
    Dashboard,
    /// Those of a single-page app behind nginx, with a policy that permits inline scripts.
    Spa,
    /// Nothing, not even what every answer gets otherwise.
    None,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Owasp, Self::Dashboard, Self::Spa, Self::None];

    /// The word of the policy language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owasp => "owasp",
            Self::Dashboard => "dashboard",
            Self::Spa => "spa",
            Self::None => "none",
        }
    }
}

/// Which other origins' pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Cors {
    /// Origins such as `https://app.example`, sorted.
    pub origins: Vec<String>,
    /// Methods such a page may use.
    pub methods: Vec<String>,
    /// Request fields such a page may set, in lower case.
    pub headers: Vec<String>,
    /// Answer fields such a page may read.
    pub expose: Vec<String>,
    /// Whether its requests may carry cookies.
    pub credentials: bool,
    /// Seconds a browser may keep the answer to a preflight.
    pub max_age: u32,
}

/// What is compressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Compress {
    /// Media types, without parameters; `type/*` is all of one kind.
    pub types: Vec<String>,
    /// The shortest answer that is compressed, in bytes.
    pub min: u64,
    /// From 1, fast, to 9, small.
    pub level: u32,
}

/// Whose an answer is that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// Only that of the person who got it.
    #[default]
    No,
    /// Those who are not signed in share one.
    Strangers,
    /// All share one, for this reason.
    All(String),
}

/// What is kept to be answered again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Cache {
    /// Seconds an answer stands for the app's.
    pub ttl: u32,
    /// Seconds after that in which it stands in while another is fetched, or when none can be.
    pub stale: u32,
    /// Whose an answer is.
    pub shared: Shared,
    /// The longest answer that is kept, in bytes.
    pub most: u64,
}

/// The media types that are compressed unless others are named, sorted: text, and no format that is compressed already.
pub const COMPRESSED: [&str; 17] = [
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/xhtml+xml",
    "application/xml",
    "application/xml+rss",
    "font/opentype",
    "font/otf",
    "font/truetype",
    "font/ttf",
    "image/svg+xml",
    "text/*",
];

/// The keys an area itself has, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Source>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) timeout: Timeouts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) methods: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) websocket: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) strip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lead: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preset: Option<Preset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_app: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) csp_report_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) csp_reports: Option<bool>,
    /// `Some(None)` is an area that says `cors = false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cors: Option<Option<Arc<Cors>>>,
    /// `Some(None)` is an area that says `cache = false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<Option<Arc<Cache>>>,
    /// `Some(None)` is an area that says `compress = false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compress: Option<Option<Arc<Compress>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maintenance: Option<Maintenance>,
    /// Seconds; `Some(None)` is an area that says `justify = false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) justify: Option<Option<u32>>,
}

impl Written {
    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn as_text<S: serde::Serializer>(networks: &[IpNet], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(networks.iter().map(IpNet::to_string))
}

/// What stands below the first `depth` segments of a canonical path: empty, or beginning with `/`.
pub fn below(path: &str, depth: usize) -> &str {
    if depth == 0 {
        return path;
    }
    let mut slashes = path.match_indices('/').skip(depth);
    slashes
        .next()
        .and_then(|(at, _)| path.get(at..))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn what_is_below_an_area_begins_with_a_slash_or_is_nothing() {
        for (path, depth, rest) in [
            ("/", 0, "/"),
            ("/a/b", 0, "/a/b"),
            ("/a/b", 1, "/b"),
            ("/a/", 1, "/"),
            ("/a", 1, ""),
            ("/a/b/c", 2, "/c"),
        ] {
            assert_eq!(below(path, depth), rest, "{path} {depth}");
        }
    }
}
