//! `[tunnel]`: when a device must prove its person again, and which devices have nobody to sign in.

use super::settings::{bad, positive};
use super::{Cx, empty_list, unknown};
use crate::diag::{Diagnostic, show};
use crate::ir::{Headless, Net, Reprove, index};
use crate::syntax::{Def, ReproveAst, Sp, TunnelAst, Word};
use crate::text::Text;

/// Reads `reprove` and `headless`; a second `[tunnel]` is refused where `sign-in` is read.
pub(super) fn resolve(
    cx: &mut Cx<'_>,
    defs: &[Def<TunnelAst>],
    nets: &[Net],
) -> (Reprove, Vec<Headless>) {
    let Some(def) = defs.first() else {
        return (Reprove::default(), Vec::new());
    };
    let reprove = def.body.reprove.as_ref();
    let reprove = reprove.map_or_else(Reprove::default, |ast| self::reprove(ast, cx.diags));
    let entries = def.body.headless.iter();
    let mut headless: Vec<_> = entries.filter_map(|def| exempt(cx, def, nets)).collect();
    headless.sort_by(|a, b| (a.user, &a.device).cmp(&(b.user, &b.device)));
    (reprove, headless)
}

fn reprove(ast: &ReproveAst, diags: &mut Vec<Diagnostic>) -> Reprove {
    let reprove = Reprove {
        moved: ast.moved.unwrap_or(false),
        after: ast.after.as_ref().and_then(|word| positive(word, diags)),
        idle: ast.idle.as_ref().and_then(|word| positive(word, diags)),
    };
    if ast.moved != Some(true) && ast.after.is_none() && ast.idle.is_none() {
        diags.push(
            Diagnostic::error("bad-value", ast.span, "`reprove` closes no device")
                .help("say when: moved = true, after = \"8h\", idle = \"30m\"; or leave it out"),
        );
    }
    reprove
}

/// Reads one device and its nets.
fn exempt(cx: &mut Cx<'_>, def: &Def<Sp<Vec<Word>>>, nets: &[Net]) -> Option<Headless> {
    let word = &def.name;
    let parts = word.v.split_once('/').filter(|(_, name)| !name.is_empty());
    let Some((owner, name)) = parts else {
        let example = format!("{}/*", show(word.v.trim_end_matches('/')));
        cx.diags.push(bad(word, "a device").help(format!(
            "write \"USER/DEVICE\", or \"{example}\" for every managed device of that user"
        )));
        return None;
    };
    let user = index(cx.users, owner, |user| &user.name);
    if user.is_none() {
        let names = cx.users.iter().map(|user| user.name.as_str());
        let owner = Sp {
            v: Text::from(owner),
            span: word.span,
        };
        cx.diags.push(unknown(&owner, "user", names));
    }
    let found = self::nets(cx, &def.body, nets);
    Some(Headless {
        user: user?,
        device: (name != "*").then(|| name.to_owned()),
        nets: found,
        span: word.span,
    })
}

fn nets(cx: &mut Cx<'_>, list: &Sp<Vec<Word>>, nets: &[Net]) -> Vec<u32> {
    if list.v.is_empty() {
        cx.diags.push(empty_list(list.span, "headless"));
    }
    let mut out = Vec::new();
    for word in &list.v {
        match index(nets, &word.v, |net| &net.id) {
            Some(ix) => out.push(ix),
            None => {
                let ids = nets.iter().map(|net| net.id.as_str());
                let finding = unknown(word, "net", ids);
                cx.diags.push(match finding.help {
                    Some(_) => finding,
                    None => finding.help("write net.<id>"),
                });
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}
