//! `[zone-file]`: zones whose networks stand in a list of their own, one a line.

use std::collections::BTreeSet;

use super::places::is_network;
use super::tenants::{Tenant, failed, list_path, lists_sound};
use crate::diag::{Diagnostic, show};
use crate::source::{FileId, Sources, Span};
use crate::syntax::{Ast, Def, MAX_FILE, Sp, Word};

/// Most networks of one list.
const MAX_NETS: usize = 131_072;
/// Most networks of all lists together.
const MAX_ALL: usize = 524_288;
/// Lines of one list that are reported; a file that is no list at all would drown the rest.
const MAX_REPORTED: usize = 20;

/// Reads the lists and adds them to the zones of the tree.
pub(super) fn read(
    ast: &mut Ast,
    tenants: &[Tenant],
    sources: &Sources,
    diags: &mut Vec<Diagnostic>,
) {
    // after a mistake in the root files nobody has looked for lists
    let sought = !failed(diags) && lists_sound(ast, tenants);
    let named: BTreeSet<&str> = ast
        .zone_files
        .iter()
        .map(|def| def.body.v.as_str())
        .collect();
    for file in sources.files().filter(|&file| sources.is_list(file)) {
        if !named.contains(sources.relative(file)) {
            let title = format!("no [zone-file] names `{}`", show(sources.relative(file)));
            diags.push(
                Diagnostic::error("unclaimed", Span::new(file, 0..0), title)
                    .help("take the file out, or name it in [zone-file]"),
            );
        }
    }
    let mut all = 0;
    for def in std::mem::take(&mut ast.zone_files) {
        if !list_path(&def.body, tenants, diags) {
            continue;
        }
        let mut files = sources.files().filter(|&file| sources.is_list(file));
        let Some(file) = files.find(|&file| def.body.v == sources.relative(file)) else {
            if !sought {
                continue;
            }
            let title = format!("no list `{}` in the policy folder", show(&def.body.v));
            diags.push(
                Diagnostic::error("missing-file", def.body.span, title)
                    .help("write the list there, one network a line"),
            );
            continue;
        };
        if let Some(nets) = networks(sources, file, &def, diags) {
            all += nets.len();
            if all > MAX_ALL {
                let title = format!("{all} networks in all lists, the limit is {MAX_ALL}");
                diags.push(Diagnostic::error("limit", def.body.span, title));
                return;
            }
            ast.zones.push(Def {
                name: def.name,
                body: nets,
            });
        }
    }
}

/// The networks of one list as words with their places.
fn networks(
    sources: &Sources,
    file: FileId,
    def: &Def<Word>,
    diags: &mut Vec<Diagnostic>,
) -> Option<Vec<Word>> {
    let text = sources.text(file);
    if text.len() > MAX_FILE {
        let title = "list is larger than 8 MiB";
        diags.push(Diagnostic::error("limit", Span::new(file, 0..0), title));
        return None;
    }
    let mut nets: Vec<Word> = Vec::new();
    let mut bad = 0usize;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let said = line.split('#').next().unwrap_or_default();
        let lead = said.len() - said.trim_start().len();
        let said = said.trim();
        if !said.is_empty() {
            let from = start + lead;
            let word = Sp {
                v: said.into(),
                span: Span::new(file, from..from + said.len()),
            };
            let sound = is_network(said);
            bad += usize::from(!sound);
            if sound || bad <= MAX_REPORTED {
                nets.push(word);
            }
        }
        start += line.len();
    }
    if bad > MAX_REPORTED {
        let title = format!("{} more lines are no networks", bad - MAX_REPORTED);
        diags.push(Diagnostic::error(
            "bad-value",
            Span::new(file, text.len()..text.len()),
            title,
        ));
    }
    if nets.len() > MAX_NETS {
        let title = format!(
            "{} networks in one list, the limit is {MAX_NETS}",
            nets.len()
        );
        diags.push(Diagnostic::error("limit", def.body.span, title));
        return None;
    }
    if nets.is_empty() {
        let title = format!("list `{}` holds no network", show(&def.body.v));
        diags.push(
            Diagnostic::error("empty-list", def.body.span, title)
                .help("a job that failed leaves such a list, so it is refused; for a list that may be empty keep 192.0.2.0/32 in it"),
        );
        return None;
    }
    Some(nets)
}
