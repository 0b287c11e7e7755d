//! Rate limits: one budget a source before sign-in, one a person and tier after it.

mod source;
mod table;
mod tier;

pub(crate) use self::source::Source;
