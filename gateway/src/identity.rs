//! People, factors, sessions, devices.
