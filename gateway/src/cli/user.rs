//! `postern user`: edits the policy folder, then has the gateway load it.

mod easy_rsa;
mod import;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::folder::{Folder, Order};
use super::offline::Stopped;
use super::{Global, block_on, offline, out, policies};
use crate::config::Config;
use crate::control::{AppClock, Operator, Remote, UserAct};
use crate::edits::{Edit, NewUser};

/// The commands about people.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Declare a person and print a one-time enrolment link
    Add(Add),
    /// Print a new one-time enrolment link; an earlier one is void
    Invite {
        /// The person
        user: String,
    },
    /// Shut a person out; sessions and tunnels end at once
    Disable {
        /// The person
        user: String,
    },
    /// Let a person in again
    Enable {
        /// The person
        user: String,
    },
    /// Take a person out of the policy folder and forget their factors
    Remove {
        /// The person
        user: String,
    },
    /// List people
    List {
        /// A policy folder, instead of the configured one
        #[arg(long, value_name = "DIR")]
        policy: Option<std::path::PathBuf>,
    },
    /// Take the second factor of a person away and print a link to a new one; the password stays
    ///
    /// For a lost phone. The link asks for the person's password; whoever holds the link alone
    /// gets nowhere. Sessions end, recovery codes are void, the person is told the reason.
    #[command(after_help = RESET)]
    Reset {
        /// The person
        user: String,
        /// Why, for the journal and the person
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Bring passwords along from another product; each person sets up a second factor at the
    /// first sign-in
    #[command(after_help = IMPORT)]
    Import(import::Import),
    /// List whom an authority of easy-rsa has given certificates, ready to be added
    #[command(name = "from-easy-rsa", after_help = easy_rsa::EXAMPLES)]
    FromEasyRsa(easy_rsa::Options),
    /// Forget both factors of a person and print a new enrolment link; devices stay
    ResetTotp {
        /// The person
        user: String,
    },
}

/// A person to declare.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The name to sign in with: lower-case letters, digits, dot, underscore, dash
    user: String,
    /// A group to be in, of a tenant as TENANT/G; may stand more than once
    #[arg(long = "group", value_name = "G")]
    groups: Vec<String>,
    /// The name people read
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The mail address
    #[arg(long, value_name = "ADDRESS")]
    mail: Option<String>,
    /// Make no enrolment link: the password comes with `postern user import`
    #[arg(long)]
    no_link: bool,
}

impl From<&Add> for NewUser {
    fn from(add: &Add) -> Self {
        Self {
            user: add.user.clone(),
            name: add.name.clone(),
            mail: add.mail.clone(),
            groups: add.groups.clone(),
        }
    }
}

const RESET: &str = "Examples:
  postern user reset zoe --reason 'lost her phone, called from the office'";
const IMPORT: &str = "Examples:
  postern user import /etc/nginx/.htpasswd
  postern user import people.json --format pbkdf2-json

htpasswd: lines of NAME:VERIFIER. Taken are MD5 (apr1), bcrypt, {SHA}, SHA-256 and SHA-512 crypt, and
pbkdf2_sha256$ITERATIONS$SALT$HASH. Passwords in clear and DES crypt are refused.
pbkdf2-json: [{\"user\": \"zoe\", \"salt\": \"TEXT\", \"hash\": \"HEX\", \"iterations\": 100000}], PBKDF2 with
HMAC-SHA-256 over the salt's text; iterations may be left out.

People must be in the policy folder first (postern user add --no-link). Whoever has a password here
keeps it, and so does whom an enrolment link awaits: the link is the newer word.";

/// Runs a command about people.
///
/// # Errors
/// [`Exit::Data`] for a person or group that is not there, [`Exit::Config`] if the edited folder would not load.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let json = global.json;
    if let Command::List { policy } = command {
        return list(policy.as_deref(), global);
    }
    let config = global.config()?;
    match command {
        Command::List { .. } => Ok(()),
        Command::Add(add) => {
            edited(&config.policy_dir, &Edit::Add(add.into()))?;
            block_on(changed(&config, &add.user, UserAct::Add))?;
            if add.no_link {
                done(&add.user, "added", json);
                return Ok(());
            }
            invite(config, &add.user, json)
        }
        Command::Invite { user } => invite(config, user, json),
        Command::Disable { user } => {
            let edit = Edit::Disable { user: user.clone() };
            edited(&config.policy_dir, &edit)?;
            block_on(changed(&config, user, UserAct::Disable))?;
            done(user, "disabled", json);
            Ok(())
        }
        Command::Enable { user } => {
            let edit = Edit::Enable { user: user.clone() };
            edited(&config.policy_dir, &edit)?;
            block_on(changed(&config, user, UserAct::Enable))?;
            done(user, "enabled", json);
            Ok(())
        }
        Command::Remove { user } => {
            let edit = Edit::Remove { user: user.clone() };
            edited(&config.policy_dir, &edit)?;
            block_on(async {
                changed(&config, user, UserAct::Remove).await?;
                let gateway = offline::any(config).await?;
                let mut revoked = Ok(());
                for device in gateway.device_list().await? {
                    if device.user == *user && device.revoked.is_none() {
                        let done = gateway.device_revoke(&device.id).await.map(drop);
                        revoked = revoked.and(done);
                    }
                }
                let forgotten = gateway.user_forget(user).await.map(drop);
                Ok(revoked.and(forgotten)?)
            })?;
            done(user, "removed", json);
            Ok(())
        }
        Command::Reset { user, reason } => {
            let link = block_on(async {
                let gateway = offline::any(config).await?;
                Ok(gateway.user_reset_totp(user, reason).await?)
            })?;
            show_link(&link, json);
            Ok(())
        }
        Command::FromEasyRsa(options) => easy_rsa::run(options, &config, json),
        Command::Import(what) => import::run(what, config, json),
        Command::ResetTotp { user } => {
            known(&config, user)?;
            let link = block_on(async {
                let gateway = offline::any(config).await?;
                gateway.user_reset(user).await?;
                Ok(gateway.user_invite(user).await?)
            })?;
            show_link(&link, json);
            Ok(())
        }
    }
}

/// Has a running gateway put an edit in force and waits; without one the edit is recorded and waits for the next
/// start.
async fn changed(config: &Config, user: &str, act: UserAct) -> Result<(), Failure> {
    let Some(gateway) = Remote::find(&config.control_socket()).await? else {
        let stopped = Stopped::open(config.clone()).await?;
        let recorded = stopped.user_changed(user, act).await;
        stopped.close().await;
        recorded?;
        out::note("no gateway runs; this is in force from the next start");
        return Ok(());
    };
    for warning in &gateway.user_changed(user, act).await?.warnings {
        out::note(warning);
    }
    Ok(())
}

/// Edits the policy folder and writes it, if a gateway would load it.
fn edited(dir: &std::path::Path, edit: &Edit) -> Result<(), Failure> {
    let order = match edit {
        Edit::Remove { .. } => Order::UsersLast,
        Edit::Add(_)
        | Edit::Disable { .. }
        | Edit::Enable { .. }
        | Edit::Join { .. }
        | Edit::Leave { .. } => Order::UsersFirst,
    };
    let mut folder = Folder::open(dir)?;
    folder.edit(edit)?;
    for warning in &folder.commit(order)?.warnings {
        out::note(&format!("warning: {}", warning.title));
    }
    Ok(())
}

fn known(config: &Config, user: &str) -> Result<(), Failure> {
    let policy = policies::load(&config.policy_dir)?.policy;
    policy.user(user).map(drop).ok_or_else(|| no_user(user))
}

fn no_user(user: &str) -> Failure {
    let text = format!("no user {} in the policy folder", user.escape_debug());
    Failure::new(Exit::Data, text)
}

fn invite(config: Config, user: &str, json: bool) -> Result<(), Failure> {
    let link = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.user_invite(user).await?)
    })?;
    show_link(&link, json);
    Ok(())
}

fn show_link(link: &crate::control::Invitation, json: bool) {
    if json {
        out::json(link);
    } else {
        out::line(&link.link);
        let user = &link.user;
        out::note(&format!(
            "one-time enrolment link of {user}, good for 24 hours"
        ));
    }
}

#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    name: &'a str,
    groups: Vec<&'a str>,
    disabled: bool,
    enrolled: Option<bool>,
    /// By how many seconds the clock of the authenticator app is off; positive is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_clock_off_s: Option<i64>,
    #[serde(skip)]
    clock: Option<String>,
}

#[derive(Serialize)]
struct Done<'a> {
    user: &'a str,
    state: &'a str,
}

fn done(user: &str, state: &str, json: bool) {
    if json {
        out::json(&Done { user, state });
    } else {
        out::line(&format!("{user} is {state}"));
    }
}

fn list(policy: Option<&std::path::Path>, global: &Global) -> Result<(), Failure> {
    let (dir, enrolled, clocks) = match policy {
        Some(dir) => (dir.to_owned(), None, Vec::new()),
        None => {
            let config = global.config()?;
            let dir = config.policy_dir.clone();
            let (enrolled, clocks) = asked(config);
            (dir, enrolled, clocks)
        }
    };
    let policy = policies::load(&dir)?.policy;
    let mut lines: Vec<Line<'_>> = policy
        .users()
        .map(|user| Line {
            user: &user.name,
            name: user.display.as_deref().unwrap_or_default(),
            groups: user.groups.iter().map(|g| &**g).collect(),
            disabled: user.disabled,
            enrolled: enrolled
                .as_ref()
                .map(|e| e.iter().any(|n| **n == *user.name)),
            app_clock_off_s: off(&clocks, &user.name).map(|clock| clock.off_s),
            clock: off(&clocks, &user.name).map(AppClock::words),
        })
        .collect();
    lines.sort_by_key(|l| l.user);
    if global.json {
        for line in &lines {
            out::json(line);
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let mut head = vec!["USER", "NAME", "GROUPS", "STATE", "ENROLLED"];
    if !clocks.is_empty() {
        head.push("APP CLOCK");
    }
    out::table(&head, &rows);
    Ok(())
}

fn off<'a>(clocks: &'a [AppClock], user: &str) -> Option<&'a AppClock> {
    clocks.iter().find(|clock| clock.user == user)
}

fn row(line: &Line<'_>) -> Vec<String> {
    let state = if line.disabled { "disabled" } else { "active" };
    let enrolled = match line.enrolled {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let mut row = vec![
        line.user.to_owned(),
        line.name.to_owned(),
        line.groups.join(" "),
        state.to_owned(),
        enrolled.to_owned(),
    ];
    row.extend(line.clock.clone());
    row
}

/// Asks who has both factors, and whose authenticator app shows another time; `None` and nobody
/// where that cannot be known from here.
fn asked(config: Config) -> (Option<Vec<String>>, Vec<AppClock>) {
    let asked = block_on(async {
        let gateway = offline::any(config).await?;
        let clocks = gateway.user_clocks().await.unwrap_or_default();
        Ok((gateway.user_enrolled().await?, clocks))
    });
    asked.map_or((None, Vec::new()), |(enrolled, clocks)| {
        (Some(enrolled), clocks)
    })
}

#[cfg(test)]
mod tests {
    use super::changed;
    use crate::audit::Event;
    use crate::audit::query::{self, Filter};
    use crate::cli::offline::tests::Site;
    use crate::control::UserAct;

    #[tokio::test]
    async fn a_change_without_a_gateway_is_on_record() {
        let site = Site::new();
        let config = site.config();
        for (act, reason) in [
            (UserAct::Add, "created"),
            (UserAct::Disable, "disabled"),
            (UserAct::Enable, "enabled"),
            (UserAct::Remove, "removed"),
        ] {
            changed(&config, "ann", act).await.unwrap();
            let filter = Filter {
                user: Some("ann".to_owned()),
                event: Some(Event::UserChanged),
                limit: Some(1),
                ..Filter::default()
            };
            let mut last = String::new();
            query::search(&config.data.join("audit"), &filter, &mut |line| {
                last = String::from_utf8_lossy(line).into_owned();
                Ok(())
            })
            .unwrap();
            assert!(last.contains(&format!("\"{reason}\"")), "{last}");
        }
    }
}
