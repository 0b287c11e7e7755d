//! Large files cut into parts that are read one by one: a head, and behind it parts that hold nothing but apps.
//!
//! Where this cannot be done, or anything is wrong, the files are read whole, which says what is wrong. So a part is
//! only ever taken for what it is when the whole file would be read alike: a file is cut at headers of apps, every
//! part must be plainly written, and no app may stand in two parts.

use std::ops::Range;

use super::read::Reader;
use super::{AppAst, Ast, Def, MAX_FILE, lower, tree};
use crate::diag::Diagnostic;
use crate::source::{FileId, Sources};
use crate::text::Texts;

/// Parts are about so large at least, in bytes: what is read of one stays in the caches.
pub(crate) const SIZE: usize = 1 << 15;
/// Files of so many parts are large.
const LARGE: usize = 4;
/// What a line begins with at which a file may be cut.
const HEADER: &str = "\n[app.";

/// A part of a file that holds nothing but apps.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    file: FileId,
    range: Range<usize>,
}

/// Reads all but the parts of large files that hold only apps, which are returned unread. `None` if no file is large,
/// or if the files must be read whole.
pub(crate) fn in_parts(
    sources: &Sources,
    size: usize,
) -> Option<(Ast, Vec<Part>, Vec<Diagnostic>)> {
    let files = || sources.files().filter(|&file| !sources.is_list(file));
    let large = |file: FileId| sources.text(file).len() / LARGE > size;
    if !files().any(large) {
        return None;
    }
    let (mut ast, mut diags) = (Ast::default(), Vec::new());
    let mut texts = Texts::default();
    let mut parts = Vec::new();
    for file in files() {
        let text = sources.text(file);
        if text.len() > MAX_FILE {
            return None;
        }
        let head = if large(file) {
            cut(text, 0, size)
        } else {
            text.len()
        };
        let tree = tree::read_plain(file, text.get(..head)?)?;
        if head < text.len() && !lower::takes_apps(tree.root()) {
            return None;
        }
        texts.expect_file(head);
        let users_file = super::is_users_file(sources, file);
        ast.users_files.extend(users_file.then_some(file));
        let mut reader = Reader {
            file,
            users_file,
            texts: &mut texts,
            diags: &mut diags,
        };
        lower::file(&mut reader, tree.root(), &mut ast);
        let mut start = head;
        while start < text.len() {
            let end = cut(text, start, size);
            let range = start..end;
            parts.push(Part { file, range });
            start = end;
        }
    }
    // names of tenants are written out in the tree of all files
    (!parts.is_empty() && ast.tenants.is_empty()).then_some((ast, parts, diags))
}

impl Part {
    /// Reads the apps; `None` if the file must be read whole.
    pub(crate) fn apps(
        &self,
        sources: &Sources,
        texts: &mut Texts,
        diags: &mut Vec<Diagnostic>,
    ) -> Option<Vec<Def<AppAst>>> {
        let text = sources.text(self.file).get(self.range.clone())?;
        let tree = tree::read_part(self.file, self.range.start, text)?;
        let mut reader = Reader {
            file: self.file,
            users_file: false,
            texts,
            diags,
        };
        lower::apps(&mut reader, tree.root())
    }
}

/// Where the part that begins at `start` ends: in front of the next app behind `size` bytes, or with the text.
fn cut(text: &str, start: usize, size: usize) -> usize {
    let whole = |header: &str| {
        let name = header.strip_suffix(']').unwrap_or_default();
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        !name.is_empty() && name.bytes().all(bare)
    };
    let mut at = start.saturating_add(size);
    // places are found in bytes, and no byte of the header is part of another character
    while let Some(rest) = text.as_bytes().get(at..) {
        let found = rest
            .windows(HEADER.len())
            .position(|bytes| bytes == HEADER.as_bytes());
        let Some(found) = found else { break };
        let line = at + found + 1;
        at = line + HEADER.len() - 1;
        let header = text.get(at..).and_then(|rest| rest.lines().next());
        if header.is_some_and(|header| whole(header.trim_end())) {
            return line;
        }
    }
    text.len()
}
