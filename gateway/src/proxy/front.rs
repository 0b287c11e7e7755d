//! What the policy says of an area besides who may come in, made ready for requests: where answers come from, what a
//! request may hold, what an answer gets.

pub(crate) mod cache;
pub(crate) mod compress;
pub(crate) mod cors;
pub(crate) mod fields;
pub(crate) mod files;
pub(crate) mod range;
pub(crate) mod redirect;
pub(crate) mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::front::{Front as Written, Maintenance, Source};
use policy::{AppIx, Policy};

use self::compress::Compress;
use self::cors::Cors;
use self::fields::Fields;
use super::head::Refused;
use crate::justify::Asked;
use crate::upstreams::{Pool, Upstreams};

const CONNECT: u32 = 5;
const HEAD: u32 = 60;
const IDLE: u32 = 60;
/// How long a WebSocket may be silent.
const STREAM: u32 = 3600;
/// How long the body of a request may take, however fast it comes.
const BODY: u32 = 3600;
/// When it is worth to come again to what is closed until the policy says otherwise.
const CLOSED: Duration = Duration::from_secs(300);

/// The settings of one area.
pub(crate) struct Front {
    /// Where answers come from.
    pub(crate) source: Answers,
    /// How many segments of a path lead to the area that says so.
    pub(crate) depth: usize,
    /// To connect to an upstream.
    pub(crate) connect: Duration,
    /// Until the head of an answer.
    pub(crate) head: Duration,
    /// Of silence within an answer.
    pub(crate) idle: Duration,
    /// Of silence on a WebSocket.
    pub(crate) stream: Duration,
    /// Until the body of a request must be whole.
    pub(crate) body: Duration,
    /// Most bytes of a request body; `None` is the configuration's.
    pub(crate) body_max: Option<u64>,
    /// The methods that are taken.
    methods: Option<Vec<String>>,
    /// Whether a WebSocket may be opened.
    websocket: bool,
    /// What is taken off and put in front of the path on the way to the app.
    pub(crate) path: target::Rewrite,
    /// What answers get.
    pub(crate) fields: Fields,
    /// Which other origins' pages may read answers.
    pub(crate) cors: Option<Cors>,
    /// What is compressed.
    pub(crate) compress: Option<Compress>,
    /// What is kept.
    pub(crate) cache: Option<policy::front::Cache>,
    maintenance: Maintenance,
    /// Whether people must say why they come.
    pub(crate) asked: Option<Asked>,
}

/// Where answers come from.
pub(crate) enum Answers {
    /// Upstreams.
    Pool(Arc<Pool>),
    /// Files of a folder.
    Files(files::Folder),
    /// Another address.
    Redirect(policy::front::Redirect),
}

impl Front {
    fn new(app: &Arc<str>, written: &Written, source: Answers) -> Self {
        let limit = |written: Option<u32>, or| Duration::from_secs(written.unwrap_or(or).into());
        let timeout = &written.timeout;
        Self {
            source,
            depth: written.source_depth,
            connect: limit(timeout.connect, CONNECT),
            head: limit(timeout.head, HEAD),
            idle: limit(timeout.idle, IDLE),
            stream: limit(timeout.stream, STREAM),
            body: limit(timeout.body, BODY),
            body_max: written.body_max,
            methods: written.methods.clone(),
            websocket: written.websocket,
            path: target::Rewrite::new(written.strip.as_deref(), written.lead.as_deref()),
            fields: Fields::new(written),
            cors: written.cors.as_deref().cloned().map(Cors::new),
            compress: written.compress.as_deref().cloned().map(Compress::new),
            cache: written.cache.as_deref().cloned(),
            maintenance: written.maintenance,
            asked: written.justify.as_ref().map(|justify| Asked {
                app: Arc::clone(app),
                justify: Arc::clone(justify),
            }),
        }
    }

    /// Says why it takes no such request, whoever sends it; `hide` where what is not there looks like nothing.
    pub(crate) fn refuses(&self, method: &str, upgrade: bool, hide: bool) -> Option<Refused> {
        let hidden = |status| if hide { 404 } else { status };
        let methods = self.methods.as_ref();
        if methods.is_some_and(|list| !list.iter().any(|known| known == method)) {
            return Some(Refused {
                status: hidden(405),
                reason: "method-not-allowed",
            });
        }
        let websocket = self.websocket && !self.pool().is_some_and(|pool| pool.http2());
        (upgrade && !websocket).then(|| Refused {
            status: hidden(403),
            reason: "no-websockets",
        })
    }

    /// Tells whether people get the page of maintenance now, and when it is worth to come again.
    pub(crate) fn is_closed(&self, now: Instant) -> Option<Duration> {
        match self.maintenance {
            Maintenance::Off => None,
            Maintenance::On => Some(CLOSED),
            Maintenance::Auto => {
                let pool = self.pool().filter(|pool| pool.is_down(now))?;
                let every = pool.check.as_ref().map_or(0, |check| check.every);
                Some(Duration::from_secs(every.into()))
            }
        }
    }

    /// Its upstreams, if answers come from some.
    pub(crate) fn pool(&self) -> Option<&Arc<Pool>> {
        match &self.source {
            Answers::Pool(pool) => Some(pool),
            Answers::Files(_) | Answers::Redirect(_) => None,
        }
    }
}

/// The settings of every area of one policy.
pub(crate) struct Fronts {
    apps: Vec<Vec<Arc<Front>>>,
    pools: Vec<(Arc<str>, Arc<Pool>)>,
}

impl Fronts {
    /// Makes the settings of a policy ready; upstreams keep what is known of them.
    pub(crate) fn new(policy: &Policy, upstreams: &Upstreams) -> Self {
        let mut pools: Vec<(Arc<str>, Arc<Pool>)> = Vec::new();
        let mut apps = Vec::new();
        for (_, app) in policy.apps() {
            let mut own: Vec<(&str, Arc<Pool>)> = Vec::new();
            let mut fronts = Vec::new();
            for written in &app.fronts {
                let source = match &written.source {
                    Source::Pool(pool) => {
                        let at = written.source_at.as_str();
                        let same = own.iter().find(|(area, _)| *area == at);
                        let pool = match same {
                            Some((_, pool)) => Arc::clone(pool),
                            None => {
                                let digest = policy.digest();
                                let pool = Arc::new(upstreams.pool(app, at, pool, digest));
                                own.push((at, Arc::clone(&pool)));
                                pool
                            }
                        };
                        Answers::Pool(pool)
                    }
                    Source::Static(files) => Answers::Files(files::Folder::new(files)),
                    Source::Redirect(to) => Answers::Redirect(to.clone()),
                };
                fronts.push(Arc::new(Front::new(&app.id, written, source)));
            }
            pools.extend(own.into_iter().map(|(_, p)| (Arc::clone(&app.id), p)));
            apps.push(fronts);
        }
        upstreams.keep_only(policy);
        Self { apps, pools }
    }

    /// The settings of an app's areas, as the policy orders them.
    pub(crate) fn of_app(&self, app: AppIx) -> &[Arc<Front>] {
        self.apps.get(app.place()).map_or(&[], Vec::as_slice)
    }

    /// Every pool with the id of its app.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (Arc<str>, &Arc<Pool>)> {
        self.pools.iter().map(|(app, pool)| (Arc::clone(app), pool))
    }
}
