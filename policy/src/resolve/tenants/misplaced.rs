//! What a tenant's file cannot hold.

use super::Spaces;
use crate::diag::{Diagnostic, show};
use crate::source::Span;
use crate::syntax::{Ast, Def, DefaultAst};

/// Takes out of the tree, and refuses, what only root files may say.
pub(super) fn refuse(ast: &mut Ast, spaces: &Spaces, diags: &mut Vec<Diagnostic>) {
    take(&mut ast.nets, "net", spaces, diags);
    take(&mut ast.admin, "admin", spaces, diags);
    take(&mut ast.tenants, "tenant", spaces, diags);
    take(&mut ast.zone_files, "zone-file", spaces, diags);
    take(&mut ast.tunnel, "tunnel", spaces, diags);
    for def in &ast.default {
        if let Some(tenant) = spaces.of(def.name.span.file) {
            global(def, tenant, diags);
        }
    }
    for ast in &ast.invariants {
        let key = ast.disjoint.as_ref();
        if let (Some(tenant), Some(key)) = (spaces.of(ast.span.file), key) {
            diags.push(refusal("tenants-disjoint", key.span, tenant));
        }
    }
}

fn take<T>(defs: &mut Vec<Def<T>>, section: &str, spaces: &Spaces, diags: &mut Vec<Diagnostic>) {
    defs.retain(|def| {
        let span = def.name.span;
        let Some(tenant) = spaces.of(span.file) else {
            return true;
        };
        let what = match def.name.v == section {
            true => format!("[{section}]"),
            false => format!("[{section}] {}", show(&def.name.v)),
        };
        diags.push(refusal(&what, span, tenant));
        false
    });
}

fn refusal(what: &str, span: Span, tenant: &str) -> Diagnostic {
    let title = format!("{what} cannot stand in a file of tenant {tenant}");
    Diagnostic::error("misplaced", span, title)
        .help("only files that lie directly in the policy folder may say this")
}

/// Keys of `[default]` that are one for the whole gateway.
fn global(def: &Def<DefaultAst>, tenant: &str, diags: &mut Vec<Diagnostic>) {
    let ast = &def.body;
    let hide = ast.hide.map(|_| def.name.span);
    let keys = [
        ("idle", ast.idle.as_ref().map(|word| word.span)),
        ("sessions", ast.sessions.as_ref().map(|count| count.span)),
        ("extend", ast.extend.as_ref().map(|word| word.span)),
        ("hide", hide),
    ];
    for (key, span) in keys {
        diags.extend(span.map(|span| refusal(&format!("`{key}` of [default]"), span, tenant)));
    }
}
