//! `postern init`: a folder with configuration, policy, keys and state, complete or not at all.

use std::fs::DirBuilder;
use std::io::{BufRead, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::offline::Stopped;
use super::{block_on, out};
use crate::config::{Config, is_host_name};
use crate::identity::UserName;
use crate::ids;
use crate::run::open_authority;
use crate::secrets::Keys;
use crate::tunnel;

/// What to write.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder to write into; made if missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The host name of the sign-in pages
    #[arg(long, value_name = "D")]
    domain: String,
    /// The name of the first administrator
    #[arg(long, value_name = "NAME", default_value = "admin")]
    admin: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// The entries made in the folder.
const ENTRIES: [&str; 4] = ["postern.toml", "policy", "keys", "data"];

#[derive(Serialize)]
struct Answer<'a> {
    config: String,
    policy: String,
    data: String,
    user: &'a str,
    link: String,
}

/// Writes the folder and prints the first administrator's enrolment link.
///
/// # Errors
/// [`Exit::CannotCreate`] if something stands there already; nothing is changed then.
pub(crate) fn run(options: &Options, json: bool) -> Result<(), Failure> {
    validate(options)?;
    for entry in ENTRIES {
        let path = options.dir.join(entry);
        if path.symlink_metadata().is_ok() {
            let text = format!("{} exists; nothing was written", path.display());
            return Err(Failure::new(Exit::CannotCreate, text));
        }
    }
    if !options.yes && !confirmed(options) {
        return Err(Failure::new(Exit::Usage, "nothing was written"));
    }
    make_folder(&options.dir)?;
    let stage = options.dir.join(format!(".init-{}", ids::token()));
    let made = prepare(options, &stage).and_then(|link| {
        publish(&stage, &options.dir)?;
        Ok(link)
    });
    std::fs::remove_dir_all(&stage).ok();
    tell(options, made?, json);
    Ok(())
}

fn validate(options: &Options) -> Result<(), Failure> {
    if !is_host_name(&options.domain) {
        let text = format!(
            "{} is not a host name such as gate.example.org, in lower case",
            options.domain.escape_debug()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let name = UserName::parse(&options.admin);
    if name.is_none_or(|name| name.as_str() != options.admin) {
        let text = format!("{} is not a user name", options.admin.escape_debug());
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(())
}

fn confirmed(options: &Options) -> bool {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return true;
    }
    let dir = options.dir.display();
    out::note(&format!("write {} into {dir}? [y/N]", ENTRIES.join(", ")));
    let mut answer = String::new();
    let read = input.lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn make_folder(dir: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.map_err(|e| Failure::folder(dir, &e))
}

/// Makes everything in a folder beside its place, opens it as a gateway would, and draws the link.
fn prepare(options: &Options, stage: &Path) -> Result<String, Failure> {
    for (name, mode) in [
        ("", 0o700),
        ("policy", 0o755),
        ("keys", 0o700),
        ("data", 0o700),
    ] {
        let path = stage.join(name);
        let made = DirBuilder::new().mode(mode).create(&path);
        made.map_err(|e| Failure::file("make", &path, &e))?;
    }
    for (name, text) in [
        ("postern.toml", config_text(&options.domain)),
        (
            "policy/policy.toml",
            policy_text(&options.domain, &options.admin),
        ),
        ("policy/users.toml", users_text(&options.admin)),
    ] {
        let path = stage.join(name);
        std::fs::write(&path, text).map_err(|e| Failure::file("write", &path, &e))?;
    }
    let keys = Arc::new(Keys::create(&stage.join("keys/master.key"))?);
    let config = Config::load(&stage.join("postern.toml"))?;
    open_authority(&config, &keys)?;
    let link = block_on(async {
        let stopped = Stopped::open(config).await?;
        let link = stopped.acts().user_invite(&options.admin).await;
        stopped.close().await;
        Ok(link?.link)
    })?;
    Ok(link)
}

/// Moves the entries to their place; on a failure those already moved go back.
fn publish(stage: &Path, dir: &Path) -> Result<(), Failure> {
    let mut moved: Vec<&str> = Vec::new();
    for entry in ENTRIES {
        let to = dir.join(entry);
        // a second look: rename would replace a file
        let taken = to.symlink_metadata().is_ok();
        let result = if taken {
            Err(std::io::ErrorKind::AlreadyExists.into())
        } else {
            std::fs::rename(stage.join(entry), &to)
        };
        if let Err(error) = result {
            for entry in moved {
                std::fs::rename(dir.join(entry), stage.join(entry)).ok();
            }
            return Err(Failure::file("make", &to, &error));
        }
        moved.push(entry);
    }
    let synced = std::fs::File::open(dir).and_then(|d| d.sync_all());
    synced.map_err(|e| Failure::file("write", dir, &e))
}

fn tell(options: &Options, link: String, json: bool) {
    let path = |name: &str| options.dir.join(name).display().to_string();
    let config = path("postern.toml");
    if json {
        let (policy, data, user) = (path("policy"), path("data"), &options.admin);
        out::json(&Answer {
            config,
            policy,
            data,
            user,
            link,
        });
        return;
    }
    out::line(&link);
    out::note(&format!(
        "\nThe link above enrols {}, once, within 24 hours.\n\
         Keep a copy of {}: without it the state is lost.\n\
         Next:  postern check --config {config}\n       postern run --config {config}",
        options.admin,
        path("keys/master.key"),
    ));
}

fn config_text(domain: &str) -> String {
    let network6 = tunnel::ula::draw();
    format!(
        r#"# Postern. Everything has a default; unknown keys are errors. Paths start at this file's folder.
data = "data"                     # state, 0700
policy = "policy"                 # rules and people
master-key = "keys/master.key"    # 0600

[http]
https = ["0.0.0.0:443"]
http = ["0.0.0.0:80"]             # only redirects
sign-in = ["{domain}"]

[tls]
internal-ca = true                # for names no certificate below covers
# certificates = [{{ chain = "gate.pem", key = "gate.key" }}]

[tunnel]
listen = "0.0.0.0:51820"
endpoint = "{domain}:51820"
network = "10.200.200.0/24"       # the gateway is 10.200.200.1
network6 = "{network6}" # drawn for this installation; the gateway is ::1 of it

[bans]                            # sources that guess are shut out, before TLS
maxretry = 20                     # wrong passwords and codes of one address ...
findtime = "10m"                  # ... within this time
bantime = "1h"                    # doubles each time up to `cap`, a day
allow = []                        # never banned: the office, a load balancer in front

# [mail]                          # notices by mail, and links for forgotten passwords
# host = "smtp.example.org"
# tls = "starttls"                # or "tls"; the port follows
# from = "Postern <gate@example.org>"
# user = "gate"
# password-file = "keys/smtp"     # mode 0600
"#
    )
}

fn users_text(admin: &str) -> String {
    format!(
        "postern = 1\n\n# People. Who is in which group stands in policy.toml.\n[user.{admin:?}]\nname = \"First administrator\"\n"
    )
}

fn policy_text(domain: &str, admin: &str) -> String {
    let apps = domain.split_once('.').map_or(domain, |(_, rest)| rest);
    format!(
        r#"postern = 1

[group]
admins = ["{admin}"]
staff  = ["@admins"]

[default]                         # holds for every allow that does not say otherwise
mfa   = "session"
login = "12h"

[admin]                           # the gateway's own console
allow.admins = {{ who = "@admins", mfa = "30m" }}

# An application behind the gateway:
# [app.wiki]
# host     = "wiki.{apps}"
# upstream = "http://192.168.1.100:8080"
# allow.staff = {{ who = "@staff" }}

# A service that tunnel devices reach:
# [net.ssh]
# to   = "192.168.1.100"
# port = "22/tcp"
# allow.admins = {{ who = "@admins", mfa = "8h" }}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::{config_text, policy_text, users_text};
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn what_init_writes_is_valid() {
        let config = Config::parse(
            Path::new("/x/postern.toml"),
            &config_text("gate.example.org"),
        );
        assert_eq!(
            config.unwrap().http.public_url(),
            "https://gate.example.org"
        );
        for domain in ["gate.example.org", "gate"] {
            for admin in ["admin", "a.b"] {
                let mut sources = policy::Sources::new();
                sources.add("policy.toml", policy_text(domain, admin));
                sources.add("users.toml", users_text(admin));
                let loaded = policy::load(&sources).unwrap();
                let user = loaded.policy.user(admin).unwrap();
                assert!(user.groups.iter().any(|g| &**g == "admins"));
            }
        }
    }
}
