//! Whose a peer is: what the map says, else what its comment says.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::config::Problem;
use crate::identity::UserName;
use crate::wgquick::Peer;

/// Whom a peer goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is left out.
    Nobody,
    /// A person, and what the device is called.
    User { user: String, name: Option<String> },
}

/// The lines of a map.
pub(super) struct Owners {
    file: PathBuf,
    text: String,
    lines: Vec<Line>,
}

struct Line {
    at: usize,
    peer: String,
    owner: Owner,
    used: bool,
}

impl Owners {
    /// Reads a map: `PEER = USER [DEVICE NAME]`, or `PEER = -`.
    pub(super) fn read(
        map: Option<(&Path, &str)>,
        knows: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Vec<Problem>> {
        let (file, text) = map.unwrap_or_else(|| (Path::new(""), ""));
        let mut owners = Self {
            file: file.to_owned(),
            text: text.to_owned(),
            lines: Vec::new(),
        };
        let mut problems = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let content = line.split_once('#').map_or(line, |(content, _)| content);
            if !content.trim().is_empty() {
                match owners.line(start, content, knows) {
                    Ok(line) => owners.lines.push(line),
                    Err(problem) => problems.push(problem),
                }
            }
            start += line.len();
        }
        if problems.is_empty() {
            Ok(owners)
        } else {
            Err(problems)
        }
    }

    fn line(
        &self,
        start: usize,
        content: &str,
        knows: &dyn Fn(&str) -> bool,
    ) -> Result<Line, Problem> {
        let lead = content.len() - content.trim_start().len();
        let at = start + lead;
        // a public key ends with `=` too, so the last one counts
        let Some((peer, owner)) = content.rsplit_once('=') else {
            let problem = self.problem(at, "no `=` in this line".to_owned());
            return Err(problem.help("write `10.200.200.2 = zoe laptop`".to_owned()));
        };
        let (peer, owner_text) = (peer.trim(), owner.trim());
        let owner_at = start + content.len() - owner.trim_start().len();
        let peer = peer.strip_suffix("/32").unwrap_or(peer);
        if self.lines.iter().any(|l| l.peer == peer) {
            let problem = self.problem(at, format!("{} stands twice", peer.escape_debug()));
            return Err(problem.help("a peer has one owner".to_owned()));
        }
        let owner = match owner_text.split_once(char::is_whitespace) {
            _ if owner_text == "-" => Owner::Nobody,
            Some((user, name)) => user_owner(user, Some(name.trim())),
            None => user_owner(owner_text, None),
        };
        if let Owner::User { user, .. } = &owner
            && !knows(user)
        {
            let what = format!("no user `{}` in the policy folder", user.escape_debug());
            let help = format!("add one: postern user add {}", user.escape_debug());
            return Err(self.problem(owner_at, what).help(help));
        }
        Ok(Line {
            at,
            peer: peer.to_owned(),
            owner,
            used: false,
        })
    }

    /// Finds the owner of a peer.
    pub(super) fn of(
        &mut self,
        peer: &Peer,
        address: Ipv4Addr,
        knows: &dyn Fn(&str) -> bool,
    ) -> Option<Owner> {
        let names = [
            Some(address.to_string()),
            Some(peer.public_key.to_string()),
            peer.name.clone(),
        ];
        let mut lines = self.lines.iter_mut();
        if let Some(line) = lines.find(|l| names.iter().flatten().any(|n| *n == l.peer)) {
            line.used = true;
            return Some(line.owner.clone());
        }
        by_comment(peer.name.as_deref()?, knows)
    }

    /// Tells which lines were about no peer.
    pub(super) fn unused(&self) -> Vec<Problem> {
        let unused = self.lines.iter().filter(|line| !line.used);
        unused
            .map(|line| {
                let what = format!("no peer is `{}`", line.peer.escape_debug());
                let problem = self.problem(line.at, what);
                problem.help("write its address, public key or comment".to_owned())
            })
            .collect()
    }

    fn problem(&self, at: usize, what: String) -> Problem {
        Problem::at(&self.file, &self.text, Some(at..at), what)
    }
}

fn user_owner(user: &str, name: Option<&str>) -> Owner {
    Owner::User {
        user: user.to_owned(),
        name: name.map(str::to_owned),
    }
}

/// Reads `zoe`, `zoe laptop`, `zoe-laptop` or `Zoe's laptop`: the longest beginning that is a user.
fn by_comment(comment: &str, knows: &dyn Fn(&str) -> bool) -> Option<Owner> {
    let known = |text: &str| {
        let name = UserName::parse(text)?;
        knows(name.as_str()).then(|| name.as_str().to_owned())
    };
    if let Some(user) = known(comment) {
        return Some(Owner::User { user, name: None });
    }
    let is_gap = |c: char| !c.is_alphanumeric();
    let gaps = comment.char_indices().rev().filter(|(_, c)| is_gap(*c));
    for (at, _) in gaps {
        let (user, rest) = comment.split_at_checked(at)?;
        let Some(user) = known(user) else { continue };
        let rest = rest.strip_prefix("'s").unwrap_or(rest);
        let rest = rest.trim_matches(is_gap);
        let name = (!rest.is_empty()).then(|| rest.to_owned());
        return Some(Owner::User { user, name });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Owner, by_comment};

    fn owner(user: &str, name: Option<&str>) -> Owner {
        Owner::User {
            user: user.to_owned(),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn a_comment_that_begins_with_a_user_names_the_owner() {
        let knows = |user: &str| ["zoe", "zoe-q", "max"].contains(&user);
        for (comment, found) in [
            ("zoe", Some(owner("zoe", None))),
            ("Zoe", Some(owner("zoe", None))),
            ("zoe laptop", Some(owner("zoe", Some("laptop")))),
            ("zoe-laptop", Some(owner("zoe", Some("laptop")))),
            ("Zoe's old phone", Some(owner("zoe", Some("old phone")))),
            ("zoe-q: laptop", Some(owner("zoe-q", Some("laptop")))),
            ("max (desk)", Some(owner("max", Some("desk")))),
            ("zoeline", None),
            ("Add each remote user", None),
            ("", None),
        ] {
            assert_eq!(by_comment(comment, &knows), found, "{comment}");
        }
    }
}
