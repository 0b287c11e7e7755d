//! Checked views of inner packets; nothing is read or written past a checked length.

pub(crate) mod build;
pub(crate) mod checksum;
pub(crate) mod fragment;
pub(crate) mod icmp;
pub(crate) mod ip;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod vnet;

#[cfg(test)]
mod tests;
