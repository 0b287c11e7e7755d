//! Canonical host, path and method: the one form that is matched, logged and forwarded.

mod host;
mod kept;
#[cfg(test)]
mod laws;
mod params;
mod path;
#[cfg(test)]
mod tests;

pub use host::{CanonHost, host};
pub(crate) use params::without_params;
pub use path::{CanonPath, PathOpts, path, path_with};
pub(crate) use path::{decode, decoded_cmp, decoded_eq, folded_cmp, plain_for_windows, segments};

/// Why a host, path or method has no canonical form. The caller answers 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Reject {
    reason: &'static str,
}

impl Reject {
    pub(crate) const fn new(reason: &'static str) -> Self {
        Self { reason }
    }

    /// A closed kebab-case reason code.
    pub fn reason(self) -> &'static str {
        self.reason
    }
}

/// Checks a request method: an RFC 9110 token, case-sensitive, never `CONNECT` or `TRACE`.
///
/// # Errors
/// `method-not-a-token` or `method-refused`.
pub fn method(name: &str) -> Result<&str, Reject> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 32 || !name.bytes().all(token) {
        return Err(Reject::new("method-not-a-token"));
    }
    if name.eq_ignore_ascii_case("CONNECT") || name.eq_ignore_ascii_case("TRACE") {
        return Err(Reject::new("method-refused"));
    }
    Ok(name)
}
