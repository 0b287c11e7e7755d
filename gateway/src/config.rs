//! The configuration file postern.toml.
