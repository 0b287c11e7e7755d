//! The configuration file `postern.toml`: everything has a default, unknown keys are errors.

mod acme;
mod bans;
mod error;
pub(crate) mod lock;
mod mail;
pub(crate) mod named;
mod resolv;
mod rules;
mod traces;
mod tunnel;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;

pub(crate) use acme::{Acme, Challenge, Directory, Dns};
pub(crate) use bans::{Bans, Jail};
pub(crate) use error::{ConfigError, Problem};
pub(crate) use mail::{Mail, MailTls};
pub(crate) use traces::Traces;
pub(crate) use value::{duration, is_host_name};

use crate::snapshot::files;

/// A checked configuration; every path in it is absolute or relative to the working directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// The file it was read from.
    #[serde(skip)]
    pub(crate) file: PathBuf,
    /// The state folder, mode 0700.
    #[serde(deserialize_with = "value::one")]
    pub(crate) data: PathBuf,
    /// The policy folder.
    #[serde(rename = "policy", deserialize_with = "value::one")]
    pub(crate) policy_dir: PathBuf,
    /// The file of the master key, outside the state folder.
    #[serde(deserialize_with = "value::one")]
    pub(crate) master_key: PathBuf,
    /// Whom people are told to ask on error pages.
    pub(crate) contact: Option<String>,
    /// The web door.
    pub(crate) http: Http,
    /// The listener for metrics and readiness.
    pub(crate) admin: Admin,
    /// Certificates that are ordered.
    pub(crate) acme: Acme,
    /// Certificates.
    pub(crate) tls: Tls,
    /// The tunnel door.
    pub(crate) tunnel: Tunnel,
    /// Signing in.
    pub(crate) identity: Identity,
    /// Who is shut out.
    pub(crate) bans: Bans,
    /// Mails to people.
    pub(crate) mail: Mail,
    /// The collector that is told of requests.
    pub(crate) traces: Traces,
    /// The log on stderr.
    pub(crate) log: Log,
}

/// The section `[http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Http {
    /// Addresses that speak TLS; at least one.
    #[serde(deserialize_with = "value::list")]
    pub(crate) https: Vec<SocketAddr>,
    /// Addresses that speak plain HTTP and only redirect.
    #[serde(deserialize_with = "value::list")]
    pub(crate) http: Vec<SocketAddr>,
    /// Host names of the sign-in pages; the first is the one links name.
    #[serde(deserialize_with = "value::hosts")]
    pub(crate) sign_in: Vec<String>,
    /// The origin that links made without a request use; see [`Http::public_url`].
    #[serde(rename = "public-url", deserialize_with = "value::origin")]
    own_url: Option<String>,
    /// `max-age` of Strict-Transport-Security, in seconds; zero sends none.
    #[serde(deserialize_with = "value::range::<_, _, 0, 315_360_000>")]
    pub(crate) hsts_seconds: u64,
    /// The largest request body in bytes where the policy does not say otherwise.
    #[serde(deserialize_with = "value::bytes")]
    pub(crate) body_max: u64,
    /// The most bytes of answers that are kept to be given again.
    #[serde(deserialize_with = "value::bytes")]
    pub(crate) cache_max: u64,
    /// Worker threads; zero means one a core.
    #[serde(deserialize_with = "value::range::<_, _, 0, 256>")]
    pub(crate) workers: usize,
    /// Open connections over all sources.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1_000_000>")]
    pub(crate) max_connections: usize,
    /// Open connections of one source address (one /64 for IPv6, and four times as many of one /56); where somebody is
    /// signed in from it, half of all.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1_000_000>")]
    pub(crate) max_connections_per_source: usize,
    /// Open requests of one person over all their devices; a WebSocket is one.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1_000_000>")]
    pub(crate) max_streams_per_person: usize,
    /// Requests of one connection; the answer to the last one says that it ends.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1_000_000_000>")]
    pub(crate) max_requests_per_connection: u32,
    /// Networks of proxies whose connections begin with a PROXY header; nobody else may send one.
    #[serde(deserialize_with = "value::list")]
    pub(crate) proxy_protocol_from: Vec<IpNet>,
}

impl Http {
    /// Returns the origin for links made without a request, without a final slash.
    pub(crate) fn public_url(&self) -> String {
        if let Some(url) = &self.own_url {
            return url.clone();
        }
        let host = self.sign_in.first().map_or("localhost", String::as_str);
        match self.https.first().map_or(443, SocketAddr::port) {
            443 => format!("https://{host}"),
            port => format!("https://{host}:{port}"),
        }
    }
}

/// The section `[admin]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Admin {
    /// The address of the admin listener; absent means none.
    #[serde(deserialize_with = "value::some")]
    pub(crate) listen: Option<SocketAddr>,
}

/// The section `[tls]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Tls {
    /// Own certificates as PEM files.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// Whether names that no own certificate covers get one of the internal CA.
    pub(crate) internal_ca: bool,
    /// Hosts that ask for more than the others.
    pub(crate) profile: Vec<Profile>,
}

/// One entry of `[[tls.profile]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Profile {
    /// The hosts it is about.
    #[serde(deserialize_with = "value::hosts")]
    pub(crate) hosts: Vec<String>,
    /// Whether TLS 1.2 is refused.
    #[serde(default, rename = "tls13-only")]
    pub(crate) tls13_only: bool,
    /// The roots of client certificates, in PEM; where it is set, a client without one is refused.
    #[serde(default, deserialize_with = "value::some")]
    pub(crate) client_ca: Option<PathBuf>,
}

/// One entry of `[tls] certificates`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CertificateFiles {
    /// The chain, leaf first.
    #[serde(deserialize_with = "value::one")]
    pub(crate) chain: PathBuf,
    /// The private key.
    #[serde(deserialize_with = "value::one")]
    pub(crate) key: PathBuf,
}

/// The section `[tunnel]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Tunnel {
    /// Whether the door is opened.
    pub(crate) enabled: bool,
    /// The UDP address of the WireGuard socket.
    #[serde(deserialize_with = "value::one")]
    pub(crate) listen: SocketAddr,
    /// What device configs name as endpoint, `host:port`; see [`Config::endpoint`].
    #[serde(rename = "endpoint", deserialize_with = "value::endpoint")]
    own_endpoint: Option<String>,
    /// Where devices get their addresses; the gateway is the first host.
    #[serde(deserialize_with = "value::one")]
    pub(crate) network: Ipv4Net,
    /// Where devices get an IPv6 address besides; without it the tunnel carries IPv4 only.
    #[serde(deserialize_with = "value::some")]
    pub(crate) network6: Option<Ipv6Net>,
    /// The largest inner packet in bytes.
    #[serde(deserialize_with = "value::range::<_, _, 1280, 1500>")]
    pub(crate) mtu: u16,
    /// Resolvers for names that are not ours; those of the system if absent.
    #[serde(deserialize_with = "value::resolvers")]
    pub(crate) dns: Vec<SocketAddr>,
    /// Office zones and the resolvers that answer them.
    #[serde(deserialize_with = "value::zones")]
    pub(crate) zones: BTreeMap<String, Vec<SocketAddr>>,
    /// Networks that device configs route besides the tunnel's; absent means those that the policy lets their
    /// person reach.
    #[serde(deserialize_with = "value::some_list")]
    pub(crate) routes: Option<Vec<IpNet>>,
    /// Threads that carry packets, each with devices of its own; one for every two cores if absent, at most 8.
    #[serde(deserialize_with = "value::some_range::<_, _, 1, 16>")]
    pub(crate) workers: Option<u8>,
    /// A socket that `wg show` can ask, such as `/run/wireguard/postern.sock`; none if absent.
    #[serde(deserialize_with = "value::some")]
    pub(crate) wg_socket: Option<PathBuf>,
}

/// The section `[identity]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Identity {
    /// How long a session lives without use.
    #[serde(deserialize_with = "value::one")]
    pub(crate) idle: Duration,
    /// How long a session lives at all.
    #[serde(deserialize_with = "value::one")]
    pub(crate) absolute: Duration,
    /// Sessions of one person at a time; the oldest ends for the next.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1000>")]
    pub(crate) max_sessions: usize,
    /// Tunnel devices of one person that are not revoked, whoever registered them.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1000>")]
    pub(crate) max_devices: usize,
    /// The shortest password, in characters.
    #[serde(deserialize_with = "value::range::<_, _, 8, 128>")]
    pub(crate) password_min: usize,
    /// The name authenticator apps show.
    pub(crate) issuer: String,
    /// Cost of a password hash.
    argon2: Argon2,
    /// Failures of one source at one account before it waits.
    #[serde(deserialize_with = "value::range::<_, _, 1, 1000>")]
    pub(crate) failures: u32,
    /// How long it waits.
    #[serde(deserialize_with = "value::one")]
    pub(crate) failure_wait: Duration,
    /// Sign-in posts of one source a minute.
    #[serde(deserialize_with = "value::range::<_, _, 1, 100_000>")]
    pub(crate) source_posts_per_minute: u32,
    /// Posts beyond the first that may come at once.
    #[serde(deserialize_with = "value::range::<_, _, 0, 100_000>")]
    pub(crate) source_posts_burst: u32,
    /// Memory of a password hash in KiB, copied from `argon2`.
    #[serde(skip)]
    pub(crate) argon2_memory_kib: u32,
    /// Passes of a password hash, copied from `argon2`.
    #[serde(skip)]
    pub(crate) argon2_passes: u32,
}

/// The table `[identity] argon2`; the floor is OWASP's 19 MiB with two passes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Argon2 {
    #[serde(deserialize_with = "value::range::<_, _, 19_456, 4_194_304>")]
    memory_kib: u32,
    #[serde(deserialize_with = "value::range::<_, _, 2, 100>")]
    passes: u32,
}

/// The section `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Log {
    /// The least severity that is written.
    pub(crate) level: LogLevel,
    /// The form of a line.
    pub(crate) format: LogFormat,
}

/// The values of `[log] level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogLevel {
    /// Needs a human.
    Error,
    /// Worth a look.
    Warn,
    /// State changes.
    Info,
    /// The ceiling for user data.
    Debug,
}

impl LogLevel {
    /// Names the level as filters write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The values of `[log] format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The largest configuration file in bytes.
const FILE_MAX: u64 = 1 << 20;

impl Config {
    /// Reads and checks a configuration file; relative paths in it start at its folder.
    ///
    /// # Errors
    /// [`ConfigError::Read`] if there is no such regular file, [`ConfigError::Invalid`] with positions.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            files::read_text(path, FILE_MAX, files::Links::Follow).map_err(ConfigError::Read)?;
        let mut config = Self::parse(path, &text)?;
        if config.tunnel.dns.is_empty() {
            config.tunnel.dns = resolv::system();
        }
        Ok(config)
    }

    /// Checks the text of a configuration file that stands at `path`; reads nothing.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the position of each problem.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)
            .map_err(|e| ConfigError::Invalid(vec![error::translate(path, text, &e)]))?;
        rules::check(&config, path, text)?;
        config.identity.argon2_memory_kib = config.identity.argon2.memory_kib;
        config.identity.argon2_passes = config.identity.argon2.passes;
        config.anchor(path);
        Ok(config)
    }

    /// Returns the file to use: the one named, `$POSTERN_CONFIG`, `./postern.toml`, `/etc/postern/postern.toml`.
    pub(crate) fn default_path(named: Option<&Path>) -> PathBuf {
        if let Some(path) = named {
            return path.to_owned();
        }
        if let Some(path) = std::env::var_os("POSTERN_CONFIG").filter(|v| !v.is_empty()) {
            return path.into();
        }
        let here = PathBuf::from("postern.toml");
        if here.exists() {
            return here;
        }
        PathBuf::from("/etc/postern/postern.toml")
    }

    /// Returns what device configs name as endpoint: as configured, else sign-in host and UDP port.
    pub(crate) fn endpoint(&self) -> String {
        if let Some(endpoint) = &self.tunnel.own_endpoint {
            return endpoint.clone();
        }
        let host = self
            .http
            .sign_in
            .first()
            .map_or("localhost", String::as_str);
        format!("{host}:{}", self.tunnel.listen.port())
    }

    /// Returns the path of the control socket.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.data.join("control.sock")
    }

    /// Lists the files that it names besides policy, state and master key.
    pub(crate) fn named_files(&self) -> Vec<&Path> {
        let own = self.tls.certificates.iter();
        let own = own.flat_map(|files| [&files.chain, &files.key]);
        let mail = [&self.mail.password_file, &self.mail.ca];
        let traces = [&self.traces.headers_file, &self.traces.ca];
        let clients = self.tls.profile.iter().map(|p| &p.client_ca);
        let orders = self.acme.directory.iter();
        let orders = orders.flat_map(|d| [&d.eab_key_file, &d.roots]);
        let dns = self.acme.dns.iter();
        let dns = dns.flat_map(|d| [&d.hook, &d.key_file]);
        let optional = clients.chain(mail).chain(traces).chain(orders).chain(dns);
        let all = own.chain(optional.flatten());
        all.map(PathBuf::as_path).collect()
    }

    fn anchor(&mut self, path: &Path) {
        self.file = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let base = self.file.parent().map(Path::to_owned).unwrap_or_default();
        for path in [&mut self.data, &mut self.policy_dir, &mut self.master_key] {
            *path = base.join(&*path);
        }
        self.acme.anchor(&base);
        let wg_socket = &mut self.tunnel.wg_socket;
        *wg_socket = wg_socket.take().map(|path| base.join(path));
        let (mail, traces) = (&mut self.mail, &mut self.traces);
        for file in [
            &mut mail.password_file,
            &mut mail.ca,
            &mut traces.headers_file,
            &mut traces.ca,
        ] {
            *file = file.take().map(|path| base.join(path));
        }
        for path in self
            .tls
            .profile
            .iter_mut()
            .filter_map(|p| p.client_ca.as_mut())
        {
            *path = base.join(&*path);
        }
        for files in &mut self.tls.certificates {
            files.chain = base.join(&files.chain);
            files.key = base.join(&files.key);
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            data: "data".into(),
            policy_dir: "policy".into(),
            master_key: "keys/master.key".into(),
            contact: None,
            http: Http::default(),
            admin: Admin::default(),
            acme: Acme::default(),
            tls: Tls::default(),
            tunnel: Tunnel::default(),
            identity: Identity::default(),
            bans: Bans::default(),
            mail: Mail::default(),
            traces: Traces::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            https: vec![any(443)],
            http: vec![any(80)],
            sign_in: vec!["gate.localhost".to_owned()],
            own_url: None,
            hsts_seconds: 63_072_000,
            body_max: 1 << 30,
            cache_max: 64 << 20,
            workers: 0,
            max_connections: 16_384,
            max_connections_per_source: 256,
            max_streams_per_person: 1000,
            max_requests_per_connection: 1000,
            proxy_protocol_from: Vec::new(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            internal_ca: true,
            profile: Vec::new(),
        }
    }
}

impl Default for Tunnel {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: any(51820),
            own_endpoint: None,
            network: Ipv4Net::new_assert(Ipv4Addr::new(10, 200, 200, 0), 24),
            network6: None,
            mtu: 1420,
            dns: Vec::new(),
            zones: BTreeMap::new(),
            routes: None,
            workers: None,
            wg_socket: None,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        let argon2 = Argon2::default();
        Self {
            idle: Duration::from_secs(3600),
            absolute: Duration::from_secs(12 * 3600),
            max_sessions: 10,
            max_devices: 10,
            password_min: 15,
            issuer: "Postern".to_owned(),
            failures: 5,
            failure_wait: Duration::from_secs(15 * 60),
            source_posts_per_minute: 60,
            source_posts_burst: 59,
            argon2_memory_kib: argon2.memory_kib,
            argon2_passes: argon2.passes,
            argon2,
        }
    }
}

impl Default for Argon2 {
    fn default() -> Self {
        Self {
            memory_kib: 65_536,
            passes: 3,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Text,
        }
    }
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

#[cfg(test)]
pub(crate) mod tests;
