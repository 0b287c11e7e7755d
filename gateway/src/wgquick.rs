//! A server's file of wg-quick(8): what it says, and where it says it; no IO.

mod names;
#[cfg(test)]
mod tests;
mod undo;

use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use ipnet::IpNet;

use crate::config::Problem;

pub(crate) use undo::undo;

/// Problems told of one file; the rest would be of the same kind.
const PROBLEMS_MAX: usize = 50;
/// Keys of `[Interface]` that have no place in a gateway, with what stands for them.
const UNNEEDED: [(&str, &str); 11] = [
    ("PreUp", FORWARDING),
    ("PostUp", FORWARDING),
    ("PreDown", FORWARDING),
    ("PostDown", FORWARDING),
    (
        "DNS",
        "the gateway answers names itself; resolvers stand in [tunnel] dns and zones",
    ),
    ("MTU", "the largest packet stands in [tunnel] mtu"),
    ("Table", ROUTES),
    ("FwMark", ROUTES),
    ("SaveConfig", "devices are kept by the gateway"),
    ("PersistentKeepalive", "clients keep their side alive"),
    ("Endpoint", "devices are heard where they are"),
];
const FORWARDING: &str = "not needed: the gateway forwards without rules of the kernel; say who may \
                          reach what in the policy, [net.NAME]";
const ROUTES: &str = "the gateway changes no routes of this machine";

/// Something and the bytes of the file where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// What the file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    /// The server's key.
    pub(crate) private_key: Option<At<wg::PrivateKey>>,
    /// The server's addresses in the tunnel, with the networks.
    pub(crate) addresses: Vec<At<IpNet>>,
    /// The UDP port.
    pub(crate) port: Option<At<u16>>,
    /// Lines that are left out, with the reason.
    pub(crate) unneeded: Vec<At<String>>,
    /// What it has run.
    pub(crate) hooks: Hooks,
    /// The clients.
    pub(crate) peers: Vec<Peer>,
}

/// Lines that wg-quick hands to a shell, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    /// As the interface goes up.
    pub(crate) up: Vec<String>,
    /// As it goes down.
    pub(crate) down: Vec<String>,
}

/// A client of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where its section begins.
    pub(crate) span: Range<usize>,
    /// What a comment calls it.
    pub(crate) name: Option<String>,
    /// Its key.
    pub(crate) public_key: wg::PublicKey,
    /// The preshared key.
    pub(crate) preshared_key: Option<wg::PresharedKey>,
    /// The addresses it may use.
    pub(crate) allowed_ips: Vec<At<IpNet>>,
}

/// Reads the text of a file.
///
/// # Errors
/// All problems, each with its line and column and what to write instead.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Server, Vec<Problem>> {
    let mut reader = Reader {
        file,
        text,
        server: Server::default(),
        problems: Vec::new(),
        section: Section::None,
        heard: None,
    };
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        reader.line(start, line);
        start += line.len();
    }
    reader.end_section();
    if reader.problems.is_empty() {
        Ok(reader.server)
    } else {
        Err(reader.problems)
    }
}

/// The section that is being read.
enum Section {
    None,
    Interface,
    Peer(Draft),
}

/// A peer that is not complete yet.
#[derive(Default)]
struct Draft {
    span: Range<usize>,
    name: Option<String>,
    has_keys: bool,
    public_key: Option<wg::PublicKey>,
    preshared_key: Option<wg::PresharedKey>,
    allowed_ips: Vec<At<IpNet>>,
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    server: Server,
    problems: Vec<Problem>,
    section: Section,
    /// The comment right above, which may name the peer that follows.
    heard: Option<String>,
}

/// One `Key = value` with the bytes of the value.
struct Setting<'a> {
    key: &'a str,
    key_at: Range<usize>,
    value: &'a str,
    at: Range<usize>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, start: usize, line: &'a str) {
        let (content, comment) = match line.split_once('#') {
            Some((content, comment)) => (content, names::of_comment(comment)),
            None => (line, None),
        };
        let bare = content.trim();
        if bare.is_empty() {
            let is_comment = line.contains('#');
            return self.comment(comment, is_comment);
        }
        let at = place(start, content, bare);
        if let Some(section) = bare.strip_prefix('[').and_then(|s| s.strip_suffix(']')) {
            self.begin_section(section.trim(), at, comment);
            return;
        }
        self.heard = None;
        let Some((key, value)) = bare.split_once('=') else {
            let what = format!("`{}` is no line of a WireGuard file", shown(bare));
            return self.wrong(at, what, "write `Key = value`, or `#` before it");
        };
        let (key, value) = (key.trim(), value.trim());
        let key_at = place(start, content, key);
        let value_at = value_place(start, content, value, key_at.end);
        if let Section::Peer(draft) = &mut self.section {
            draft.has_keys = true;
            draft.name = draft.name.take().or(comment);
        }
        self.setting(&Setting {
            key,
            key_at,
            value,
            at: value_at,
        });
    }

    /// A comment names the peer whose section it opens, else the next one; an empty line ends that.
    fn comment(&mut self, comment: Option<String>, is_comment: bool) {
        match &mut self.section {
            Section::Peer(draft) if !draft.has_keys && is_comment => {
                draft.name = draft.name.take().or(comment);
            }
            Section::Peer(_) | Section::Interface | Section::None => self.heard = comment,
        }
    }

    fn begin_section(&mut self, name: &str, at: Range<usize>, comment: Option<String>) {
        self.end_section();
        let heard = self.heard.take();
        if name.eq_ignore_ascii_case("Interface") {
            self.section = Section::Interface;
        } else if name.eq_ignore_ascii_case("Peer") {
            self.section = Section::Peer(Draft {
                span: at,
                name: comment.or(heard),
                ..Draft::default()
            });
        } else {
            let what = format!("unknown section [{}]", shown(name));
            self.wrong(at, what, "a file has [Interface] and [Peer]");
        }
    }

    fn end_section(&mut self) {
        let Section::Peer(draft) = std::mem::replace(&mut self.section, Section::None) else {
            return;
        };
        let Some(public_key) = draft.public_key else {
            let what = "this peer has no PublicKey".to_owned();
            return self.wrong(
                draft.span,
                what,
                "write `PublicKey = ...`, or remove the peer",
            );
        };
        let peers = &self.server.peers;
        if peers.iter().any(|p| p.public_key == public_key) {
            let what = format!("the key {public_key} stands twice");
            return self.wrong(draft.span, what, "a key is of one peer");
        }
        self.server.peers.push(Peer {
            span: draft.span,
            name: draft.name,
            public_key,
            preshared_key: draft.preshared_key,
            allowed_ips: draft.allowed_ips,
        });
    }

    fn setting(&mut self, setting: &Setting<'_>) {
        match self.section {
            Section::Interface => self.of_interface(setting),
            Section::Peer(_) => self.of_peer(setting),
            Section::None => {
                let what = format!("{} stands in no section", shown(setting.key));
                let help = "write [Interface] or [Peer] before it";
                self.wrong(setting.key_at.clone(), what, help);
            }
        }
    }

    fn of_interface(&mut self, s: &Setting<'_>) {
        if is(s, "PrivateKey") {
            let key = self.key::<wg::PrivateKey>(s, "a private key");
            let twice = self.server.private_key.is_some();
            self.once(s, twice);
            self.server.private_key = key.map(|value| At {
                value,
                span: s.at.clone(),
            });
        } else if is(s, "Address") {
            let nets = self.nets(s);
            self.server.addresses.extend(nets);
        } else if is(s, "ListenPort") {
            let twice = self.server.port.is_some();
            self.once(s, twice);
            match s.value.parse() {
                Ok(value) => {
                    let span = s.at.clone();
                    self.server.port = Some(At { value, span });
                }
                Err(_) => {
                    let what = format!("`{}` is no port", shown(s.value));
                    self.wrong(s.at.clone(), what, "write a number such as 51820");
                }
            }
        } else if let Some((name, why)) = UNNEEDED.iter().find(|(name, _)| is(s, name)) {
            self.unneeded(s, name, why);
            match *name {
                "PreUp" | "PostUp" => self.server.hooks.up.push(s.value.to_owned()),
                "PreDown" | "PostDown" => self.server.hooks.down.push(s.value.to_owned()),
                _ => {}
            }
        } else {
            let known = ["PrivateKey", "Address", "ListenPort"];
            self.unknown(s, &known);
        }
    }

    fn of_peer(&mut self, s: &Setting<'_>) {
        if is(s, "PublicKey") {
            let key = self.key::<wg::PublicKey>(s, "a public key");
            let twice = self.draft().is_some_and(|d| d.public_key.is_some());
            self.once(s, twice);
            if let Some(draft) = self.draft() {
                draft.public_key = key;
            }
        } else if is(s, "PresharedKey") {
            let key = self.key::<wg::PresharedKey>(s, "a preshared key");
            let twice = self.draft().is_some_and(|d| d.preshared_key.is_some());
            self.once(s, twice);
            if let Some(draft) = self.draft() {
                draft.preshared_key = key;
            }
        } else if is(s, "AllowedIPs") {
            let nets = self.nets(s);
            if let Some(draft) = self.draft() {
                draft.allowed_ips.extend(nets);
            }
        } else if is(s, "PersistentKeepalive") || is(s, "Endpoint") {
            let unneeded = UNNEEDED.iter().find(|(name, _)| is(s, name));
            if let Some((name, why)) = unneeded {
                self.unneeded(s, name, why);
            }
        } else {
            let known = [
                "PublicKey",
                "PresharedKey",
                "AllowedIPs",
                "PersistentKeepalive",
                "Endpoint",
            ];
            self.unknown(s, &known);
        }
    }

    fn draft(&mut self) -> Option<&mut Draft> {
        match &mut self.section {
            Section::Peer(draft) => Some(draft),
            Section::Interface | Section::None => None,
        }
    }

    fn key<K: FromStr>(&mut self, s: &Setting<'_>, what: &str) -> Option<K> {
        let key = s.value.parse().ok();
        if key.is_none() {
            // a private key in the wrong place must not be told
            let what = format!("{} is not {what}", s.key);
            let help = if s.value.starts_with('<') {
                "a placeholder stands here; write the 44 characters that wg(8) prints"
            } else {
                "write the 44 characters that wg(8) prints"
            };
            self.wrong(s.at.clone(), what, help);
        }
        key
    }

    fn nets(&mut self, s: &Setting<'_>) -> Vec<At<IpNet>> {
        let mut nets = Vec::new();
        let mut from = s.at.start;
        for part in s.value.split(',') {
            let text = part.trim();
            let lead = part.len() - part.trim_start().len();
            let span = from + lead..from + lead + text.len();
            from += part.len() + 1;
            let net = text.parse::<IpNet>().ok();
            let host = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
            match net.or_else(host) {
                Some(value) => nets.push(At { value, span }),
                None => {
                    let what = format!("`{}` is no address", shown(text));
                    self.wrong(span, what, "write one such as 10.200.200.2/32");
                }
            }
        }
        nets
    }

    fn unneeded(&mut self, s: &Setting<'_>, name: &str, why: &str) {
        self.server.unneeded.push(At {
            value: format!("{name}: {why}"),
            span: s.key_at.clone(),
        });
    }

    fn once(&mut self, s: &Setting<'_>, twice: bool) {
        if twice {
            let what = format!("{} stands twice in this section", s.key);
            self.wrong(s.key_at.clone(), what, "write it once");
        }
    }

    fn unknown(&mut self, s: &Setting<'_>, known: &[&str]) {
        let what = format!("unknown key `{}`", shown(s.key));
        let help = format!("known here: {}", known.join(", "));
        self.wrong(s.key_at.clone(), what, &help);
    }

    fn wrong(&mut self, at: Range<usize>, what: String, help: &str) {
        if self.problems.len() < PROBLEMS_MAX {
            let problem = Problem::at(self.file, self.text, Some(at), what);
            self.problems.push(problem.help(help.to_owned()));
        }
    }
}

fn is(s: &Setting<'_>, name: &str) -> bool {
    s.key.eq_ignore_ascii_case(name)
}

/// Finds the bytes of a part that was trimmed out of the start of a line.
fn place(start: usize, line: &str, part: &str) -> Range<usize> {
    let at = start + line.find(part).unwrap_or(0);
    at..at + part.len()
}

/// As [`place`] for the value, which may hold the same letters as the key.
fn value_place(start: usize, line: &str, value: &str, from: usize) -> Range<usize> {
    let skip = from.saturating_sub(start).min(line.len());
    let rest = line.get(skip..).unwrap_or_default();
    let at = match rest.find(value) {
        Some(at) => start + skip + at,
        None => place(start, line, value).start,
    };
    at..at + value.len()
}

/// Writes what a file says so that a terminal takes no orders from it.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}
