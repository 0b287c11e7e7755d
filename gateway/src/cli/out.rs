//! The one place that writes to stdout and stderr for people and scripts.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// Whether this process wrote to stdout.
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// Tells whether anything was written to stdout.
pub(crate) fn answered() -> bool {
    ANSWERED.load(Ordering::Relaxed)
}

/// Writes a line to stdout; a reader that is gone is no fault.
pub(crate) fn line(text: &str) {
    ANSWERED.store(true, Ordering::Relaxed);
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Writes text to stdout as it is.
pub(crate) fn raw(text: &str) {
    ANSWERED.store(true, Ordering::Relaxed);
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Writes a value to stdout as one line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) {
    line(&serde_json::to_string(value).unwrap_or_default());
}

/// Writes a line to stderr.
pub(crate) fn note(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Writes rows as a table with aligned columns.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    raw(&columns(head, rows));
}

/// Draws text as a QR code for a terminal.
pub(crate) fn qr(text: &str) -> Option<String> {
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L).ok()?;
    let drawn = code
        .render::<qrcode::render::unicode::Dense1x2>()
        .dark_color(qrcode::render::unicode::Dense1x2::Light)
        .light_color(qrcode::render::unicode::Dense1x2::Dark)
        .build();
    Some(drawn)
}

fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let titles = head.iter().map(|t| (*t).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&titles).chain(rows).collect();
    let width = |i: usize| {
        let cells = all.iter().filter_map(|row| row.get(i));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let fill = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', fill));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["d1".to_owned(), "laptop".to_owned()],
            vec!["d22".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            super::columns(&["ID", "NAME"], &rows),
            "ID   NAME\nd1   laptop\nd22  x\n"
        );
    }

    #[test]
    fn a_code_is_drawn_for_an_otpauth_url() {
        let url = "otpauth://totp/Postern:demo?secret=JBSWY3DPEHPK3PXP&issuer=Postern";
        assert!(super::qr(url).unwrap().lines().count() > 10);
    }
}
