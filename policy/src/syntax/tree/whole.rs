//! Any file at all, by way of the `toml` crate, which knows the whole language and words what is wrong.

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::{Kind, Node, ROOT, Range, Tree};
use crate::source::FileId;

/// Reads a file with everything that is wrong in it; the tree holds what could be read.
pub(in super::super) fn read_whole(file: FileId, text: &str) -> (Tree<'_>, Vec<Error>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut tree = Tree::new(file, text);
    tree.said.push(Default::default());
    add_table(&mut tree, ROOT, table.get_ref());
    (tree, errors)
}

fn add_table(tree: &mut Tree<'_>, parent: u32, table: &DeTable<'_>) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        add(tree, parent, (range(key), key.get_ref()), value);
    }
}

fn add(
    tree: &mut Tree<'_>,
    parent: u32,
    (place, key): (Range, &str),
    value: &Spanned<DeValue<'_>>,
) {
    let (kind, text) = match value.get_ref() {
        DeValue::String(text) => (Kind::String, text.to_string()),
        DeValue::Integer(number) => {
            let value = u64::from_str_radix(number.as_str(), number.radix());
            let value = value.map(|value| value.to_string());
            (Kind::Integer, value.unwrap_or_default())
        }
        DeValue::Float(_) => (Kind::Float, String::new()),
        DeValue::Boolean(true) => (Kind::True, String::new()),
        DeValue::Boolean(false) => (Kind::False, String::new()),
        DeValue::Datetime(_) => (Kind::Datetime, String::new()),
        DeValue::Array(_) => (Kind::Array, String::new()),
        DeValue::Table(_) => (Kind::Table, String::new()),
    };
    let node = Node::new(place, range(value), kind);
    let Some(at) = tree.add(parent, node) else {
        return;
    };
    tree.said.push([key.into(), text.into()]);
    match value.get_ref() {
        DeValue::Table(table) => add_table(tree, at, table),
        DeValue::Array(items) => {
            for item in items {
                add(tree, at, (Range::default(), ""), item);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

fn range<T>(value: &Spanned<T>) -> Range {
    let span = value.span();
    let number = |at| u32::try_from(at).unwrap_or(u32::MAX);
    Range {
        start: number(span.start),
        end: number(span.end),
    }
}
