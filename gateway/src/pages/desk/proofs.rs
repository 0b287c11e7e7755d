//! What the pages ask about proofs that are due, and about the end of a session.

use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::SecondStep;
use crate::identity::Due;

/// Another proof for a device or a session, as one request to the pages sees it.
#[async_trait]
pub(crate) trait ProofDesk {
    /// Tells who must give a code before the device the request came by is open again.
    fn held(&self) -> Option<Held>;
    /// Tries that code; on success the device is open.
    async fn prove_again(&self, code: &str, rt: Option<&str>) -> SecondStep;
    /// Tells whether an open page can say by a key of its browser that the device, which is the
    /// person's own, is still in their hands elsewhere.
    fn watch(&self) -> Option<Watch>;
    /// Takes that key for the session, right after a code; false otherwise.
    async fn keep_key(&self, raw: &[u8]) -> bool;
    /// Takes the answer to what `/.postern/here` asked to sign; true opens the device.
    async fn signed(&self, signature: &[u8]) -> bool;
    /// Tells when the session ends however much it is used.
    fn ending(&self) -> Option<Ending>;
    /// Takes the form out that was kept for this person and browser, once.
    fn kept_form(&self, id: &str) -> Option<KeptForm>;
    /// Tells what a return target wants to know before its person may go there.
    fn wondering(&self, rt: &str) -> Option<Wondering>;
    /// Takes what the person wrote.
    fn justify(&self, rt: &str, reason: &str) -> Said;
    /// Tries a code that puts the end off; what is open stays open.
    async fn extend(&self, code: &str) -> SecondStep;
}

/// Somebody whose device waits for a code.
#[derive(Clone)]
pub(crate) struct Held {
    /// The secret the forms of the session are proved with.
    pub(crate) csrf: String,
    /// The device.
    pub(crate) device: String,
    /// Why.
    pub(crate) due: Due,
}

/// An area that asks people why they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wondering {
    /// The name of its app.
    pub(crate) app: String,
    /// For how long a reason holds.
    pub(crate) hold: Duration,
}

/// What became of a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It holds; the URL that leads on.
    Kept(Option<String>),
    /// Too short or too long.
    Unclear,
}

/// What an open page does about a device that may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It gives a key first.
    WithNewKey,
    /// It gave one.
    WithKey,
}

/// A form that was sent when the session had ended.
pub(crate) struct KeptForm {
    /// Path and query on the host of this request.
    pub(crate) to: String,
    /// Names and values, in their order.
    pub(crate) fields: Vec<(Zeroizing<String>, Zeroizing<String>)>,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// How long it goes on.
    pub(crate) within: Duration,
    /// By how much one code puts it off.
    pub(crate) more: Option<Duration>,
}
