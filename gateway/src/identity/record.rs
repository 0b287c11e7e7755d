//! Where a step comes from, and how it is recorded.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::login::Directory;
use crate::audit::{Audit, AuditError, Durability, Record};
use crate::ids::{DeviceId, Door};

/// Takes records; the audit journal, or a list in tests.
#[async_trait]
pub(crate) trait Recorder: Send + Sync {
    /// Writes a record and returns when it is on disk.
    async fn durable(&self, record: Record) -> Result<(), AuditError>;
    /// Writes a record soon.
    fn note(&self, record: Record);
}

#[async_trait]
impl Recorder for Audit {
    async fn durable(&self, record: Record) -> Result<(), AuditError> {
        self.write(record, Durability::Durable).await.map(drop)
    }

    fn note(&self, record: Record) {
        Self::note(self, record);
    }
}

/// One request to the login engine.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// UNIX seconds of the wall clock.
    pub(crate) now: i64,
    pub(crate) source: IpAddr,
    pub(crate) door: Door,
    /// The tunnel device the request came by.
    pub(crate) device: Option<DeviceId>,
    /// The token of a browser that signed somebody in before.
    pub(crate) browser: Option<&'a str>,
    /// The host the form was on; the cookie counts there.
    pub(crate) host: &'a str,
    /// The User-Agent field, for the record.
    pub(crate) agent: &'a str,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) directory: &'a dyn Directory,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("source", &self.source)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// Writes into a record where the request came from.
    pub(crate) fn stamp(&self, mut record: Record) -> Record {
        record.source = Some(self.source);
        record.device = self.device;
        record.host = Some(Arc::from(self.host));
        record.request_id = self.request_id.map(Arc::from);
        record
    }
}
