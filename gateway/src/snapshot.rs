//! The immutable set a request is judged by: policy and certificates of one generation.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use policy::{Policy, SubjectBits};

use crate::identity::{Directory, Standing};
use crate::proxy::front::Fronts;
use crate::proxy::tls::CertSet;

pub(crate) mod files;
pub(crate) mod folder;

/// One generation of everything that is decided by; a request holds one from start to end.
pub(crate) struct Snapshot {
    /// The compiled policy.
    pub(crate) policy: Arc<Policy>,
    /// Its digest, as records carry it.
    pub(crate) digest: Arc<str>,
    /// Counts the sets this process has put in force, from 1.
    pub(crate) generation: u64,
    /// The certificates by name.
    pub(crate) certs: Arc<CertSet>,
    /// When it was put in force, in milliseconds since the UNIX epoch.
    pub(crate) loaded: u64,
    /// What its areas say of requests, once somebody asked; see [`crate::gateway::Gateway::fronts`].
    pub(crate) fronts: Arc<OnceLock<Fronts>>,
    subjects: RwLock<HashMap<Arc<str>, Arc<SubjectBits>>>,
}

impl Snapshot {
    /// Puts a set together.
    pub(crate) fn new(policy: Policy, certs: Arc<CertSet>, generation: u64, loaded: u64) -> Self {
        Self {
            digest: policy.digest().into(),
            policy: Arc::new(policy),
            generation,
            certs,
            loaded,
            fronts: Arc::default(),
            subjects: RwLock::default(),
        }
    }

    /// Puts the same policy together with other certificates; the generation stays.
    pub(crate) fn with_certs(&self, certs: Arc<CertSet>) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            digest: Arc::clone(&self.digest),
            generation: self.generation,
            certs,
            loaded: self.loaded,
            fronts: Arc::clone(&self.fronts),
            subjects: RwLock::default(),
        }
    }

    /// Returns what the policy knows of a person, worked out once a generation; `None` for one
    /// that is unknown or disabled. Only users of the policy are kept, which bounds the map.
    pub(crate) fn subject(&self, user: &Arc<str>) -> Option<Arc<SubjectBits>> {
        if let Some(bits) = self.subjects.read().get(user) {
            return Some(Arc::clone(bits));
        }
        let bits = Arc::new(self.policy.subject(user)?);
        self.subjects
            .write()
            .insert(Arc::clone(user), Arc::clone(&bits));
        Some(bits)
    }
}

impl Directory for Snapshot {
    fn standing(&self, user: &str) -> Standing {
        match self.policy.user(user) {
            None => Standing::Unknown,
            Some(found) if found.disabled => Standing::Disabled,
            Some(_) => Standing::Active,
        }
    }
}
