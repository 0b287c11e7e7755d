//! `postern import`: what other programs' files say, as files of one's own.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use policy::Sources;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{out, render};
use crate::identity::UserName;
use crate::ids;
use crate::nginx::{self, Import, Row, Verdict};

/// What is imported.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a policy folder that does what files of nginx say, and tell what became of each line
    #[command(after_help = NGINX)]
    Nginx(Nginx),
}

/// Files of nginx.
#[derive(Debug, Args)]
pub(crate) struct Nginx {
    /// The files, such as /etc/nginx/nginx.conf or a site's alone; what they include is read too
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The policy folder to write; it must not be there, or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Who may use the console of the policy that is written
    #[arg(long, value_name = "NAME", default_value = "admin")]
    admin: String,
}

const NGINX: &str = "Examples:
  postern import nginx /etc/nginx/nginx.conf --out ./policy.new
  postern import nginx payroll.conf erp.conf --out ./policy.new --json
  postern policy check --policy ./policy.new

Each directive is in the list once: + carried over, = done by Postern anyway, ~ different on purpose, ! not understood.
Nobody may use an app at first: names are written into the groups of nginx.toml. In a folder that has a policy already,
nginx.toml alone is added to it.

Exit codes: 0 done, 64 usage, 65 a file is not read or is not nginx's language, 73 the folder is in use";

/// The file of the apps.
const APPS: &str = "nginx.toml";
/// The file of the console.
const CONSOLE: &str = "policy.toml";

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    dir: String,
    files: [&'a str; 2],
    apps: Vec<AppLine<'a>>,
    counts: Counts,
    directives: &'a [Row],
}

#[derive(Serialize)]
struct AppLine<'a> {
    id: &'a str,
    hosts: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Counts {
    carried: usize,
    done: usize,
    differs: usize,
    not_understood: usize,
}

/// Runs one of the commands.
///
/// # Errors
/// See [`NGINX`]; nothing is written then.
pub(crate) fn run(command: &Command, json: bool) -> Result<(), Failure> {
    let Command::Nginx(options) = command;
    let name = UserName::parse(&options.admin);
    if name.is_none_or(|name| name.as_str() != options.admin) {
        let text = format!("{} is not a user name", options.admin.escape_debug());
        return Err(Failure::new(Exit::Usage, text));
    }
    is_free(&options.out)?;
    let read = nginx::read(&options.files).map_err(|text| Failure::new(Exit::Data, text))?;
    let import = nginx::translate(&read);
    if import.apps.is_empty() {
        let text = "no server with a server_name that passes requests on; nothing was written";
        return Err(Failure::new(Exit::Data, text));
    }
    let console = console(&options.admin);
    loads(&console, &import)?;
    write(&options.out, &[(CONSOLE, &console), (APPS, &import.text)])?;
    tell(options, &import, json);
    Ok(())
}

fn is_free(dir: &Path) -> Result<(), Failure> {
    let taken = || {
        let text = format!(
            "{} is there and not an empty folder; nothing was written",
            dir.display()
        );
        Failure::new(Exit::CannotCreate, text)
    };
    if dir.symlink_metadata().is_err() {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(dir).map_err(|_| taken())?;
    entries.next().map_or(Ok(()), |_| Err(taken()))
}

fn console(admin: &str) -> String {
    format!(
        "postern = 1\n\n[group]\nadmins = [{admin:?}]   # who may use the gateway's own console\n\n\
         [admin]\nallow.admins = {{ who = \"@admins\", mfa = \"30m\" }}\n"
    )
}

/// Loads what would be written as a start would.
fn loads(console: &str, import: &Import) -> Result<(), Failure> {
    let mut sources = Sources::new();
    sources.add(CONSOLE, console.to_owned());
    sources.add(APPS, import.text.clone());
    match policy::load(&sources) {
        Ok(_) => Ok(()),
        Err(found) => {
            let text = render::all(&sources, &found);
            let text =
                format!("what the files say makes no sound policy; nothing was written\n{text}");
            Err(Failure::new(Exit::Data, text))
        }
    }
}

/// Writes the folder beside its place and moves it there: all of it or nothing.
fn write(dir: &Path, files: &[(&str, &str)]) -> Result<(), Failure> {
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
    made.map_err(|e| Failure::folder(parent, &e))?;
    let stage = parent.join(format!(".import-{}", ids::token()));
    let moved = fill(&stage, files).and_then(|()| {
        // an empty folder is replaced, any other is not
        std::fs::rename(&stage, dir).map_err(|e| Failure::folder(dir, &e))
    });
    if moved.is_err() {
        std::fs::remove_dir_all(&stage).ok();
    }
    moved
}

fn fill(stage: &Path, files: &[(&str, &str)]) -> Result<(), Failure> {
    let made = DirBuilder::new().mode(0o755).create(stage);
    made.map_err(|e| Failure::folder(stage, &e))?;
    for (name, text) in files {
        let path = stage.join(name);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path);
        let written = opened.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| Failure::file("write", &path, &e))?;
    }
    Ok(())
}

fn tell(options: &Nginx, import: &Import, json: bool) {
    let count = |verdict| {
        import
            .rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count()
    };
    let dir = options.out.display();
    if json {
        out::json(&Answer {
            ok: true,
            dir: dir.to_string(),
            files: [CONSOLE, APPS],
            apps: import
                .apps
                .iter()
                .map(|(id, hosts)| AppLine { id, hosts })
                .collect(),
            counts: Counts {
                carried: count(Verdict::Carried),
                done: count(Verdict::Done),
                differs: count(Verdict::Differs),
                not_understood: count(Verdict::NotUnderstood),
            },
            directives: &import.rows,
        });
        return;
    }
    let row = |row: &Row| {
        vec![
            row.verdict.sign().to_owned(),
            row.place(),
            row.directive.clone(),
            row.says.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = import.rows.iter().map(row).collect();
    out::table(&["", "PLACE", "NGINX", "POSTERN"], &rows);
    let counts = Verdict::ALL
        .map(|verdict| format!("{} {} {}", verdict.sign(), count(verdict), verdict.title()));
    out::note(&format!("\n{}", counts.join(", ")));
    let groups: Vec<&str> = import.apps.iter().map(|(id, _)| id.as_str()).collect();
    let (admin, groups) = (&options.admin, groups.join(", "));
    out::note(&format!(
        "Nobody may use an app yet; the console is {admin}'s. Write names into the groups of {dir}/{APPS}: {groups}.\n\
         Next:  postern policy check --policy {dir}"
    ));
}
