//! The resolved policy: every name an index, every default written out, everything in one order.
//! The digest, the compiler and the reference interpreter all start here.

mod digest;
mod hours;
mod pattern;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::dns::TunnelDns;
use crate::front::Written;
use crate::headers::HeaderSet;
use crate::lane::Lanes;
use crate::source::Span;
use crate::text::Text;
pub(crate) use digest::same;
pub(crate) use hours::{DAYS, clock};
pub(crate) use pattern::{Pattern, Seg};

/// Index of the built-in zone `tunnel`.
pub(crate) const TUNNEL: u32 = 0;
/// Index of the built-in zone `internet`.
pub(crate) const INTERNET: u32 = 1;

/// How well a device is known. Better ones compare greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// Any device at all.
    #[default]
    Any,
    /// A browser with a device cookie, or an enrolled tunnel device.
    Known,
    /// Marked by an administrator.
    Managed,
}

impl Device {
    /// The word of the policy language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Known => "known",
            Self::Managed => "managed",
        }
    }

    /// Reads the word of the policy language.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Any, Self::Known, Self::Managed]
            .into_iter()
            .find(|device| device.as_str() == word)
    }
}

/// Transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and `ICMPv6`; ports do not matter.
    Icmp,
}

/// What a rule asks of the second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mfa {
    None,
    Session,
    /// Seconds since the last code, at most.
    Age(u32),
}

impl Mfa {
    /// Whether a code this old satisfies the rule.
    pub(crate) fn accepts(self, age: Option<u32>) -> bool {
        match (self, age) {
            (Self::None, _) | (Self::Session, Some(_)) => true,
            (Self::Age(max), Some(age)) => age <= max,
            (Self::Session | Self::Age(_), None) => false,
        }
    }

    /// Whether `self` asks for less than `other`.
    pub(crate) fn weaker_than(self, other: Self) -> bool {
        let rank = |mfa| match mfa {
            Self::None => u64::MAX,
            Self::Session => u64::from(u32::MAX) + 1,
            Self::Age(max) => u64::from(max),
        };
        rank(self) > rank(other)
    }
}

/// A set of people, written as names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Who {
    pub(crate) anyone: bool,
    pub(crate) any_user: bool,
    pub(crate) users: Vec<u32>,
    pub(crate) groups: Vec<u32>,
    pub(crate) not_users: Vec<u32>,
    pub(crate) not_groups: Vec<u32>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Allow {
    pub(crate) name: Text,
    pub(crate) who: Arc<Who>,
    /// Zones, sorted; `None` is everywhere.
    pub(crate) from: Option<Arc<[u32]>>,
    pub(crate) device: Device,
    pub(crate) mfa: Mfa,
    /// Greatest age of the sign-in in seconds.
    pub(crate) login: u32,
    /// Binds the session that comes in by the rule: it ends after this long without use, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<NonZeroU32>,
    /// Binds the person who comes in by the rule: most sessions at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<NonZeroU32>,
    /// Sorted, with HEAD wherever GET is; `None` is every ordinary method.
    pub(crate) methods: Option<Arc<[Text]>>,
    pub(crate) rate: Option<u32>,
    /// Header set; `None` on nets and the console.
    pub(crate) headers: Option<u32>,
    /// Schedules, sorted; `None` is always.
    pub(crate) when: Option<Arc<[u32]>>,
    pub(crate) shadow: bool,
    #[serde(skip)]
    pub(crate) span: Span,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Area {
    pub(crate) pattern: Arc<Pattern>,
    pub(crate) public: Option<Text>,
    pub(crate) shadow: bool,
    /// Its own keys of the front; `None` when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) front: Option<Arc<Written>>,
    /// What it takes beside a sign-in in the browser.
    #[serde(skip_serializing_if = "Lanes::is_none")]
    pub(crate) lanes: Lanes,
    pub(crate) allows: Vec<Allow>,
    #[serde(skip)]
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Host {
    /// One label in front of `name`.
    pub(crate) wildcard: bool,
    pub(crate) name: String,
}

#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) hosts: Vec<Host>,
    /// Whether paths are matched whatever the case of their letters.
    pub(crate) fold: bool,
    /// Whether paths that Windows reads in two ways are refused.
    pub(crate) windows: bool,
    /// Whether segments may carry `;parameters`.
    pub(crate) path_params: bool,
    /// Whether segments may hold `%2F`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) encoded_slashes: bool,
    /// Whether empty segments are kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) empty_segments: bool,
    /// Whether the gateway answers CORS preflights of callers not signed in.
    pub(crate) preflight: bool,
    pub(crate) shadow: bool,
    /// The root area first, then sorted by pattern.
    pub(crate) areas: Vec<Area>,
}

/// Where an app's requests go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Upstream {
    /// Whether the gateway speaks TLS to it.
    pub tls: bool,
    /// Whether the gateway speaks HTTP/2 to it, and nothing else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub http2: bool,
    /// Its address.
    pub at: At,
}

/// The address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// Name or address without brackets, and TCP port.
    Net(String, u16),
    /// The absolute path of a socket.
    Unix(String),
}

impl Upstream {
    /// Stands where none could be read; such a policy is not loaded.
    pub(crate) fn none() -> Self {
        Self {
            tls: false,
            http2: false,
            at: At::Net(String::new(), 0),
        }
    }
}

/// Writes it as the policy has it, the port always.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.http2, self.tls) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "h2c",
            (true, true) => "h2",
        };
        match &self.at {
            At::Net(host, port) if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            At::Net(host, port) => write!(f, "{scheme}://{host}:{port}"),
            At::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Ports {
    pub(crate) proto: Proto,
    pub(crate) first: u16,
    pub(crate) last: u16,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Net {
    pub(crate) id: String,
    #[serde(serialize_with = "cidrs")]
    pub(crate) to: Vec<IpNet>,
    pub(crate) ports: Vec<Ports>,
    pub(crate) shadow: bool,
    pub(crate) allows: Vec<Allow>,
    #[serde(skip)]
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Resource {
    App(u32),
    Net(u32),
    Admin,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Guard {
    pub(crate) id: String,
    pub(crate) who: Option<Who>,
    pub(crate) from: Option<Vec<u32>>,
    pub(crate) device_not: Option<Device>,
    pub(crate) on: Option<Vec<Resource>>,
    pub(crate) when: Option<Vec<u32>>,
    pub(crate) unless_when: Option<Vec<u32>>,
    pub(crate) shadow: bool,
    pub(crate) reason: String,
    #[serde(skip)]
    pub(crate) span: Span,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) name: Text,
    pub(crate) display: Option<String>,
    pub(crate) mail: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) disabled: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Through nesting, sorted.
    pub(crate) groups: Vec<u32>,
    /// The tenant whose users.toml says that they exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) name: Text,
    /// Through nesting, sorted.
    pub(crate) members: Vec<u32>,
    /// Itself and every group that holds it, sorted.
    pub(crate) within: Vec<u32>,
    #[serde(skip)]
    pub(crate) span: Span,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Zone {
    pub(crate) name: String,
    #[serde(serialize_with = "cidrs")]
    pub(crate) nets: Vec<IpNet>,
    #[serde(skip)]
    pub(crate) span: Span,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    /// Monday is 0; sorted.
    pub(crate) days: Option<Vec<u8>>,
    /// Minutes of the day, sorted and disjoint; the end is not included.
    pub(crate) times: Option<Vec<(u16, u16)>>,
    /// First and last date.
    pub(crate) between: Option<(String, String)>,
    pub(crate) tz: String,
    #[serde(skip)]
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RateDef {
    pub(crate) name: String,
    pub(crate) count: u32,
    pub(crate) per_secs: u32,
    pub(crate) burst: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) alert: bool,
    #[serde(skip)]
    pub(crate) span: Span,
}

impl fmt::Display for RateDef {
    /// Writes it as the language has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per_secs {
            1 => "s",
            60 => "m",
            3600 => "h",
            _ => "d",
        };
        let alert = if self.alert { " alert" } else { "" };
        write!(f, "{}/{unit} burst {}{alert}", self.count, self.burst)
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Defaults {
    pub(crate) mfa: Mfa,
    pub(crate) login: u32,
    pub(crate) rate: Option<u32>,
    pub(crate) headers: Option<u32>,
    pub(crate) device: Device,
    pub(crate) idle: Option<u32>,
    pub(crate) sessions: Option<u32>,
    /// Seconds by which one code may put off the end of a session, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extend: Option<u32>,
    pub(crate) hide: bool,
}

/// Which sign-ins open a quarantined tunnel device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignInDoor {
    /// Only a sign-in made through that tunnel device.
    #[default]
    Tunnel,
    /// Any sign-in of that person.
    Web,
}

/// What closes a tunnel device again that its person has opened, though the session goes on. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reprove {
    /// It is heard from another address than the proof was given at.
    pub moved: bool,
    /// Seconds since the last code of its person.
    pub after: Option<u32>,
    /// Seconds without data from the device.
    pub idle: Option<u32>,
}

impl Reprove {
    /// Whether nothing closes a device but the end of its session.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Managed devices that need no sign-in for some nets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Headless {
    /// Whose device it is.
    pub(crate) user: u32,
    /// Its name; `None` is every managed device of that user.
    pub(crate) device: Option<String>,
    /// Sorted.
    pub(crate) nets: Vec<u32>,
    #[serde(skip)]
    pub(crate) span: Span,
}

impl Headless {
    /// As the file names it.
    pub(crate) fn name(&self, users: &[User]) -> String {
        let user = users.get(self.user as usize).map_or("", |user| &*user.name);
        format!("{user}/{}", self.device.as_deref().unwrap_or("*"))
    }
}

/// One policy, resolved.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ir {
    pub(crate) users: Vec<User>,
    pub(crate) groups: Vec<Group>,
    /// `tunnel`, `internet`, then the named ones sorted. `acme/internet` is what is neither in the tunnel, nor in a
    /// zone of the root, nor in one of tenant `acme`; it is there where `acme` has zones.
    pub(crate) zones: Vec<Zone>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) rates: Vec<RateDef>,
    pub(crate) header_sets: Vec<HeaderSet>,
    pub(crate) defaults: Defaults,
    pub(crate) sign_in: SignInDoor,
    #[serde(skip_serializing_if = "Reprove::is_nothing")]
    pub(crate) reprove: Reprove,
    /// Sorted by user and device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) headless: Vec<Headless>,
    #[serde(skip_serializing_if = "TunnelDns::is_nothing")]
    pub(crate) dns: TunnelDns,
    pub(crate) apps: Vec<App>,
    pub(crate) nets: Vec<Net>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) admin: Vec<Allow>,
    /// Sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tenants: Vec<Tenant>,
}

/// Whose names begin with `NAME/`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) domains: Vec<Host>,
    /// Most apps and rules.
    pub(crate) apps: Option<u64>,
    pub(crate) allows: Option<u64>,
}

impl Ir {
    /// SHA-256 over the canonical form.
    pub(crate) fn digest(&self) -> Result<[u8; 32], fmt::Error> {
        digest::digest(b"postern-policy-2\n", self)
    }

    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        index(&self.groups, name, |group| &group.name)
    }

    pub(crate) fn user(&self, name: &str) -> Option<u32> {
        index(&self.users, name, |user| &user.name)
    }

    pub(crate) fn zone(&self, name: &str) -> Option<u32> {
        let at = self.zones.iter().position(|zone| zone.name == name)?;
        u32::try_from(at).ok()
    }
}

impl Zone {
    /// For `internet` of a tenant, the tenant.
    pub(crate) fn internet_of(&self) -> Option<&str> {
        self.name.strip_suffix("/internet")
    }
}

/// Finds a name in a list sorted by name.
pub(crate) fn index<T>(sorted: &[T], name: &str, key: impl Fn(&T) -> &str) -> Option<u32> {
    let at = sorted.binary_search_by(|item| key(item).cmp(name)).ok()?;
    u32::try_from(at).ok()
}

fn cidrs<S: Serializer>(nets: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(nets.iter().map(ToString::to_string))
}
