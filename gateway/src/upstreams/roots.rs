//! The system's roots, read once for all connectors: each reads hundreds of files itself else, and panics at one that
//! is no anchor.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;

use data_encoding::BASE64;
use nix::sys::memfd::{MFdFlags, memfd_create};
use pingora_core::connectors::ConnectorOptions;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

static FILE: LazyLock<Option<InMemory>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "roots of the system");
    }
    let file = InMemory::new(&pem(&found.certs));
    file.inspect_err(|error| tracing::warn!(%error, "each connector reads the roots of the system"))
        .ok()
});

/// Returns the file of the system's roots for connectors: PEM, in memory, only what can be an anchor. The first call
/// reads them (some 10 ms); `None` where the system has no such files, and connectors read the roots themselves.
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded.
pub(crate) fn file() -> Option<&'static str> {
    FILE.as_ref().map(|file| &*file.path)
}

/// Returns what a connector is made with: the system's roots, and `idle` connections kept at most.
pub(crate) fn options(idle: usize) -> ConnectorOptions {
    let mut options = ConnectorOptions::new(idle);
    options.ca_file = file().map(str::to_owned);
    options
}

/// Writes each anchor of `certs` as PEM (RFC 7468).
fn pem(certs: &[CertificateDer<'static>]) -> String {
    let mut probe = RootCertStore::empty();
    let mut text = String::new();
    for der in certs {
        if probe.add(der.clone()).is_ok() {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            for line in BASE64.encode(der).as_bytes().chunks(64) {
                text.extend(line.iter().map(|byte| char::from(*byte)));
                text.push('\n');
            }
            text.push_str("-----END CERTIFICATE-----\n");
        }
    }
    text
}

/// A file without a name.
struct InMemory {
    /// What opens it.
    path: String,
    /// It lasts as long as this.
    _file: File,
}

impl InMemory {
    fn new(text: &str) -> std::io::Result<Self> {
        let mut file = File::from(memfd_create("roots", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(text.as_bytes())?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // where /proc is missing nobody can open it
        File::open(&path)?;
        Ok(Self { path, _file: file })
    }
}

#[cfg(test)]
mod tests {
    use certs::Root;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::{InMemory, pem};

    #[test]
    fn what_can_be_an_anchor_is_read_back_and_the_rest_is_left_out() {
        let root = Root::create("a root", 1_800_000_000).unwrap();
        let root = CertificateDer::from_pem_slice(root.pem().as_bytes()).unwrap();
        let certs = [CertificateDer::from(vec![0x30, 0]), root.clone()];
        let file = InMemory::new(&pem(&certs)).unwrap();
        for _connector in 0..2 {
            let read = CertificateDer::pem_file_iter(&file.path).unwrap();
            let read: Result<Vec<_>, _> = read.collect();
            assert_eq!(read.unwrap(), std::slice::from_ref(&root));
        }
    }

    #[test]
    fn without_roots_the_file_is_empty_and_a_connector_is_made_of_it() {
        let file = InMemory::new(&pem(&[])).unwrap();
        let mut options = super::options(1);
        options.ca_file = Some(file.path);
        drop(pingora_core::connectors::TransportConnector::new(Some(
            options,
        )));
    }
}
