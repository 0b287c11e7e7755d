//! Forms, read strictly: urlencoded only, bounded, each field known and exactly once.

use axum::body::Body;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use zeroize::Zeroizing;

/// The most a form of ours may weigh in bytes.
pub(crate) const FORM_MAX: usize = 64 * 1024;
/// The most a sign-in form may weigh in bytes.
pub(crate) const SIGN_IN_MAX: usize = 4 * 1024;

/// What a form must and may hold besides `csrf`.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Fields that must be there.
    pub(crate) required: &'static [&'static str],
    /// Fields that may be there.
    pub(crate) optional: &'static [&'static str],
    /// The most bytes of the body.
    pub(crate) limit: usize,
}

/// The fields of one form; wiped from memory when dropped.
pub(crate) struct Fields(Vec<(&'static str, Zeroizing<String>)>);

impl Fields {
    /// Returns the value of a field, empty if the form did not have it.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// Returns the value of a field the form may leave out.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(held, _)| *held == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Says why a form was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    /// Not `application/x-www-form-urlencoded`, or encoded besides.
    #[error("content type of the form is not accepted")]
    ContentType,
    /// More bytes than the form may have.
    #[error("form is too large")]
    TooLarge,
    /// Not readable as UTF-8 in percent encoding, or cut short.
    #[error("form is not well encoded")]
    Encoding,
    /// A required field is absent.
    #[error("form lacks {0}")]
    Missing(&'static str),
    /// A field stands twice.
    #[error("form has {0} twice")]
    Doubled(&'static str),
    /// A field this form does not have.
    #[error("form has a field it should not have")]
    Unknown,
}

/// Reads the body of a request as the form `spec` describes.
///
/// # Errors
/// Each variant of [`FormError`]; nothing of the form may be used then.
pub(crate) async fn read(
    spec: &Spec,
    headers: &HeaderMap,
    body: Body,
) -> Result<Fields, FormError> {
    if !is_urlencoded(headers) {
        return Err(FormError::ContentType);
    }
    if announced(headers).is_some_and(|n| n > spec.limit) {
        return Err(FormError::TooLarge);
    }
    let limited = http_body_util::Limited::new(body, spec.limit);
    match http_body_util::BodyExt::collect(limited).await {
        Ok(all) => parse(spec, &all.to_bytes()),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(FormError::TooLarge),
        Err(_) => Err(FormError::Encoding),
    }
}

pub(super) fn is_urlencoded(headers: &HeaderMap) -> bool {
    if headers.contains_key(CONTENT_ENCODING) {
        return false;
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    let (kind, parameter) = value.split_once(';').unwrap_or((value, ""));
    let parameter = parameter.trim().to_ascii_lowercase();
    kind.trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && matches!(
            parameter.as_str(),
            "" | "charset=utf-8" | "charset=\"utf-8\""
        )
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a form; `csrf` is always known and checked by the caller.
///
/// # Errors
/// Each variant of [`FormError`] but `ContentType` and `TooLarge`.
pub(crate) fn parse(spec: &Spec, body: &[u8]) -> Result<Fields, FormError> {
    let mut fields = Fields(Vec::new());
    for pair in body.split(|b| *b == b'&').filter(|_| !body.is_empty()) {
        let cut = pair
            .iter()
            .position(|b| *b == b'=')
            .ok_or(FormError::Encoding)?;
        let (name, value) = pair.split_at(cut);
        let name = decode(name).ok_or(FormError::Encoding)?;
        let name = known(spec, &name).ok_or(FormError::Unknown)?;
        if fields.find(name).is_some() {
            return Err(FormError::Doubled(name));
        }
        let value = decode(value.get(1..).unwrap_or_default()).ok_or(FormError::Encoding)?;
        fields.0.push((name, value));
    }
    match spec.required.iter().find(|n| fields.find(n).is_none()) {
        Some(name) => Err(FormError::Missing(name)),
        None => Ok(fields),
    }
}

fn known(spec: &Spec, name: &str) -> Option<&'static str> {
    let all = ["csrf"].iter().chain(spec.required).chain(spec.optional);
    all.copied().find(|held| *held == name)
}

/// Undoes `application/x-www-form-urlencoded`; `None` for a broken escape, bad UTF-8 or NUL.
///
/// Source: [URL Standard section 5.1](https://url.spec.whatwg.org/#urlencoded-parsing), made strict.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => (hex(*bytes.next()?)? << 4) | hex(*bytes.next()?)?,
            other => *other,
        });
    }
    let text = std::str::from_utf8(&out).ok()?;
    if text.contains('\0') {
        return None;
    }
    Some(Zeroizing::new(text.to_owned()))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
