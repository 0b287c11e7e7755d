//! The words a policy file is written in.

use std::fmt::Write as _;

pub(crate) fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

pub(crate) fn pair(out: &mut String, key: &str, value: &str) {
    push(out, &format!("{key} = {value}"));
}

pub(crate) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string of TOML.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for ch in text.chars() {
        match ch {
            '"' | '\\' => {
                out.push('\\');
                out.push(ch);
            }
            ch if ch.is_control() => {
                let written = write!(out, "\\u{:04X}", u32::from(ch));
                debug_assert!(written.is_ok(), "a string takes all");
            }
            ch => out.push(ch),
        }
    }
    out.push('"');
    out
}
