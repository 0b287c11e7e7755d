//! `postern cert`.

mod authority;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::{Global, block_on, offline, out};
use crate::acme::shelf::{Shelf, imported};
use crate::clock;
use crate::config::Config;
use crate::control::cert::{Ask, Check, Line, Renewed, Told};
use crate::control::{Operator, Remote};
use crate::proxy::tls::{self, CertSet, Ordered, Past, Reading, files as pem};
use crate::reload;
use crate::secrets::Keys;

/// The commands about certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the certificates, where they are from, and why one is not renewed
    #[command(after_help = "Examples:\n  postern cert list\n  postern cert list --json")]
    List,
    /// Renew what is due now, without the wait after failures
    ///
    /// Certificates of directories are ordered; leaves of the internal authority are made anew, each
    /// with another key. A key that leaked is replaced by --force.
    #[command(
        after_help = "Examples:\n  postern cert renew\n  postern cert renew --force gate.example.org"
    )]
    Renew(Renew),
    /// Take a certificate and its key over; they go before those of directories
    ///
    /// With --ca it is an authority: a root with its key, or an intermediate with its key and then
    /// its root. It takes the place of the internal one, which is kept beside it, and signs every
    /// internal certificate anew.
    #[command(
        after_help = "Examples:\n  postern cert import fullchain.pem privkey.pem\n  postern cert import --ca office-root.pem office-root.key"
    )]
    Import {
        /// Take an authority over instead of the internal one
        #[arg(long)]
        ca: bool,
        /// The chain in PEM, leaf first
        chain: PathBuf,
        /// The private key in PEM
        key: PathBuf,
    },
    /// Print the root certificate of the internal authority, for clients to import
    ///
    /// Its key lies sealed in the state folder, for this gateway only. --key writes it in clear to a
    /// new file, to be kept offline; without data/ca/root.key the gateway goes on until its
    /// intermediate ends or a host of another domain comes. To use it again, put that file back there,
    /// or import both with  postern cert import --ca.
    #[command(
        after_help = "Examples:\n  postern cert ca-root > root.pem\n  postern cert ca-root --json\n  postern cert ca-root --key /media/safe/root.key > root.pem"
    )]
    CaRoot {
        /// Write the root's private key in clear to a new file
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Test what a first order needs: directory, DNS, and the way to ports 80 and 443
    ///
    /// What the challenge in use does not need is told as a note and is no failure.
    #[command(
        after_help = "Examples:\n  postern cert test\n  postern cert test --http-port 8080 --json"
    )]
    Test(Test),
}

/// What is ordered.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// One certificate, by its first name; all if absent
    name: Option<String>,
    /// Renew it although it is not due; the limits of directories are kept
    #[arg(long)]
    force: bool,
}

/// The ports that the world uses.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The port that leads to the plain listener from outside
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    http_port: u16,
    /// The port that leads to the TLS listener from outside
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    https_port: u16,
}

/// Runs a command about certificates.
///
/// # Errors
/// [`Exit::Config`] for certificates that cannot be used, [`Exit::Data`] for an import that cannot,
/// [`Exit::Unavailable`] while there is no authority, an order failed, or a test did.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    match command {
        Command::List => list(&config, global.json),
        Command::Renew(options) => renew(&config, options, global.json),
        Command::Import {
            ca: true,
            chain,
            key,
        } => authority::import(&config, chain, key, global.json),
        Command::Import { chain, key, .. } => import(&config, chain, key, global.json),
        Command::CaRoot { key } => authority::root(&config, key.as_deref(), global.json),
        Command::Test(options) => test(&config, options, global.json),
    }
}

fn ask(config: &Config, ask: &Ask) -> Result<Told, Failure> {
    block_on(async {
        let gateway = offline::running(config).await?;
        Ok(gateway.certs(ask).await?)
    })
}

fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let running = block_on(async {
        let found = Remote::find(&config.control_socket()).await?;
        let Some(gateway) = found else {
            return Ok(None);
        };
        Ok(Some(gateway.certs(&Ask::List).await?.certificates))
    })?;
    let is_running = running.is_some();
    let lines = match running {
        Some(lines) => lines,
        None => on_disk(config)?,
    };
    let mut rows = Vec::new();
    for line in &lines {
        if json {
            out::json(line);
        } else {
            rows.push(row(line));
        }
    }
    if !json {
        out::table(&["NAMES", "SOURCE", "UNTIL", "DAYS", "TROUBLE"], &rows);
        for line in lines.iter().filter(|line| line.course.cause.is_some()) {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (name, detail) = (line.names.join(" "), text(&line.course.detail));
            out::note(&format!("{name}: {detail}; {}", text(&line.course.advice)));
        }
        if config.tls.internal_ca && !is_running {
            out::note("other names get a certificate of the internal authority");
        }
    }
    Ok(())
}

fn row(line: &Line) -> Vec<String> {
    let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        line.names.join(" "),
        line.source.clone(),
        or(line.not_after.clone()),
        or(line.days_left.map(|days| days.to_string())),
        or(line.course.cause.clone()),
    ]
}

/// What the files say while no gateway runs.
fn on_disk(config: &Config) -> Result<Vec<Line>, Failure> {
    let now = clock::unix();
    let keys = Arc::new(Keys::load(&config.master_key)?);
    let reading = Reading::opening(&keys, now);
    let ordered = Ordered {
        imported: imported(config).all(&reading),
        chains: Shelf::new(config).all(&reading).good,
        ..Ordered::default()
    };
    let own = reading.own(&reload::cert_files(config), Past::All)?;
    let set = CertSet::build(&own, &ordered, None, &[], None, now)?;
    let lines = set
        .by_source()
        .map(|(source, chain)| Line::on_disk(source, chain, now));
    Ok(lines.collect())
}

fn renew(config: &Config, options: &Renew, json: bool) -> Result<(), Failure> {
    let wish = Ask::Renew {
        name: options.name.clone(),
        force: options.force,
    };
    let told = ask(config, &wish)?;
    for done in &told.renewed {
        if json {
            out::json(done);
        } else {
            out::line(&said(done));
        }
    }
    if !json && told.renewed.is_empty() {
        out::note(
            "nothing to renew: no certificate is of a directory or of the internal authority",
        );
    }
    let bad = |done: &&Renewed| !matches!(done.outcome.as_str(), "renewed" | "not-due");
    match told.renewed.iter().find(bad) {
        Some(done) if done.outcome == "unknown" => {
            let name = &done.name;
            let text = format!(
                "no certificate of a directory or of the internal authority is called {name}"
            );
            Err(Failure::new(Exit::Data, text))
        }
        Some(done) => {
            let text = format!("{}: {}", done.name, done.outcome);
            Err(Failure::new(Exit::Unavailable, text))
        }
        None => Ok(()),
    }
}

fn said(done: &Renewed) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (name, next) = (&done.name, text(&done.course.next));
    match done.outcome.as_str() {
        "renewed" => format!("{name}: renewed, good until {}", text(&done.not_after)),
        "not-due" => format!("{name}: not due before {next}; --force renews it all the same"),
        "guarded" => format!("{name}: the directories' limits forbid an order before {next}"),
        "under-way" => format!("{name}: the order is under way; see postern cert list"),
        "not-in-force" => format!(
            "{name}: signed, but not in force: {}: {}; {}; nothing is ordered again for that",
            text(&done.course.cause),
            text(&done.course.detail),
            text(&done.course.advice)
        ),
        "failed" => format!(
            "{name}: {}: {}; {}; the old one stays, tried again at {next}",
            text(&done.course.cause),
            text(&done.course.detail),
            text(&done.course.advice)
        ),
        other => format!("{name}: {other}"),
    }
}

/// Checks a chain and its key, keeps them in the state folder and has a running gateway load them.
fn import(config: &Config, chain: &Path, key: &Path, json: bool) -> Result<(), Failure> {
    let bad = |text: String| Failure::new(Exit::Data, text);
    let now = clock::unix();
    let chain_pem = pem::read_public(chain).map_err(|e| bad(e.to_string()))?;
    let key_pem = pem::read_secret(key, pem::Readers::OwnerAndGroup);
    let key_pem = key_pem.map_err(|e| bad(e.to_string()))?;
    let read = certs::Chain::parse(&chain_pem, &key_pem, now, &tls::provider());
    let read = read.map_err(|e| bad(format!("{}: {e}", chain.display())))?;
    let text = |bytes: &[u8], path: &Path| {
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        text.map_err(|_| bad(format!("{} is not text", path.display())))
    };
    let (chain_pem, key_pem) = (text(&chain_pem, chain)?, text(&key_pem, key)?);
    let key_pem = zeroize::Zeroizing::new(key_pem);
    let name = read.names().first().cloned().unwrap_or_default();
    let keys = Keys::load(&config.master_key)?;
    imported(config)
        .write(&keys, &name, &chain_pem, &key_pem)
        .map_err(|e| Failure::new(Exit::CannotCreate, e))?;
    let in_force = put_in_force(config)?;
    let line = Line::of("file", &read, now);
    if json {
        out::json(&line);
        return Ok(());
    }
    let when = match in_force {
        true => "in force",
        false => "in force with the next start",
    };
    let until = line.not_after.unwrap_or_default();
    out::line(&format!("{} until {until}, {when}", line.names.join(" ")));
    Ok(())
}

/// Has a running gateway load its files; says whether one runs.
fn put_in_force(config: &Config) -> Result<bool, Failure> {
    block_on(async {
        match Remote::find(&config.control_socket()).await? {
            Some(gateway) => Ok(gateway.reload().await.map(|_| true)?),
            None => Ok(false),
        }
    })
}

fn test(config: &Config, options: &Test, json: bool) -> Result<(), Failure> {
    let ports = Ask::Test {
        http: options.http_port,
        https: options.https_port,
    };
    let told = ask(config, &ports)?;
    if !json && told.checks.is_empty() {
        out::note("nothing is ordered: [acme] names no directory, or no name needs one");
    }
    for check in &told.checks {
        if json {
            out::json(check);
        } else {
            out::line(&found(check));
        }
    }
    match told
        .checks
        .iter()
        .filter(|check| check.needed && !check.ok)
        .count()
    {
        0 => Ok(()),
        bad => Err(Failure::new(
            Exit::Unavailable,
            format!("{bad} of the checks failed"),
        )),
    }
}

fn found(check: &Check) -> String {
    let word = match (check.ok, check.needed) {
        (true, _) => "ok  ",
        (false, true) => "FAIL",
        (false, false) => "note",
    };
    let more = [&check.meaning, &check.advice].into_iter().flatten();
    let more: String = more.map(|text| format!("; {text}")).collect();
    let (kind, name, detail) = (&check.check, &check.name, &check.detail);
    format!("{word} {kind:<9} {name}: {detail}{more}")
}
