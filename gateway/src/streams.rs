//! The table of open streams: what is open, by whose permit, and how to close it.
//!
//! Every request, upgraded socket, tunnel flow and signed-in connection stands here while it is
//! open. A change (a session's end, a device's end, a new policy, an instant at which a permit
//! ages out) is turned into kills by [`Streams::sweep`]; nothing else closes a permitted stream.

mod people;
mod switch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

pub(crate) use self::people::{People, Place};
pub(crate) use self::switch::KillSwitch;
use crate::ids::{DeviceId, SessionId, TokenId};

const SHARDS: usize = 16;

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

    /// Cuts the streams for which `gone` is true and returns how many there were. All sockets end before any of their
    /// tasks is told: of very many, none waits until what the ones before it held is taken apart.
    pub(crate) fn sweep(&self, mut gone: impl FnMut(&Stream) -> bool) -> usize {
        let mut lost = Vec::new();
        for shard in &self.shards {
            let open = shard.lock();
            let of_shard = open.values().filter(|s| !s.kill.killed() && gone(s));
            lost.extend(of_shard.map(|s| s.kill.clone()));
        }
        for step in [KillSwitch::mark, KillSwitch::end_socket, KillSwitch::wake] {
            lost.iter().for_each(step);
        }
        lost.len()
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
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::task::{Context, Wake};
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::{Answer, KillSwitch, Kind, Question, Stream, Streams};
    use crate::clock;
    use crate::ids::{DeviceId, SessionId};

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

    /// Notes, when it is woken, whether the other ends of sockets have seen their end.
    struct Watcher {
        far: Vec<UnixStream>,
        seen: Mutex<Vec<bool>>,
    }

    impl Wake for Watcher {
        fn wake(self: Arc<Self>) {
            let ended = |mut far: &UnixStream| matches!(far.read(&mut [0]), Ok(0));
            self.seen.lock().push(self.far.iter().all(ended));
        }
    }

    #[test]
    fn all_sockets_end_before_any_task_is_told() {
        let table = Streams::new();
        let (mut far, mut kept) = (Vec::new(), Vec::new());
        let switches: Vec<_> = (0..64).map(|_| KillSwitch::new()).collect();
        for kill in &switches {
            let (near, other) = UnixStream::pair().unwrap();
            other.set_nonblocking(true).unwrap();
            let of = stream(1, Answer::Stands(None), kill);
            let kind = Kind::Connection;
            kept.push((kill.takes(near), table.open(Stream { kind, ..of })));
            far.push(other);
        }
        let seen = Mutex::default();
        let watcher = Arc::new(Watcher { far, seen });
        let waker = Arc::clone(&watcher).into();
        let mut waits: Vec<_> = switches.iter().map(|kill| Box::pin(kill.wait())).collect();
        for wait in &mut waits {
            let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        assert_eq!(table.kill_session(SessionId(2)), 0);
        assert!(watcher.seen.lock().is_empty(), "of another session");
        assert_eq!(table.kill_session(SessionId(1)), switches.len());
        assert_eq!(*watcher.seen.lock(), vec![true; switches.len()]);
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
