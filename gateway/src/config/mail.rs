//! The section `[mail]`: how mails leave the gateway.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use serde::Deserialize;

use super::value::{self, Leaf};

/// The section `[mail]`; without `host` no mail is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Mail {
    /// The SMTP server: a name, or a loopback address.
    #[serde(deserialize_with = "server")]
    pub(crate) host: Option<String>,
    /// Its port; see [`Mail::port`].
    #[serde(rename = "port", deserialize_with = "port")]
    own_port: Option<u16>,
    /// How the connection is protected.
    pub(crate) tls: MailTls,
    /// Who the mails are from.
    #[serde(deserialize_with = "value::some")]
    pub(crate) from: Option<Mailbox>,
    /// The account at the server; absent means none is needed.
    pub(crate) user: Option<String>,
    /// The file with its password.
    #[serde(deserialize_with = "value::some")]
    pub(crate) password_file: Option<PathBuf>,
    /// A PEM file with the authorities that may vouch for the server, in place of the system's.
    #[serde(deserialize_with = "value::some")]
    pub(crate) ca: Option<PathBuf>,
    /// How long one step of the conversation may take.
    #[serde(deserialize_with = "value::one")]
    pub(crate) timeout: Duration,
    /// Who hears of attacks; those whom the policy lets into the console if empty.
    #[serde(deserialize_with = "value::list")]
    pub(crate) admins: Vec<Address>,
}

/// The values of `[mail] tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MailTls {
    /// Plain at first, then TLS or nothing.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Plain; only to this very machine.
    None,
}

impl Mail {
    /// Returns the port: as configured, else the usual one.
    pub(crate) fn port(&self) -> u16 {
        self.own_port.unwrap_or(match self.tls {
            MailTls::Starttls => 587,
            MailTls::Tls => 465,
            MailTls::None => 25,
        })
    }

    /// Says what is wrong with the whole: the key, and a text.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let Some(host) = &self.host else {
            let said = self.from.is_some() || self.user.is_some() || !self.admins.is_empty();
            return said.then_some(("host", "mails need the name of an SMTP server in `host`"));
        };
        if self.from.is_none() {
            return Some(("from", "mails need a sender in `from`"));
        }
        match (&self.user, &self.password_file) {
            (Some(_), None) => return Some(("user", "`user` needs a `password-file`")),
            (None, Some(_)) => return Some(("password-file", "`password-file` needs a `user`")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if self.tls == MailTls::None && !loopback {
            return Some((
                "tls",
                "without TLS only a loopback address such as 127.0.0.1",
            ));
        }
        if self.tls != MailTls::None && host.parse::<IpAddr>().is_ok() {
            return Some(("host", "TLS needs the name of the server, not its address"));
        }
        None
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            host: None,
            own_port: None,
            tls: MailTls::Starttls,
            from: None,
            user: None,
            password_file: None,
            ca: None,
            timeout: Duration::from_secs(30),
            admins: Vec::new(),
        }
    }
}

struct Server(String);

impl Leaf for Server {
    const WHAT: &'static str = "the name of an SMTP server such as \"smtp.example.org\"";
    fn read(text: &str) -> Result<Self, String> {
        let loopback = text.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if loopback || value::is_host_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let text = text.escape_debug();
        Err(format!(
            "`{text}` is not the name of a server such as smtp.example.org"
        ))
    }
}

impl Leaf for Mailbox {
    const WHAT: &'static str = "a sender such as \"Postern <gate@example.org>\"";
    fn read(text: &str) -> Result<Self, String> {
        let clean = !text.chars().any(char::is_control);
        let parsed = text.parse().ok().filter(|_| clean);
        parsed.ok_or_else(|| {
            let text = text.escape_debug();
            format!("`{text}` is not a sender such as Postern <gate@example.org>")
        })
    }
}

impl Leaf for Address {
    const WHAT: &'static str = "a mail address such as \"ops@example.org\"";
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let text = text.escape_debug();
            format!("`{text}` is not a mail address such as ops@example.org")
        })
    }
}

fn server<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    value::one::<D, Server>(d).map(|Server(name)| Some(name))
}

fn port<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<u16>, D::Error> {
    value::range::<_, _, 1, 65_535>(d).map(Some)
}
