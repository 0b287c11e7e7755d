//! `postern user import`: password verifiers of other products.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::cli::exit::{Exit, Failure};
use crate::cli::{block_on, offline, out, policies};
use crate::config::Config;
use crate::control::Imported;
use crate::identity::{BadForeign, Foreign, UserName};
use crate::snapshot::files;

/// The largest file in bytes.
const FILE_MAX: u64 = 1 << 20;
/// People in one request to the gateway, below what its line may hold.
const AT_ONCE: usize = 50;
/// Iterations where the file does not say (the guide of Monaco Payroll).
const PBKDF2_DEFAULT: u32 = 100_000;

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file
    file: PathBuf,
    /// How it is written
    #[arg(long, value_enum, default_value = "htpasswd")]
    format: Format,
    /// Take verifiers of DES crypt (htpasswd -d) too: 13 characters that know the first eight of a password,
    /// until the first sign-in; from then on all that was typed there counts
    #[arg(long)]
    des_crypt: bool,
}

/// How a file of verifiers is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Htpasswd,
    Pbkdf2Json,
}

#[derive(Serialize)]
struct Outcome<'a> {
    imported: &'a [String],
    skipped: Vec<&'a str>,
}

/// Imports a file: all of it or, if a line is wrong, nothing.
///
/// # Errors
/// [`Exit::Data`] with file, line and help for each line that is not taken.
pub(super) fn run(what: &Import, config: Config, json: bool) -> Result<(), Failure> {
    let text = files::read_text(&what.file, FILE_MAX, files::Links::Follow)?;
    let policy = policies::load(&config.policy_dir)?.policy;
    let exists = |user: &str| policy.user(user).is_some();
    let found = Found::new(&what.file, &exists, what.des_crypt);
    let people = match what.format {
        Format::Htpasswd => htpasswd(found, &text),
        Format::Pbkdf2Json => pbkdf2_json(found, &text),
    };
    let people = people.map_err(|lines| Failure::new(Exit::Data, lines.join("\n")))?;
    let imported = block_on(async {
        let gateway = offline::any(config).await?;
        let mut done = Vec::new();
        for part in people.chunks(AT_ONCE) {
            done.extend(gateway.user_import(part).await?);
        }
        Ok(done)
    })?;
    tell(&people, &imported, json);
    Ok(())
}

fn tell(people: &[Imported], imported: &[String], json: bool) {
    let names = people.iter().map(|p| p.user.as_str());
    let skipped: Vec<&str> = names.filter(|n| !imported.iter().any(|i| i == n)).collect();
    if json {
        out::json(&Outcome { imported, skipped });
        return;
    }
    for user in imported {
        out::line(&format!(
            "{user} can sign in with the password of before, once, and sets up a second factor then"
        ));
    }
    for user in skipped {
        out::note(&format!(
            "{user} is left out: has a password here already, or an enrolment link is out"
        ));
    }
}

/// Collects people, each once, and what is wrong with the rest.
struct Found<'a> {
    file: &'a Path,
    exists: &'a dyn Fn(&str) -> bool,
    des_crypt: bool,
    people: Vec<Imported>,
    seen: BTreeSet<String>,
    wrong: Vec<String>,
}

impl<'a> Found<'a> {
    fn new(file: &'a Path, exists: &'a dyn Fn(&str) -> bool, des_crypt: bool) -> Self {
        Self {
            file,
            exists,
            des_crypt,
            people: Vec::new(),
            seen: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    fn refuse(&mut self, line: usize, what: &str, help: &str) {
        let file = self.file.display();
        let text = format!("error: {file}:{line}: {what}\n  help: {help}");
        self.wrong.push(text);
    }

    fn add(&mut self, line: usize, typed: &str, verifier: &str) {
        let Some(name) = UserName::parse(typed) else {
            let help = "a name has lower-case letters, digits, dot, underscore, dash; at most 64";
            return self.refuse(line, "this is not a user name", help);
        };
        let user = name.as_str();
        if !(self.exists)(user) {
            let what = format!("no user {user} in the policy folder");
            let help = format!("declare the person first: postern user add {user} --group GROUP");
            return self.refuse(line, &what, &help);
        }
        match Foreign::parse(verifier) {
            Err(bad) => {
                let what = format!("{user}: {bad}");
                return self.refuse(line, &what, help_for(bad));
            }
            Ok(foreign) if foreign.is_short() && !self.des_crypt => {
                let what = format!("{user}: a password in clear, or a verifier of DES crypt");
                return self.refuse(line, &what, DES_HELP);
            }
            Ok(_) => {}
        }
        if !self.seen.insert(user.to_owned()) {
            let what = format!("{user} stands twice");
            return self.refuse(line, &what, "keep one of the lines");
        }
        self.people.push(Imported {
            user: user.to_owned(),
            verifier: verifier.to_owned(),
        });
    }

    fn done(self) -> Result<Vec<Imported>, Vec<String>> {
        if self.wrong.is_empty() {
            Ok(self.people)
        } else {
            Err(self.wrong)
        }
    }
}

/// What to do about thirteen characters that may be a verifier of DES crypt.
const DES_HELP: &str = "if htpasswd -d made it, import with --des-crypt: any password with the same first \
    eight characters signs in, once; else delete the line and make a link: postern user invite NAME";

fn help_for(bad: BadForeign) -> &'static str {
    match bad {
        BadForeign::Clear => {
            "delete the line and give the person a link instead: postern user invite NAME"
        }
        BadForeign::Malformed(_) => "copy the whole verifier, with every $ in it",
        BadForeign::Costly(..) => {
            "everybody's sign-in would take as long while it waits for its person; delete the line \
             and make a link: postern user invite NAME"
        }
        BadForeign::Unknown => {
            "take apr1, bcrypt, {SHA}, $5$, $6$ or pbkdf2_sha256; for others make a link: \
             postern user invite NAME"
        }
    }
}

fn htpasswd(mut found: Found<'_>, text: &str) -> Result<Vec<Imported>, Vec<String>> {
    for (at, line) in (1..).zip(text.lines()) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            // Some write more fields; none of them is the verifier.
            Some((user, rest)) => {
                let verifier = rest.split(':').next().unwrap_or_default();
                found.add(at, user, verifier);
            }
            None => found.refuse(at, "there is no colon", "write NAME:VERIFIER"),
        }
    }
    found.done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pbkdf2 {
    user: String,
    salt: String,
    hash: String,
    #[serde(default = "default_iterations")]
    iterations: u32,
}

fn default_iterations() -> u32 {
    PBKDF2_DEFAULT
}

fn pbkdf2_json(mut found: Found<'_>, text: &str) -> Result<Vec<Imported>, Vec<String>> {
    let people: Vec<serde_json::Value> = match serde_json::from_str(text) {
        Ok(people) => people,
        Err(error) => {
            let help = "write a list: [{\"user\": \"zoe\", \"salt\": \"TEXT\", \"hash\": \"HEX\"}]";
            let what = format!("column {}: not a list in JSON", error.column());
            found.refuse(error.line(), &what, help);
            return found.done();
        }
    };
    for (at, value) in (1..).zip(people) {
        // Values are secrets, so the error names fields only.
        match Pbkdf2::deserialize(&value) {
            Ok(p) => {
                let Pbkdf2 {
                    user,
                    salt,
                    hash,
                    iterations,
                } = p;
                let verifier = format!("pbkdf2_sha256${iterations}${salt}${hash}");
                let line = line_of(text, &user);
                found.add(line, &user, &verifier);
            }
            Err(_) => {
                let what = format!("entry {at} has not the fields of one person");
                let help = "write user, salt and hash as texts, iterations as a number";
                found.refuse(1, &what, help);
            }
        }
    }
    found.done()
}

/// Finds the line that names a person, for messages.
fn line_of(text: &str, user: &str) -> usize {
    let quoted = format!("\"{user}\"");
    let at = text.lines().position(|line| line.contains(&quoted));
    at.map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Found, htpasswd, pbkdf2_json};

    const APR1: &str = "$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY/";
    const DEAR: &str = "$2y$14$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC";
    const HASH: &str = "23a8dad9284991bacc4d398555bcf716857bab146c1d98af811601dd8778a29f";

    fn exists(user: &str) -> bool {
        ["admin", "comptable1"].contains(&user)
    }

    fn into(file: &str) -> Found<'_> {
        Found::new(Path::new(file), &exists, false)
    }

    #[test]
    fn a_file_of_htpasswd_is_read_with_blank_lines_and_comments() {
        let text =
            format!("# people\n\nadmin:{APR1}\r\nComptable1:{{SHA}}wtE0GL+mcxUwurKYjuaDa96UZE4=\n");
        let people = htpasswd(into("f"), &text).unwrap();
        let names: Vec<&str> = people.iter().map(|p| p.user.as_str()).collect();
        assert_eq!(names, ["admin", "comptable1"]);
        assert_eq!(people[0].verifier, APR1);
    }

    #[test]
    fn every_wrong_line_is_named_with_help_and_nothing_is_taken() {
        let text = format!(
            "admin:{APR1}\nadmin:{APR1}\nnobody:{APR1}\ncomptable1:hunter2\nno colon\n-bad:{APR1}\ncomptable1:{DEAR}\n"
        );
        let wrong = htpasswd(into(".htpasswd"), &text).unwrap_err();
        for (line, what, help) in [
            (2, "admin stands twice", "keep one"),
            (3, "no user nobody", "postern user add nobody"),
            (4, "in clear", "postern user invite"),
            (5, "no colon", "NAME:VERIFIER"),
            (6, "not a user name", "lower-case"),
            (7, "costs too much to compare, at most 12", "invite"),
        ] {
            let start = format!("error: .htpasswd:{line}: ");
            let found = wrong.iter().find(|w| w.starts_with(&start));
            let found = found.unwrap_or_else(|| panic!("{line}: {wrong:?}"));
            assert!(found.contains(what) && found.contains(help), "{found}");
        }
        assert_eq!(wrong.len(), 6);
        assert!(!wrong.join(" ").contains("hunter2"));
    }

    #[test]
    fn des_crypt_is_taken_where_it_is_asked_for_and_clear_text_never_is() {
        let text = "admin:rqXexS6ZhobKA\n";
        let wrong = htpasswd(into("f"), text).unwrap_err().join(" ");
        assert!(wrong.contains("f:1: admin: a password in clear, or a verifier of DES crypt"));
        assert!(
            wrong.contains("--des-crypt") && !wrong.contains("rqXex"),
            "{wrong}"
        );
        let asked = || Found::new(Path::new("f"), &exists, true);
        let people = htpasswd(asked(), text).unwrap();
        assert_eq!(people[0].verifier, "rqXexS6ZhobKA");
        let wrong = htpasswd(asked(), "admin:hunter2\n").unwrap_err();
        assert!(
            wrong[0].contains("a password in clear is not taken"),
            "{wrong:?}"
        );
    }

    #[test]
    fn pbkdf2_is_read_with_the_iterations_of_the_guide_unless_it_says_others() {
        let text = format!(
            "[\n {{\"user\": \"admin\", \"salt\": \"abab\", \"hash\": \"{HASH}\"}},\n \
             {{\"user\": \"comptable1\", \"salt\": \"cd\", \"hash\": \"{HASH}\", \"iterations\": 2000}}]"
        );
        let people = pbkdf2_json(into("f"), &text).unwrap();
        assert_eq!(
            people[0].verifier,
            format!("pbkdf2_sha256$100000$abab${HASH}")
        );
        assert_eq!(people[1].verifier, format!("pbkdf2_sha256$2000$cd${HASH}"));
    }

    #[test]
    fn json_that_is_no_list_of_people_is_refused_in_its_place() {
        let wrong = |text: &str| pbkdf2_json(into("p.json"), text).unwrap_err();
        assert!(
            wrong("[\n{]")
                .join(" ")
                .starts_with("error: p.json:2: column")
        );
        assert!(wrong("[{\"user\": \"admin\"}]")[0].contains("entry 1"));
        let costly = format!(
            "[\n{{\"user\": \"admin\", \"salt\": \"a\", \"hash\": \"{HASH}\", \"iterations\": 4000000000}}]"
        );
        assert!(wrong(&costly)[0].starts_with("error: p.json:2: admin: "));
        let smuggled =
            format!("[{{\"user\": \"admin\", \"salt\": \"a$b\", \"hash\": \"{HASH}\"}}]");
        assert!(wrong(&smuggled)[0].contains("not a whole PBKDF2"));
    }
}
