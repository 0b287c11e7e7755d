//! All-or-nothing reload.
