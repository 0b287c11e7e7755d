//! The immutable set a request is judged by.
