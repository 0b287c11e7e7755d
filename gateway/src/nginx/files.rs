//! Reads the files of a configuration, with those that they include.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tree::{Directive, parse};
use crate::cli::exit::chain;
use crate::config::Problem;
use crate::snapshot::files::{Links, read_text};

/// The largest file in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Most files.
const FILES_MAX: usize = 500;
/// Most files that include one another.
const DEPTH_MAX: usize = 10;
/// Files of nginx's own package that say nothing about apps; they need not be there.
const OWN: [&str; 8] = [
    "mime.types",
    "fastcgi_params",
    "fastcgi.conf",
    "uwsgi_params",
    "scgi_params",
    "koi-utf",
    "koi-win",
    "win-utf",
];

/// Reads files, one behind the other, and what they include, in its place.
///
/// # Errors
/// What is wrong with which file, with the place of the `include` that names it.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Directive>, String> {
    let mut loader = Loader { count: 0 };
    let mut all = Vec::new();
    for path in paths {
        let text = read_text(path, FILE_MAX, Links::Follow).map_err(|e| chain(&e))?;
        let main = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let read = loader.file(path, &text, &main, 0);
        all.extend(read.map_err(|problem| problem.to_string())?);
    }
    number(&mut all, &mut 0);
    Ok(all)
}

/// Reads one text that includes nothing.
#[cfg(test)]
pub(super) fn of_text(path: &str, text: &str) -> Result<Vec<Directive>, Problem> {
    let mut all = parse(&Arc::from(Path::new(path)), text)?;
    number(&mut all, &mut 0);
    Ok(all)
}

fn number(directives: &mut [Directive], next: &mut usize) {
    for d in directives {
        d.id = *next;
        *next += 1;
        number(d.block.as_deref_mut().unwrap_or_default(), next);
    }
}

struct Loader {
    count: usize,
}

impl Loader {
    fn file(
        &mut self,
        path: &Path,
        text: &str,
        main: &Path,
        depth: usize,
    ) -> Result<Vec<Directive>, Problem> {
        let parsed = parse(&Arc::from(path), text)?;
        self.expand(parsed, main, depth)
    }

    fn expand(
        &mut self,
        directives: Vec<Directive>,
        main: &Path,
        depth: usize,
    ) -> Result<Vec<Directive>, Problem> {
        let mut out = Vec::with_capacity(directives.len());
        for mut d in directives {
            if let Some(block) = d.block.take() {
                d.block = Some(self.expand(block, main, depth)?);
            }
            let included = if d.name == "include" && d.block.is_none() {
                self.include(&d, main, depth)?
            } else {
                Vec::new()
            };
            out.push(d);
            out.extend(included);
        }
        Ok(out)
    }

    fn include(
        &mut self,
        d: &Directive,
        main: &Path,
        depth: usize,
    ) -> Result<Vec<Directive>, Problem> {
        let wanted = Path::new(d.arg(0));
        let name = wanted.file_name().unwrap_or_default().to_string_lossy();
        if OWN.contains(&&*name) {
            return Ok(Vec::new());
        }
        if depth >= DEPTH_MAX {
            let what = format!("more than {DEPTH_MAX} files include one another");
            return Err(d.problem(what, "take this line out; a file may not include itself"));
        }
        let mut out = Vec::new();
        for path in found(d, wanted, &name, main)? {
            self.count += 1;
            if self.count > FILES_MAX {
                let what = format!("more than {FILES_MAX} files are included");
                return Err(d.problem(what, "import the sites one by one"));
            }
            let text = read_text(&path, FILE_MAX, Links::Follow).map_err(|error| {
                let help = "copy the file to where this line says, or take the line out";
                d.problem(chain(&error), help)
            })?;
            out.extend(self.file(&path, &text, main, depth + 1)?);
        }
        Ok(out)
    }
}

/// Finds what an `include` names: beside its own file, beside the file that was named first, or in the folder around its
/// own (nginx looks from /etc/nginx, whose sites stand in folders below).
fn found(d: &Directive, wanted: &Path, name: &str, main: &Path) -> Result<Vec<PathBuf>, Problem> {
    let beside = d.file.parent().unwrap_or_else(|| Path::new(""));
    let around = beside.parent().unwrap_or(beside);
    let folders = [beside, main, around];
    if !name.contains(['*', '?']) {
        let paths = folders.map(|folder| folder.join(wanted));
        let [first, ..] = &paths;
        let there = paths.iter().find(|path| path.exists()).unwrap_or(first);
        return Ok(vec![there.clone()]);
    }
    let below = wanted.parent().unwrap_or_else(|| Path::new(""));
    if below.to_string_lossy().contains(['*', '?']) {
        let what = "a pattern for folders".to_owned();
        return Err(d.problem(what, "write one line for each folder"));
    }
    let folder = folders.map(|folder| folder.join(below));
    let Some(folder) = folder.into_iter().find(|folder| folder.is_dir()) else {
        return Ok(Vec::new());
    };
    let listed = std::fs::read_dir(&folder).map_err(|error| {
        let what = format!("cannot read {}: {error}", folder.display());
        d.problem(what, "let this user read it")
    })?;
    let mut paths: Vec<PathBuf> = listed
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let seen = name.starts_with('.') || !file.starts_with('.');
            seen && path.is_file() && is_like(&file, name)
        })
        .collect();
    paths.sort_unstable();
    Ok(paths)
}

/// Whether a name fits a pattern of `*` and `?`.
fn is_like(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) =
        (name.chars().collect(), pattern.chars().collect());
    // which beginnings of the name fit what was read of the pattern
    let mut fits = vec![false; name.len() + 1];
    if let Some(first) = fits.first_mut() {
        *first = true;
    }
    for p in pattern {
        let mut next = vec![false; fits.len()];
        let mut any = false;
        for (at, slot) in next.iter_mut().enumerate() {
            any |= fits.get(at).copied().unwrap_or(false);
            let before = at.checked_sub(1);
            let here = before.and_then(|b| fits.get(b).copied()).unwrap_or(false);
            let same = before
                .and_then(|b| name.get(b))
                .is_some_and(|c| p == '?' || *c == p);
            *slot = if p == '*' { any } else { here && same };
        }
        fits = next;
    }
    fits.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (name, pattern, fits) in [
            ("a.conf", "*.conf", true),
            ("a.conf", "*", true),
            ("a.conf", "?.conf", true),
            ("ab.conf", "?.conf", false),
            ("a.conf~", "*.conf", false),
            ("a", "a*b", false),
            ("axxb", "a*b", true),
            ("", "*", true),
            ("", "?", false),
        ] {
            assert_eq!(is_like(name, pattern), fits, "{name} {pattern}");
        }
    }
}
