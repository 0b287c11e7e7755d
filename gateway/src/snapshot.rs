//! The immutable set a request is judged by.

pub(crate) mod files;
