//! The running gateway's shared state.
