//! The command line.

mod apply;
mod audit;
mod backup;
mod ban;
mod cache;
mod cert;
mod check;
pub(crate) mod device;
mod doctor;
pub(crate) mod exit;
pub(crate) mod findings;
mod folder;
mod import;
mod init;
mod key;
mod mail;
pub(crate) mod offline;
pub(crate) mod out;
mod policies;
pub(crate) mod reading;
pub(crate) mod render;
pub(crate) mod serve;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod token;
mod user;
mod which;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::Config;
use exit::{Exit, Failure};

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => {
            let json = cli.global.json;
            conclude(run(cli), json)
        }
        Err(error) => {
            let code = usage_code(&error);
            error.print().ok();
            if code != 0 && std::env::args_os().any(|arg| arg == "--json") {
                let text = error.to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                Failure::new(Exit::Usage, text).json();
            }
            ExitCode::from(code)
        }
    }
}

/// Tells whether a command that a text names can be given.
#[cfg(test)]
pub(crate) fn understands(line: &str) -> bool {
    Cli::try_parse_from(line.split(' ')).is_ok()
}

/// Zero trust access gateway: one sign-in, two doors (HTTPS and WireGuard), one record.
#[derive(Debug, Parser)]
#[command(name = "postern", version, disable_help_subcommand = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", help = CONFIG)]
    config: Option<PathBuf>,
    /// Print JSON only on stdout, of a failure too
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Global {
    /// Loads the configuration.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let path = Config::default_path(self.config.as_deref());
        Ok(Config::load(&path)?)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a self-contained gateway with two people, an app and a device
    #[command(after_help = DEMO)]
    Demo(crate::demo::Options),
    /// Write configuration, policy and keys; print the first admin's enrolment link
    #[command(after_help = INIT)]
    Init(init::Options),
    /// Serve; SIGHUP reloads, SIGTERM drains
    #[command(after_help = RUN)]
    Run(serve::Options),
    /// Check configuration, policy and certificates as a start would
    #[command(after_help = CHECK)]
    Check,
    /// Show how the running gateway is
    #[command(after_help = STATUS)]
    Status,
    /// Walk why a device does not get through the tunnel, or what the policy leaves open
    #[command(after_help = DOCTOR)]
    Doctor(doctor::Options),
    /// Load policy and certificates again; the old set stays if the new one is wrong
    #[command(after_help = RELOAD)]
    Reload,
    /// People
    #[command(subcommand, after_help = USER)]
    User(user::Command),
    /// Tunnel devices
    #[command(subcommand, after_help = DEVICE)]
    Device(device::Command),
    /// Sign-in sessions
    #[command(subcommand, after_help = SESSION)]
    Session(session::Command),
    /// Tokens by which programs use apps
    #[command(subcommand, after_help = TOKEN)]
    Token(token::Command),
    /// Sources that are shut out
    #[command(subcommand, after_help = BAN)]
    Ban(ban::Command),
    /// Kept answers of apps
    #[command(subcommand, after_help = CACHE)]
    Cache(cache::Command),
    /// Questions about the policy, and changes of the one in force
    #[command(subcommand, after_help = POLICY)]
    Policy(policies::Command),
    /// The audit journal; no running gateway needed
    #[command(subcommand, after_help = AUDIT)]
    Audit(audit::AuditCommand),
    /// What other programs' files say, as a policy
    #[command(subcommand, after_help = IMPORT)]
    Import(import::Command),
    /// Mails to people
    #[command(subcommand, after_help = MAIL)]
    Mail(mail::Command),
    /// Certificates
    #[command(subcommand, after_help = CERT)]
    Cert(cert::Command),
    /// The master key, which seals every secret at rest
    #[command(subcommand, after_help = KEY)]
    Key(key::Command),
    /// Write store, journal, policy, configuration, certificates and keys to one sealed file
    ///
    /// The gateway goes on meanwhile, or need not run. Without a passphrase the file is sealed under
    /// the master key, which is not in it: keep a copy of the key file in another place. With a
    /// passphrase the master key is in it.
    #[command(after_help = BACKUP)]
    Backup(backup::Create),
    /// Open a backup and check all of it: seal, store, journal, configuration and policy
    #[command(after_help = VERIFY_BACKUP)]
    VerifyBackup(backup::Verify),
    /// Put a backup in place where nothing is yet
    ///
    /// Nothing is overwritten, and nothing is written unless all of the backup is sound. Whatever
    /// may have been ended or used up since the backup was made is ended: every session, every
    /// invitation and link, recovery codes, and codes of apps up to now. People, passwords,
    /// devices and the policy are as they were then.
    #[command(after_help = RESTORE)]
    Restore(backup::Restore),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs one command and returns its exit code.
fn run(cli: Cli) -> Result<u8, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Demo(options) => crate::demo::run(&options, global.json),
        Command::Init(options) => init::run(&options, global.json),
        Command::Run(options) => serve::run(global.config()?, &options),
        Command::Check => check::run(global),
        Command::Status => status::status(global),
        Command::Doctor(options) => doctor::run(&options, global),
        Command::Reload => status::reload(global),
        Command::User(command) => user::run(&command, global),
        Command::Device(command) => device::run(&command, global),
        Command::Session(command) => session::run(&command, global),
        Command::Token(command) => token::run(&command, global),
        Command::Ban(command) => ban::run(&command, global),
        Command::Cache(command) => cache::run(&command, global),
        Command::Policy(command) => policies::run(&command, global),
        Command::Audit(command) => {
            let code = audit::run(&command, &global.config()?, global.json)?;
            return Ok(code);
        }
        Command::Import(command) => import::run(&command, global.json),
        Command::Mail(command) => mail::run(&command, global),
        Command::Cert(command) => cert::run(&command, global),
        Command::Key(command) => key::run(&command, global),
        Command::Backup(options) => backup::create(&options, global),
        Command::VerifyBackup(options) => backup::verify(&options, global),
        Command::Restore(options) => backup::restore(&options, global),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "postern", &mut script);
            out::raw(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }?;
    Ok(0)
}

/// Runs the future of a command on this thread.
///
/// # Errors
/// Its own, or [`Exit::Internal`] if there is no runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::of(Exit::Internal, &e))?
        .block_on(work)
}

/// Tells why a command failed, to scripts too unless they have an answer already.
fn conclude(outcome: Result<u8, Failure>, json: bool) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if json && !out::answered() {
                failure.json();
            }
            let text = failure.text.trim_end();
            let lead = if text.starts_with("error") {
                ""
            } else {
                "error: "
            };
            if !text.is_empty() {
                out::note(&format!("{lead}{text}"));
            }
            ExitCode::from(failure.exit.number())
        }
    }
}

/// Help and version are no errors; everything else is a wrong command line.
fn usage_code(error: &clap::Error) -> u8 {
    if error.use_stderr() {
        Exit::Usage.number()
    } else {
        0
    }
}

const CONFIG: &str =
    "The configuration [default: $POSTERN_CONFIG, ./postern.toml, /etc/postern/postern.toml]";
const EXAMPLES: &str = "Examples:
  postern demo                         try everything on this machine, nothing is installed
  postern init --dir /etc/postern --domain gate.example.org
  postern run --config /etc/postern/postern.toml

Exit codes: 0 done, 3 access would widen or a guard holds the policy, 64 usage, 65 bad data, 69 unavailable, 70 internal, 73 cannot create,
77 permission, 78 configuration or policy";
const DEMO: &str = "Examples:
  postern demo
  postern demo --dir ./trial --port-offset 100
  postern demo --upstream http://127.0.0.1:3000";
const INIT: &str = "Examples:
  postern init --dir /etc/postern --domain gate.example.org";
const RUN: &str = "Examples:
  postern run
  postern run --config /etc/postern/postern.toml
  postern run --strict                 fail rather than start with the last good policy";
const CHECK: &str = "Examples:
  postern check
  postern check --config ./postern.toml --json";
const STATUS: &str = "Examples:
  postern status
  postern status --json";
const DOCTOR: &str = "Examples:
  postern doctor --peer zoe/laptop
  postern doctor --peer 10.200.200.2 --json
  postern doctor --golive                    where people whom no rule names may sign up to an app,
                                             and which apps and databases listen for all the world
  postern doctor --golive --policy DIR

Exit codes: 0 it gets through, or the policy was looked at; 69 it does not";
const RELOAD: &str = "Examples:
  postern reload";
const USER: &str = "Examples:
  postern user add zoe --group staff --name 'Zoe Q.'
  postern user reset zoe --reason 'lost phone'
  postern user import /etc/nginx/.htpasswd
  postern user disable zoe
  postern user list --json";
const DEVICE: &str = "Examples:
  postern device add zoe laptop --generate --qr
  postern device add zoe phone --public-key 'xTIB...='
  postern device import /etc/wireguard/wg0.conf --map owners.txt --dry-run
  postern device rotate-psk d7
  postern device clear d7
  postern device mark d7 managed";
const SESSION: &str = "Examples:
  postern session list
  postern session revoke --user zoe";
const TOKEN: &str = "Examples:
  postern token list
  postern token revoke --user zoe";
const BAN: &str = "Examples:
  postern ban list
  postern ban add 192.0.2.7 --for 1h --reason 'scans'
  postern ban remove 192.0.2.7
  postern ban export | nft -f -";
const CACHE: &str = "Examples:
  postern cache purge shop
  postern cache purge shop --path /prices
  postern cache purge shop --tag product-7";
const POLICY: &str = "Examples:
  postern policy check --policy ./policy
  postern policy explain --user zoe --from office https://app.example.org/admin
  postern policy who-can https://app.example.org/admin
  postern policy diff ./policy ./policy.new
  postern policy apply ./policy.new --confirm 5m
  postern policy rollback";
const AUDIT: &str = "Examples:
  postern audit tail --follow
  postern audit search --user zoe --outcome deny --since 2h
  postern audit verify";
const IMPORT: &str = "Examples:
  postern import nginx /etc/nginx/nginx.conf --out ./policy.new";
const MAIL: &str = "Examples:
  postern mail test --to ops@example.org";
const CERT: &str = "Examples:
  postern cert list
  postern cert test
  postern cert renew --force gate.example.org
  postern cert import fullchain.pem privkey.pem
  postern cert ca-root > root.pem";
const KEY: &str = "Examples:
  postern key list
  postern key rotate";
const BACKUP: &str = "Examples:
  postern backup /backup/gate-2026-01-31.postern
  postern backup --passphrase-file /etc/postern/backup.pass /backup/gate.postern --json
  17 */6 * * *  postern backup /backup/$(date +\\%F-\\%H).postern";
const VERIFY_BACKUP: &str = "Examples:
  postern verify-backup /backup/gate.postern
  postern verify-backup --master-key ./master.key /backup/gate.postern
  postern verify-backup --passphrase-file ./backup.pass /backup/gate.postern --json";
const RESTORE: &str = "Run it as the gateway's user, or hand the files over with chown.

Examples:
  postern restore --master-key ./master.key /backup/gate.postern
  postern restore --passphrase-file ./backup.pass /backup/gate.postern
  postern restore --dir ./trial --passphrase-file ./backup.pass /backup/gate.postern --json";
const COMPLETIONS: &str = "Examples:
  postern completions bash > /etc/bash_completion.d/postern";
