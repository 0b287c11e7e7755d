//! `[tenant.*]` of the root files: folders, and whose each file is.

use std::collections::BTreeMap;

use super::{Spaces, Tenant, domains, failed};
use crate::diag::{Diagnostic, show};
use crate::resolve::unique;
use crate::source::{FileId, Sources, Span};
use crate::syntax::{self, Ast, Def, TenantAst, Word};

/// Longest path of a folder or list, in bytes.
const MAX_PATH: usize = 255;
/// Deepest folder of a tenant; a list lies at most one deeper.
const MAX_DEPTH: usize = 3;

/// What the root files of a policy folder name beside themselves, as paths below it with plain names: no `..`, no
/// hidden names, nothing absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Folders whose `*.toml` belong to tenants, sorted.
    pub tenants: Vec<String>,
    /// Lists of networks, sorted.
    pub lists: Vec<String>,
}

/// Says which folders and lists the root files want read as well. `None` when the root files are not sound: then
/// [`crate::load`] of them alone fails, and says why.
pub fn wanted(root: &Sources) -> Option<Wanted> {
    let named = |file: FileId| {
        let text = root.text(file);
        text.contains("tenant") || text.contains("zone-file")
    };
    if !root.files().any(named) {
        return Some(Wanted::default());
    }
    let (ast, mut diags) = syntax::parse(root);
    let tenants = tenants(&ast, root, &mut diags);
    if failed(&diags) || !lists_sound(&ast, &tenants) {
        return None;
    }
    let lists = ast.zone_files.iter();
    let mut lists: Vec<String> = lists.map(|def| def.body.v.to_string()).collect();
    let mut folders: Vec<String> = tenants.into_iter().map(|tenant| tenant.dir).collect();
    folders.sort();
    lists.sort();
    lists.dedup();
    Some(Wanted {
        tenants: folders,
        lists,
    })
}

/// Says whose each file is.
pub(super) fn claim(ast: &Ast, sources: &Sources, diags: &mut Vec<Diagnostic>) -> Option<Spaces> {
    let before = diags.len();
    let mut spaces = Spaces {
        tenants: tenants(ast, sources, diags),
        ..Spaces::default()
    };
    let files = sources.files().filter(|&file| !sources.is_list(file));
    for file in files {
        let Some((dir, _)) = sources.relative(file).rsplit_once('/') else {
            continue;
        };
        let owner = spaces.tenants.iter().position(|tenant| tenant.dir == dir);
        match owner {
            Some(at) => {
                spaces.files.insert(file, at);
            }
            None => diags.push(unclaimed(file, dir)),
        }
    }
    // after a mistake in the root files nobody has looked for the others
    let sought = !failed(diags) && lists_sound(ast, &spaces.tenants);
    for (at, tenant) in spaces.tenants.iter().enumerate().filter(|_| sought) {
        if !spaces.files.values().any(|&owner| owner == at) {
            diags.push(
                Diagnostic::error(
                    "missing-file",
                    tenant.name.span,
                    format!("no policy file in `{}`", show(&tenant.dir)),
                )
                .help(
                    "a tenant has at least one *.toml in its folder; `postern = 1` alone will do",
                ),
            );
        }
    }
    let people = ast.users.iter().map(|def| def.name.span.file);
    let files = ast.users_files.iter().copied().chain(people);
    spaces.listed = files.map(|file| spaces.position(file)).collect();
    (!failed(diags.get(before..).unwrap_or_default())).then_some(spaces)
}

fn unclaimed(file: FileId, dir: &str) -> Diagnostic {
    let title = format!("no tenant has the folder `{}`", show(dir));
    Diagnostic::error("unclaimed", Span::new(file, 0..0), title)
        .help("name it as `dir` of a [tenant.…], or move its files to the policy folder")
}

/// Whether a file lies directly in the policy folder.
fn is_root(sources: &Sources, word: &Word) -> bool {
    !sources.relative(word.span.file).contains('/')
}

fn tenants(ast: &Ast, sources: &Sources, diags: &mut Vec<Diagnostic>) -> Vec<Tenant> {
    let own: Vec<Def<TenantAst>> = ast
        .tenants
        .iter()
        .filter(|def| is_root(sources, &def.name))
        .cloned()
        .collect();
    let mut out: Vec<Tenant> = Vec::new();
    for def in unique(&own, "tenant", diags) {
        let domains = domains::read(def, &out, diags);
        let Some(dir) = def.body.dir.as_ref() else {
            continue;
        };
        if !check_path(dir, "a folder", MAX_DEPTH, diags) {
            continue;
        }
        out.push(Tenant {
            name: def.name.clone(),
            dir: dir.v.to_string(),
            domains,
            apps: def.body.apps.clone(),
            allows: def.body.allows.clone(),
        });
    }
    nested(&own, diags);
    out
}

/// Two tenants cannot share a folder, nor can one lie in another's.
fn nested(defs: &[Def<TenantAst>], diags: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    let mut dirs: Vec<&Word> = defs
        .iter()
        .filter_map(|def| def.body.dir.as_ref())
        .collect();
    dirs.sort_by_key(|word| (word.v.len(), word.span));
    for word in dirs {
        let path = format!("{}/", word.v);
        let outer = seen.iter().find(|(other, _)| path.starts_with(*other));
        if let Some((other, span)) = outer {
            let same = *other == path;
            let title = match same {
                true => format!("two tenants have the folder `{}`", show(&word.v)),
                false => format!("`{}` lies in the folder of another tenant", show(&word.v)),
            };
            diags.push(
                Diagnostic::error("bad-value", word.span, title)
                    .related(*span, "the other tenant")
                    .help("give each tenant a folder of its own, such as tenants/NAME"),
            );
            continue;
        }
        seen.insert(path, word.span);
    }
}

/// Whether all paths of lists can be read.
pub(crate) fn lists_sound(ast: &Ast, tenants: &[Tenant]) -> bool {
    let mut unsaid = Vec::new();
    let mut lists = ast.zone_files.iter();
    lists.all(|def| list_path(&def.body, tenants, &mut unsaid))
}

/// Checks the path of a list of networks; says whether it can be read.
pub(crate) fn list_path(word: &Word, tenants: &[Tenant], diags: &mut Vec<Diagnostic>) -> bool {
    if !check_path(word, "a list of networks", MAX_DEPTH + 1, diags) {
        return false;
    }
    let path = word.v.as_str();
    let inside = |tenant: &&Tenant| {
        let rest = path.strip_prefix(tenant.dir.as_str());
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let title = if path.ends_with(".toml") {
        "a list of networks is not a policy file".to_owned()
    } else if let Some(tenant) = tenants.iter().find(inside) {
        format!(
            "`{}` lies in the folder of tenant {}",
            show(path),
            tenant.name.v
        )
    } else {
        return true;
    };
    let help = "keep lists apart, such as lists/blocklist.txt";
    diags.push(Diagnostic::error("bad-value", word.span, title).help(help));
    false
}

fn check_path(word: &Word, what: &str, deepest: usize, diags: &mut Vec<Diagnostic>) -> bool {
    let plain = |part: &str| {
        let sound = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(sound)
    };
    let path = word.v.as_str();
    let deep = path.split('/').count() > deepest;
    let fine = path.len() <= MAX_PATH && !deep && path.split('/').all(plain);
    if !fine {
        let help = if path.starts_with('/') {
            "write the path below the policy folder, without a `/` in front"
        } else if path.split('/').any(|part| part == "..") {
            "it must lie below the policy folder: `..` leads out of it"
        } else if deep {
            "it lies too deep: write at most tenants/REGION/NAME, and one more for a list"
        } else {
            "write names of letters, digits, `.`, `_` and `-`, with `/` between them, none beginning with a dot"
        };
        let title = format!("`{}` is not the path of {what}", show(path));
        diags.push(Diagnostic::error("bad-value", word.span, title).help(help));
    }
    fine
}
