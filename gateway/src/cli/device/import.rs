//! `postern device import`: the clients of a WireGuard server become devices of people.

mod owners;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use ipnet::IpNet;
use serde::Serialize;

use self::owners::{Owner, Owners};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{block_on, offline, out, policies};
use crate::config::{Config, Problem, Tunnel};
use crate::control::import::{DevicesImported, Import, KeyChoice, Mode, Planned, ServerKey};
use crate::snapshot::files;
use crate::tunnel;
use crate::wgquick::{self, At, Peer, Server};

/// The largest file in bytes.
const FILE_MAX: u64 = 1 << 20;

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server's file, such as /etc/wireguard/wg0.conf
    file: PathBuf,
    /// Who owns which peer: lines `10.200.200.2 = zoe laptop`, `- ` instead of a user leaves one out
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Check and show, keep nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the server's key although devices rely on the gateway's; those need a new configuration
    #[arg(long, conflicts_with = "keep_key")]
    replace_key: bool,
    /// Keep the gateway's key; the imported devices need a new configuration
    #[arg(long)]
    keep_key: bool,
}

/// The examples of its help.
pub(super) const EXAMPLES: &str = "Examples:
  postern device import /etc/wireguard/wg0.conf --dry-run
  postern device import /etc/wireguard/wg0.conf --map owners.txt

The server's key, the addresses and the preshared keys stay, so that the clients go on as they are. A peer belongs
to the person that a comment in or right above its section names (`# zoe laptop`), else to whom the map says:
  10.200.200.2 = zoe laptop           by address, or by public key or comment
  10.200.200.9 = -                    left out
All of the file is taken or, if anything in it is wrong, nothing.";

#[derive(Serialize)]
struct Answer<'a> {
    dry_run: bool,
    #[serde(flatten)]
    done: &'a DevicesImported,
    notes: &'a [String],
    undo: &'a [String],
}

/// Imports a file: all of it or, if anything is wrong, nothing.
///
/// # Errors
/// [`Exit::Data`] with file, line, column and what to write, for all that is wrong.
pub(super) fn run(options: &Options, config: Config, json: bool) -> Result<(), Failure> {
    let policy = policies::load(&config.policy_dir)?.policy;
    let knows = |user: &str| policy.user(user).is_some();
    let text = files::read_text(&options.file, FILE_MAX, files::Links::Follow)?;
    let map = match &options.map {
        Some(path) => Some((
            path,
            files::read_text(path, FILE_MAX, files::Links::Follow)?,
        )),
        None => None,
    };
    let map = map
        .as_ref()
        .map(|(path, text)| (path.as_path(), text.as_str()));
    let plan = plan(&options.file, &text, map, &knows, &config.tunnel);
    let plan = plan.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Failure::new(Exit::Data, lines.join("\n"))
    })?;
    let import = plan.import(options)?;
    let done = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.device_import(&import).await?)
    })?;
    tell(&done, &plan, options.dry_run, json);
    Ok(())
}

/// What a file comes to.
struct Plan {
    file: PathBuf,
    server_key: Option<String>,
    devices: Vec<Planned>,
    notes: Vec<String>,
    undo: Vec<String>,
}

impl Plan {
    fn import(&self, options: &Options) -> Result<Import, Failure> {
        let choice = match (options.replace_key, options.keep_key) {
            (true, _) => KeyChoice::Replace,
            (_, true) => KeyChoice::Keep,
            (false, false) => KeyChoice::Safe,
        };
        if self.server_key.is_none() && choice != KeyChoice::Keep {
            let text = format!(
                "{}: no PrivateKey in [Interface]; add the server's, or say --keep-key: \
                 the imported devices then need a new configuration",
                self.file.display()
            );
            return Err(Failure::new(Exit::Data, text));
        }
        Ok(Import {
            mode: if options.dry_run {
                Mode::Preview
            } else {
                Mode::Commit
            },
            server_key: self.server_key.clone(),
            choice,
            devices: self.devices.clone(),
        })
    }
}

/// Reads a server's file and finds an owner for each peer.
fn plan(
    file: &Path,
    text: &str,
    map: Option<(&Path, &str)>,
    knows: &dyn Fn(&str) -> bool,
    tunnel: &Tunnel,
) -> Result<Plan, Vec<Problem>> {
    let server = wgquick::parse(file, text)?;
    let interface = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut owners = Owners::read(map, knows)?;
    let mut check = Check {
        file,
        text,
        tunnel,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    check.server(&server);
    let mut devices = Vec::new();
    for peer in &server.peers {
        let (address, address6) = check.addresses(peer, &server);
        let Some(address) = address else { continue };
        match owners.of(peer, address, knows) {
            Some(Owner::Nobody) => check.left_out(peer),
            Some(Owner::User { user, name }) => devices.push(Planned {
                place: check.place(peer),
                user,
                name: name.unwrap_or_else(|| format!("wireguard {address}")),
                public_key: peer.public_key.to_string(),
                preshared_key: peer
                    .preshared_key
                    .as_ref()
                    .map(|k| k.to_base64().to_string()),
                address,
                address6,
            }),
            None => check.unowned(peer, address),
        }
    }
    check.problems.extend(owners.unused());
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(Plan {
        file: file.to_owned(),
        server_key: server.private_key.map(|k| k.value.to_base64().to_string()),
        devices,
        notes: check.notes,
        undo: wgquick::undo(&server.hooks, &interface),
    })
}

/// Compares a file with the tunnel's settings.
struct Check<'a> {
    file: &'a Path,
    text: &'a str,
    tunnel: &'a Tunnel,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Check<'_> {
    fn server(&mut self, server: &Server) {
        for At { value, span } in &server.unneeded {
            let note = self.problem(span.clone(), value.clone());
            self.notes.push(note.to_string());
        }
        if let Some(port) = &server.port
            && port.value != self.tunnel.listen.port()
        {
            let what = format!("the clients send to port {}", port.value);
            let mut listen = self.tunnel.listen;
            listen.set_port(port.value);
            let help = format!("set `listen = \"{listen}\"` in [tunnel]");
            self.wrong(port.span.clone(), what, help);
        }
        for address in &server.addresses {
            self.server_address(address);
        }
    }

    /// The gateway takes the server's place, so both must agree on the network.
    fn server_address(&mut self, address: &At<IpNet>) {
        let (wanted, ours, key) = match address.value {
            IpNet::V4(net) => (
                IpNet::V4(net.trunc()),
                Some(IpNet::V4(self.tunnel.network)),
                "network",
            ),
            IpNet::V6(net) => (
                IpNet::V6(net.trunc()),
                self.tunnel.network6.map(IpNet::V6),
                "network6",
            ),
        };
        let is_network = wanted.prefix_len() < wanted.max_prefix_len();
        if is_network && ours != Some(wanted) {
            let what = format!("the tunnel's network is {wanted} here");
            let help = format!("set `{key} = \"{wanted}\"` in [tunnel]");
            self.wrong(address.span.clone(), what, help);
            return;
        }
        let gateway = match address.value {
            IpNet::V4(_) => Some(self.tunnel.gateway4().into()),
            IpNet::V6(_) => self.tunnel.gateway6().map(std::net::IpAddr::from),
        };
        if let Some(gateway) = gateway.filter(|gateway| *gateway != address.value.addr()) {
            let text = format!(
                "the gateway is {gateway} in the tunnel, not {}: clients that name the old \
                 address as DNS need the new one",
                address.value.addr()
            );
            let note = self.problem(address.span.clone(), text).to_string();
            self.notes.push(note);
        }
    }

    /// Takes the addresses of a peer: one of each family.
    fn addresses(&mut self, peer: &Peer, server: &Server) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let (mut four, mut six) = (None, None);
        for At { value, span } in &peer.allowed_ips {
            let single = value.prefix_len() == value.max_prefix_len();
            match value {
                IpNet::V4(net) if single && four.is_none() => four = Some(net.addr()),
                IpNet::V6(net) if single && six.is_none() => {
                    six = Some(net.addr());
                    if self.tunnel.network6.is_none() {
                        let what = format!("{} needs IPv6 in the tunnel", net.addr());
                        let help = network6_of(server);
                        self.wrong(span.clone(), what, help);
                    }
                }
                IpNet::V4(_) | IpNet::V6(_) => {
                    let what = format!("{value} is more than the one address of a device");
                    let help = "a device has one of each family; leave the peer out with \
                                `= -` in the map, or narrow this down"
                        .to_owned();
                    self.wrong(span.clone(), what, help);
                }
            }
        }
        if four.is_none() {
            let what = "this peer has no IPv4 address in AllowedIPs".to_owned();
            let help = "write `AllowedIPs = 10.200.200.2/32`, with its own address".to_owned();
            self.wrong(peer.span.clone(), what, help);
        }
        (four, six)
    }

    fn unowned(&mut self, peer: &Peer, address: Ipv4Addr) {
        let what = match &peer.name {
            Some(name) => format!("nobody is called `{}`", name.escape_debug()),
            None => "nobody owns this peer".to_owned(),
        };
        let help = format!(
            "write `{address} = USER laptop` into a file and say --map FILE, or put \
             `# USER laptop` above it"
        );
        self.wrong(peer.span.clone(), what, help);
    }

    fn left_out(&mut self, peer: &Peer) {
        let note = self.problem(peer.span.clone(), "left out by the map".to_owned());
        self.notes.push(note.to_string());
    }

    fn place(&self, peer: &Peer) -> String {
        let problem = self.problem(peer.span.clone(), String::new());
        let (line, column) = (problem.line, problem.column);
        format!("{}:{line}:{column}", self.file.display())
    }

    fn wrong(&mut self, span: std::ops::Range<usize>, what: String, help: String) {
        let problem = self.problem(span, what).help(help);
        self.problems.push(problem);
    }

    fn problem(&self, span: std::ops::Range<usize>, what: String) -> Problem {
        Problem::at(self.file, self.text, Some(span), what)
    }
}

/// Says which IPv6 network the file's server has.
fn network6_of(server: &Server) -> String {
    let mut nets = server.addresses.iter().filter_map(|a| match a.value {
        IpNet::V6(net) if net.prefix_len() < 128 => Some(net.trunc()),
        IpNet::V4(_) | IpNet::V6(_) => None,
    });
    let net = nets.next().unwrap_or_else(tunnel::ula::draw);
    format!("set `network6 = \"{net}\"` in [tunnel]")
}

fn tell(done: &DevicesImported, plan: &Plan, dry_run: bool, json: bool) {
    let Plan { notes, undo, .. } = plan;
    if json {
        out::json(&Answer {
            dry_run,
            done,
            notes,
            undo,
        });
        return;
    }
    let rows: Vec<Vec<String>> = done
        .devices
        .iter()
        .map(|d| {
            let psk = if d.preshared { "yes" } else { "no" };
            let id = if dry_run { "-" } else { d.id.as_str() };
            vec![
                id.to_owned(),
                d.user.clone(),
                d.name.clone(),
                d.address.clone(),
                psk.to_owned(),
            ]
        })
        .collect();
    out::table(&["ID", "USER", "NAME", "ADDRESS", "PRESHARED"], &rows);
    for note in notes {
        out::note(note);
    }
    out::note(match done.server_key {
        ServerKey::Same => "the server's key is the gateway's: clients go on as they are",
        ServerKey::Replaced => "the gateway has the server's key: clients go on as they are",
        ServerKey::Kept => "the gateway keeps its key: these devices need its public key in [Peer]",
    });
    if !undo.is_empty() {
        out::note("what the file did to this machine is taken back by root with:");
    }
    for command in undo {
        out::note(&format!("  {command}"));
    }
    if dry_run {
        out::note("nothing was kept; leave --dry-run out to import");
    }
}
