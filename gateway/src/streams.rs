//! The table of open streams: what is open, by whose permit, and how to close it.
//!
//! Every request, upgraded socket, tunnel flow and signed-in connection stands here while it is
//! open. A change (a session's end, a device's end, a new policy, an instant at which a permit
//! ages out) is turned into kills by [`Streams::sweep`]; nothing else closes a permitted stream.

mod people;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub(crate) use self::people::{People, Place};
use crate::ids::{DeviceId, SessionId, TokenId};

const SHARDS: usize = 16;

/// Cuts one stream; cloned into whatever carries its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KillSwitch(CancellationToken);

impl KillSwitch {
    /// Makes a switch that has not been thrown.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Cuts the stream; idempotent.
    pub(crate) fn kill(&self) {
        self.0.cancel();
    }

    /// Tells whether the stream has been cut.
    pub(crate) fn killed(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the stream is cut; never returns for one that is left alone.
    pub(crate) async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// What kind of stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client connection that has carried a signed-in request.
    Connection,
    /// One HTTP request, its answer and, after an upgrade, its socket.
    Request,
    /// A TCP or UDP flow of a tunnel device.
    Flow,
}

/// The question that was answered when the stream was opened, kept to be asked again.
pub(crate) trait Question: Send + Sync {
    /// Decides again under the snapshot in force.
    fn ask(&self) -> Answer;
}

/// What asking again found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The permit stands; ask again at the instant, if there is one.
    Stands(Option<Instant>),
    /// The permit is gone for this reason.
    Gone(&'static str),
}

/// One open stream.
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) session: Option<SessionId>,
    pub(crate) token: Option<TokenId>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) recheck_at: Option<Instant>,
    pub(crate) question: Option<Arc<dyn Question>>,
    pub(crate) kill: KillSwitch,
}

/// All open streams of the gateway.
pub(crate) struct Streams {
    shards: Vec<Mutex<HashMap<u64, Stream>>>,
    next: AtomicU64,
}

impl Streams {
    /// Makes an empty table.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(1),
        })
    }

    /// Enters a stream; it leaves the table when the guard is dropped.
    pub(crate) fn open(self: &Arc<Self>, stream: Stream) -> StreamGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(shard) = self.shard(id) {
            shard.lock().insert(id, stream);
        }
        StreamGuard {
            table: Arc::clone(self),
            id,
            place: None,
        }
    }

    /// Counts the open streams of a kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        let of_kind = |shard: &Mutex<HashMap<u64, Stream>>| {
            shard.lock().values().filter(|s| s.kind == kind).count()
        };
        self.shards.iter().map(of_kind).sum()
    }

    /// Cuts every stream of the session and returns how many there were.
    pub(crate) fn kill_session(&self, session: SessionId) -> usize {
        self.sweep(|s| s.session == Some(session))
    }

    /// Cuts every stream of the token and returns how many there were.
    pub(crate) fn kill_token(&self, token: TokenId) -> usize {
        self.sweep(|s| s.token == Some(token))
    }

    /// Cuts every stream of the tunnel device and returns how many there were.
    pub(crate) fn kill_device(&self, device: DeviceId) -> usize {
        self.sweep(|s| s.device == Some(device))
    }

    /// Cuts every stream of the person and returns how many there were.
    pub(crate) fn kill_user(&self, user: &str) -> usize {
        self.sweep(|s| s.user.as_deref() == Some(user))
    }

    /// Cuts all streams.
    pub(crate) fn kill_all(&self) -> usize {
        self.sweep(|_| true)
    }

    /// Cuts the streams for which `gone` is true and returns how many there were; whole connections first, which ends
    /// what they carry at once.
    pub(crate) fn sweep(&self, mut gone: impl FnMut(&Stream) -> bool) -> usize {
        let mut cut = 0;
        for whole in [true, false] {
            for shard in &self.shards {
                let open = shard.lock();
                let of_turn = open
                    .values()
                    .filter(|s| (s.kind == Kind::Connection) == whole);
                let lost = of_turn.filter(|s| !s.kill.killed() && gone(s));
                cut += lost.inspect(|s| s.kill.kill()).count();
            }
        }
        cut
    }

    /// Asks the question of every stream again, cuts what no longer stands and returns how many
    /// were cut.
    pub(crate) fn ask_again(&self) -> usize {
        self.ask(|_| true)
    }

    /// Does what [`Streams::ask_again`] does for the streams whose instant has come.
    pub(crate) fn ask_due(&self, now: Instant) -> usize {
        self.ask(|s| s.recheck_at.is_some_and(|at| at <= now))
    }

    /// Does what [`Streams::ask_again`] does for the streams of a tunnel device.
    pub(crate) fn ask_device(&self, device: DeviceId) -> usize {
        self.ask(|s| s.device == Some(device))
    }

    fn ask(&self, concerns: impl Fn(&Stream) -> bool) -> usize {
        let mut cut = 0;
        for shard in &self.shards {
            for (id, question) in waiting(shard, &concerns) {
                match question.ask() {
                    Answer::Stands(next) => {
                        if let Some(stream) = shard.lock().get_mut(&id) {
                            stream.recheck_at = next;
                        }
                    }
                    Answer::Gone(_) => {
                        if let Some(stream) = shard.lock().get(&id) {
                            stream.kill.kill();
                            cut += 1;
                        }
                    }
                }
            }
        }
        cut
    }

    fn shard(&self, id: u64) -> Option<&Mutex<HashMap<u64, Stream>>> {
        let at = usize::try_from(id).unwrap_or(usize::MAX) % SHARDS;
        self.shards.get(at)
    }
}

fn waiting(
    shard: &Mutex<HashMap<u64, Stream>>,
    concerns: impl Fn(&Stream) -> bool,
) -> Vec<(u64, Arc<dyn Question>)> {
    shard
        .lock()
        .iter()
        .filter(|(_, s)| !s.kill.killed() && concerns(s))
        .filter_map(|(id, s)| Some((*id, Arc::clone(s.question.as_ref()?))))
        .collect()
}

/// Keeps a stream in the table; dropping it takes the stream out.
pub(crate) struct StreamGuard {
    table: Arc<Streams>,
    id: u64,
    place: Option<Place>,
}

impl StreamGuard {
    /// Keeps the place of its person with the stream.
    pub(crate) fn with(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let Some(shard) = self.table.shard(self.id) {
            drop(shard.lock().remove(&self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, KillSwitch, Kind, Question, Stream, Streams};
    use crate::clock;
    use crate::ids::{DeviceId, SessionId};
    use std::sync::Arc;
    use std::time::Duration;

    struct Fixed(Answer);
    impl Question for Fixed {
        fn ask(&self) -> Answer {
            self.0
        }
    }

    fn stream(session: u64, answer: Answer, kill: &KillSwitch) -> Stream {
        Stream {
            kind: Kind::Request,
            session: Some(SessionId(session)),
            token: None,
            device: None,
            user: Some("alice".into()),
            recheck_at: None,
            question: Some(Arc::new(Fixed(answer))),
            kill: kill.clone(),
        }
    }

    #[test]
    fn a_sessions_streams_end_with_it_and_others_stay() {
        let table = Streams::new();
        let (mine, other) = (KillSwitch::new(), KillSwitch::new());
        let _a = table.open(stream(1, Answer::Stands(None), &mine));
        let _b = table.open(stream(2, Answer::Stands(None), &other));
        assert_eq!(table.kill_session(SessionId(1)), 1);
        assert!(mine.killed());
        assert!(!other.killed());
    }

    #[test]
    fn whole_connections_are_cut_before_what_they_carry() {
        let table = Streams::new();
        let opened: Vec<_> = (0..100)
            .map(|at| {
                let of = stream(1, Answer::Stands(None), &KillSwitch::new());
                let kind = [Kind::Request, Kind::Connection, Kind::Flow][at % 3];
                table.open(Stream { kind, ..of })
            })
            .collect();
        let mut kinds = Vec::new();
        let cut = table.sweep(|s| {
            kinds.push(s.kind);
            true
        });
        assert_eq!((cut, kinds.len()), (opened.len(), opened.len()));
        let first = kinds.iter().take_while(|kind| **kind == Kind::Connection);
        assert_eq!(first.count(), 33);
    }

    #[test]
    fn only_what_no_longer_stands_is_cut_by_a_new_policy() {
        let table = Streams::new();
        let (gone, stays) = (KillSwitch::new(), KillSwitch::new());
        let _a = table.open(stream(1, Answer::Gone("policy"), &gone));
        let _b = table.open(stream(1, Answer::Stands(None), &stays));
        assert_eq!(table.ask_again(), 1);
        assert!(gone.killed());
        assert!(!stays.killed());
    }

    #[test]
    fn a_stream_is_asked_again_at_its_instant_and_not_before() {
        let table = Streams::new();
        let kill = KillSwitch::new();
        let now = clock::now();
        let mut later = stream(1, Answer::Gone("expired"), &kill);
        later.recheck_at = now.checked_add(Duration::from_secs(60));
        let _guard = table.open(later);
        assert_eq!(table.ask_due(now), 0);
        assert_eq!(table.ask_due(now + Duration::from_secs(61)), 1);
        assert!(kill.killed());
    }

    #[test]
    fn a_closed_stream_leaves_the_table() {
        let table = Streams::new();
        let kill = KillSwitch::new();
        let guard = table.open(stream(1, Answer::Stands(None), &kill));
        assert_eq!(table.count(Kind::Request), 1);
        assert_eq!(table.count(Kind::Flow), 0);
        drop(guard);
        assert_eq!(table.count(Kind::Request), 0);
        assert_eq!(table.kill_device(DeviceId(1)) + table.kill_all(), 0);
    }
}
