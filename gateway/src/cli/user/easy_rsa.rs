//! `postern user from-easy-rsa`: whom an authority of easy-rsa has given certificates; nothing is changed.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::{out, policies};
use crate::config::{Config, Problem};
use crate::identity::UserName;
use crate::snapshot::files;

/// The largest file in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Fields of a line: status, end, revocation, serial, file, subject (`openssl ca`, "index file").
const FIELDS: usize = 6;

/// Which file to read.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The index of the authority, such as /etc/openvpn/easy-rsa/pki/index.txt
    file: PathBuf,
}

/// The examples of its help.
pub(super) const EXAMPLES: &str = "Examples:
  postern user from-easy-rsa /etc/openvpn/easy-rsa/pki/index.txt

Prints a `postern user add` for each name with a valid certificate who is not in the policy folder yet; add the groups
and leave out what is no person, such as the server's own name. Certificates and keys of OpenVPN are not taken over:
people get a link, and a device for WireGuard.";

/// What the file comes to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct People {
    to_add: Vec<String>,
    known: Vec<String>,
    left_out: Vec<LeftOut>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct LeftOut {
    name: String,
    why: &'static str,
}

/// Lists the people of a file.
///
/// # Errors
/// [`Exit::Data`] with file, line and what to write for each line that is none.
pub(super) fn run(options: &Options, config: &Config, json: bool) -> Result<(), Failure> {
    let text = files::read_text(&options.file, FILE_MAX, files::Links::Follow)?;
    let policy = policies::load(&config.policy_dir)?.policy;
    let people = people(&options.file, &text, &|user| policy.user(user).is_some());
    let people = people.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
        Failure::new(Exit::Data, lines.join("\n"))
    })?;
    if json {
        out::json(&people);
        return Ok(());
    }
    for user in &people.to_add {
        out::line(&format!("postern user add {user}"));
    }
    for LeftOut { name, why } in &people.left_out {
        out::note(&format!("{} is left out: {why}", name.escape_debug()));
    }
    Ok(())
}

fn people(file: &Path, text: &str, knows: &dyn Fn(&str) -> bool) -> Result<People, Vec<Problem>> {
    let mut valid: Vec<String> = Vec::new();
    let mut others: Vec<(String, &'static str)> = Vec::new();
    let mut problems = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let row = line.trim_end_matches(['\n', '\r']);
        match entry(row) {
            None if row.trim().is_empty() => {}
            None => {
                let what = "not a line of an index of easy-rsa".to_owned();
                let help = "give its pki/index.txt: six fields with tabs between them, such as \
                            `V 330101120000Z - 01 unknown /CN=zoe`";
                let span = start..start + row.len();
                let problem = Problem::at(file, text, Some(span), what);
                problems.push(problem.help(help.to_owned()));
            }
            Some(("V", name)) if !valid.iter().any(|other| other == name) => {
                valid.push(name.to_owned());
            }
            Some(("V", _)) => {}
            Some(("R", name)) => others.push((name.to_owned(), "the certificate is revoked")),
            Some((_, name)) => others.push((name.to_owned(), "the certificate has expired")),
        }
        start += line.len();
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut people = People::default();
    for name in &valid {
        match UserName::parse(name) {
            Some(user) if knows(user.as_str()) => people.known.push(user.as_str().to_owned()),
            Some(user) => people.to_add.push(user.as_str().to_owned()),
            None => people.left_out.push(LeftOut {
                name: name.clone(),
                why: "a user name has lower-case letters, digits, dot, underscore, dash; choose one",
            }),
        }
    }
    others.retain(|(name, _)| !valid.contains(name));
    others.sort();
    others.dedup_by(|a, b| a.0 == b.0);
    let others = others.into_iter();
    let left_out = others.map(|(name, why)| LeftOut { name, why });
    people.left_out.extend(left_out);
    Ok(people)
}

/// Reads status and common name of a line.
fn entry(row: &str) -> Option<(&str, &str)> {
    let fields: Vec<&str> = row.split('\t').collect();
    let [status @ ("V" | "R" | "E"), _, _, _, _, subject] = *fields.first_chunk::<FIELDS>()? else {
        return None;
    };
    if fields.len() != FIELDS {
        return None;
    }
    let (_, name) = subject.split_once("/CN=")?;
    let name = name.split('/').next().unwrap_or_default();
    (!name.is_empty()).then_some((status, name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::{LeftOut, people};

    const INDEX: &str = "V\t330101120000Z\t\t01\tunknown\t/CN=server\n\
        V\t330101120000Z\t\t02\tunknown\t/C=MC/O=Office/CN=Zoe/emailAddress=zoe@example.org\r\n\
        R\t330101120000Z\t250101120000Z\t03\tunknown\t/CN=ben\n\
        R\t330101120000Z\t250101120000Z,keyCompromise\t04\tunknown\t/CN=ann\n\
        V\t330101120000Z\t\t05\tunknown\t/CN=ann\n\
        E\t200101120000Z\t\t06\tunknown\t/CN=old\n\
        V\t330101120000Z\t\t07\tunknown\t/CN=Two Words\n\n";

    #[test]
    fn people_with_valid_certificates_are_listed_once_and_the_rest_with_the_reason() {
        let knows = |user: &str| user == "ann";
        let found = people(Path::new("index.txt"), INDEX, &knows).unwrap();
        assert_eq!(found.to_add, ["server", "zoe"]);
        assert_eq!(found.known, ["ann"]);
        let left: Vec<_> = found.left_out.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(left, ["Two Words", "ben", "old"]);
        let revoked = LeftOut {
            name: "ben".to_owned(),
            why: "the certificate is revoked",
        };
        assert!(found.left_out.contains(&revoked));
    }

    #[test]
    fn a_line_that_is_none_is_told_with_its_place_and_nothing_is_listed() {
        for bad in [
            "zoe:$apr1$x$y\n",
            "V\t330101120000Z\t\t01\tunknown\n",
            "V\t330101120000Z\t\t01\tunknown\t/CN=\n",
            "X\t330101120000Z\t\t01\tunknown\t/CN=zoe\n",
            "V\t330101120000Z\t\t01\tunknown\t/CN=zoe\tmore\n",
        ] {
            let text = format!("{INDEX}{bad}");
            let wrong = people(Path::new("index.txt"), &text, &|_| false).unwrap_err();
            let told: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains("index.txt:9:1: not a line"), "{told:?}");
            assert!(told[0].contains("pki/index.txt"), "{told:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "([VRE]\t?|\t|/CN=|[a-z/]{0,4}|\n|\r|.){0,40}",
        ) {
            drop(people(Path::new("i"), &text, &|_| false));
        }
    }
}
