//! Tables of paths and hosts.
