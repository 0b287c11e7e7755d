//! The self-contained trial.
