//! QR codes as one SVG path.

use qrcode::{Color, EcLevel, QrCode};

const QUIET: usize = 4;

/// A QR code to draw inside an `svg` element of `side` by `side` units.
pub(crate) struct Qr {
    /// The side in modules, with the quiet zone.
    pub(crate) side: usize,
    /// The dark modules; holds digits and the letters M, h, v, z only.
    pub(crate) path: String,
}

impl Qr {
    /// Encodes a text; `None` if it is too long for any version.
    pub(crate) fn encode(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (y, row) in code.to_colors().chunks(width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| a == b) {
                if run.first() == Some(&Color::Dark) {
                    let (left, top, long) = (x + QUIET, y + QUIET, run.len());
                    path.push_str(&format!("M{left} {top}h{long}v1h-{long}z"));
                }
                x += run.len();
            }
        }
        Some(Self {
            side: width + 2 * QUIET,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Qr;

    #[test]
    fn the_path_draws_the_finder_and_needs_no_escaping() {
        let qr = Qr::encode("otpauth://totp/Postern:nadia?secret=ABC").unwrap();
        assert!(qr.path.starts_with("M4 4h7v1h-7z"));
        assert!(
            qr.path
                .bytes()
                .all(|b| b.is_ascii_digit() || b"Mhvz- ".contains(&b))
        );
        assert!(qr.side >= 29 + 8);
    }

    #[test]
    fn a_text_too_long_for_a_code_gives_none() {
        assert!(Qr::encode(&"x".repeat(5000)).is_none());
    }
}
