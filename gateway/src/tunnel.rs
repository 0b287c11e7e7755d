//! The tunnel door.
