//! What an administrator looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::User;

use super::super::{Desk, doctor, internal};
use super::Inner;
use crate::clock;
use crate::console::{
    AppClock, At, Device, Factors, GroupLine, GroupOf, GroupView, Locked, Member, Page, PersonLine,
    PersonView, Reach, SessionLine, Slice, TokenLine,
};
use crate::control::{Code, Refusal};
use crate::edits::Drafts;
use crate::identity::{self, Class, Kept, Session, Token};
use crate::ids::Door;
use crate::reload::folder::Folder;

/// What the files say about groups.
struct Groups {
    /// Every group that lists its people.
    all: BTreeSet<String>,
    drafts: Drafts,
}

impl Inner {
    pub(super) async fn people(
        &self,
        search: &str,
        slice: Slice,
    ) -> Result<Page<PersonLine>, Refusal> {
        let wanted = search.trim().to_lowercase();
        let mut found: Vec<&User> = self
            .snap
            .policy
            .users()
            .filter(|u| matches(u, &wanted))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let page = slice.of(found.into_iter());
        let mut lines = Vec::with_capacity(page.lines.len());
        for user in page.lines {
            lines.push(self.line(user).await?);
        }
        Ok(Page {
            total: page.total,
            skipped: page.skipped,
            lines,
        })
    }

    async fn line(&self, user: &User) -> Result<PersonLine, Refusal> {
        let gw = &self.gw;
        Ok(PersonLine {
            user: user.name.to_string(),
            name: user.display.clone().unwrap_or_default(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
            disabled: user.disabled,
            enrolled: gw.identity.is_enrolled(&user.name).await?,
            sessions: gw.sessions.of_user(&user.name).len(),
            locked: gw.identity.locked(&user.name, clock::unix()).is_some(),
            app_clock: self.app_clock(&user.name),
        })
    }

    fn app_clock(&self, user: &str) -> Option<AppClock> {
        let row = self.gw.identity.app_clock(user)?;
        Some(AppClock {
            off_s: row.off,
            at: At(row.at),
        })
    }

    pub(super) async fn person(&self, name: &str) -> Result<Option<PersonView>, Refusal> {
        let Some(user) = self.snap.policy.user(name) else {
            return Ok(None);
        };
        let kept = self.gw.identity.kept(&user.name, clock::unix()).await?;
        let groups = self.files().await?;
        let reach = self.reach(name).await?;
        let mut devices = self.registered(|d| *d.user == *user.name);
        devices.sort_by_key(|d| (d.revoked.is_some(), d.id));
        let mut shown = Vec::new();
        for device in &devices {
            shown.push(self.device(device).await);
        }
        Ok(Some(PersonView {
            devices: shown,
            reach,
            ..self.view(user, kept, &groups)
        }))
    }

    fn view(&self, user: &User, kept: Kept, groups: &Groups) -> PersonView {
        let naming = groups.drafts.naming(&user.name);
        let of = |group: &Arc<str>| GroupOf {
            group: group.to_string(),
            named: naming.iter().any(|named| **named == **group),
        };
        let joinable = groups.all.iter().filter(|group| !naming.contains(group));
        PersonView {
            user: user.name.to_string(),
            name: user.display.clone().unwrap_or_default(),
            mail: user.mail.clone().unwrap_or_default(),
            attributes: user.attributes.clone(),
            disabled: user.disabled,
            groups: user.groups.iter().map(of).collect(),
            joinable: joinable.cloned().collect(),
            factors: Factors {
                password: kept.password,
                totp: kept.totp,
                recovery_codes: kept.codes,
                invited: kept.invited,
            },
            app_clock: self.app_clock(&user.name),
            last_sign_in: kept.last_sign_in.map(At),
            locked_s: kept.locked.map(|left| left.as_secs()),
            sessions: self.sessions(Some(&user.name)),
            devices: Vec::new(),
            reach: Vec::new(),
        }
    }

    async fn reach(&self, user: &str) -> Result<Vec<Reach>, Refusal> {
        let (snap, user) = (Arc::clone(&self.snap), user.to_owned());
        let asked = tokio::task::spawn_blocking(move || snap.policy.what_can(&user));
        let found = asked.await.map_err(internal)?.map_err(internal)?;
        let reach = found.resources.into_iter().map(|r| Reach {
            resource: r.resource,
            rule: r.rule,
            contexts: r.contexts,
        });
        Ok(reach.collect())
    }

    pub(super) async fn groups(&self) -> Result<Vec<GroupLine>, Refusal> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for group in self.snap.policy.users().flat_map(|user| &user.groups) {
            *sizes.entry(group).or_default() += 1;
        }
        let files = self.files().await?;
        let line = |group: String| GroupLine {
            people: sizes.get(group.as_str()).copied().unwrap_or(0),
            group,
        };
        Ok(files.all.into_iter().map(line).collect())
    }

    pub(super) async fn group(
        &self,
        name: &str,
        slice: Slice,
    ) -> Result<Option<GroupView>, Refusal> {
        let files = self.files().await?;
        let is_in = |user: &&User| user.groups.iter().any(|group| **group == *name);
        let mut people: Vec<&User> = self.snap.policy.users().filter(is_in).collect();
        if people.is_empty() && !files.all.contains(name) {
            return Ok(None);
        }
        people.sort_by(|a, b| a.name.cmp(&b.name));
        let named = files.drafts.named_in(name);
        let member = |user: &User| Member {
            user: user.name.to_string(),
            name: user.display.clone().unwrap_or_default(),
            named: named.contains(&*user.name),
        };
        Ok(Some(GroupView {
            group: name.to_owned(),
            people: slice.of(people.into_iter().map(member)),
        }))
    }

    /// Reads what the policy folder says about groups.
    async fn files(&self) -> Result<Groups, Refusal> {
        let dir = self.gw.config.policy_dir.clone();
        let read = tokio::task::spawn_blocking(move || {
            let folder = Folder::read(&dir);
            let folder =
                folder.map_err(|e| Refusal::new(Code::Config, crate::cli::exit::chain(&e)))?;
            let drafts = Drafts::open(&folder.policy_files())?;
            let all = drafts.groups().into_iter().collect();
            Ok(Groups { all, drafts })
        });
        read.await.map_err(internal)?
    }

    pub(super) async fn devices(&self, search: &str, slice: Slice) -> Page<Device> {
        let wanted = search.trim().to_lowercase();
        let mut found = self.registered(|d| {
            let texts = [d.id.to_string(), d.address4.to_string()];
            let names = [d.user.to_lowercase(), d.name.to_lowercase()];
            texts
                .iter()
                .chain(&names)
                .any(|text| text.contains(&wanted))
        });
        found.sort_by_key(|d| (d.revoked.is_some(), Arc::clone(&d.user), d.id));
        let page = slice.of(found.iter());
        let mut lines = Vec::with_capacity(page.lines.len());
        for device in page.lines {
            lines.push(self.device(device).await);
        }
        Page {
            total: page.total,
            skipped: page.skipped,
            lines,
        }
    }

    fn registered(&self, is: impl Fn(&identity::Device) -> bool) -> Vec<Arc<identity::Device>> {
        let mut all = self.gw.devices.list();
        all.retain(|device| is(device));
        all
    }

    async fn device(&self, device: &Arc<identity::Device>) -> Device {
        let status = Desk::new(Arc::clone(&self.gw)).device_status(device).await;
        Device {
            id: status.id,
            user: status.user,
            name: status.name,
            address: status.address,
            managed: device.class == Class::Managed,
            state: status.state,
            disputed: self.gw.sessions.is_disputed(device.id),
            clock_ahead: doctor::is_ahead(device, clock::unix()),
            endpoint: status.endpoint,
            handshake_age_s: status.handshake_age_s,
        }
    }

    /// Lists live sessions, the last used first.
    pub(super) fn sessions(&self, user: Option<&str>) -> Vec<SessionLine> {
        let (gw, now) = (&self.gw, clock::unix());
        let mut live = match user {
            Some(user) => gw.sessions.of_user(user),
            None => gw.sessions.list(),
        };
        live.retain(|session| session.is_live(now));
        live.sort_by_key(|session| std::cmp::Reverse((session.last_used(), session.id)));
        live.iter().map(|session| self.session(session)).collect()
    }

    fn session(&self, session: &Session) -> SessionLine {
        let policy = &self.snap.policy;
        let class = policy.zone(session.source, session.door == Door::Tunnel);
        let device = |id| self.gw.devices.get(id).map(|d| d.name.to_string());
        let zones = policy.zone_names(class).into_iter();
        SessionLine {
            id: session.id.to_string(),
            user: session.user.to_string(),
            door: session.door.name(),
            source: session.source.to_canonical().to_string(),
            zones: zones.map(str::to_owned).collect(),
            browser: identity::browser(&session.agent),
            devices: session.devices().into_iter().filter_map(device).collect(),
            created: At(session.created),
            last_used: At(session.last_used()),
            expires: At(session.expires()),
            own: session.id == self.actor.session.id,
        }
    }

    /// Lists tokens that match, in the order of people.
    pub(super) fn tokens(&self, search: &str) -> Vec<TokenLine> {
        let wanted = search.trim().to_lowercase();
        let mut found = self.gw.sessions.tokens();
        found.retain(|token| {
            let names = [&token.user, &token.name, &token.app];
            let mut texts = names.into_iter().map(|text| text.to_lowercase());
            token.id.to_string().contains(&wanted) || texts.any(|text| text.contains(&wanted))
        });
        found.iter().map(|token| self.token(token)).collect()
    }

    fn token(&self, token: &Token) -> TokenLine {
        let used = token.used();
        let place = used.map(|used| {
            let policy = &self.snap.policy;
            let zones = policy.zone_names(policy.zone(used.place, false)).join(", ");
            let source = used.place.to_canonical();
            match zones.is_empty() {
                true => source.to_string(),
                false => format!("{zones} ({source})"),
            }
        });
        TokenLine {
            id: token.id.to_string(),
            user: token.user.to_string(),
            app: token.app.to_string(),
            name: token.name.to_string(),
            created: At(token.created),
            expires: At(token.expires),
            last_used: used.map(|used| At(used.at)),
            place: place.unwrap_or_default(),
        }
    }

    pub(super) fn locked(&self) -> Vec<Locked> {
        let now = clock::unix();
        let waits = |user: &User| {
            let left = self.gw.identity.locked(&user.name, now)?;
            Some(Locked {
                user: user.name.to_string(),
                left_s: left.as_secs(),
            })
        };
        let mut locked: Vec<Locked> = self.snap.policy.users().filter_map(waits).collect();
        locked.sort_by(|a, b| a.user.cmp(&b.user));
        locked
    }
}

/// Whether a person has the wanted text in a name, the mail address or a group.
fn matches(user: &User, wanted: &str) -> bool {
    let texts = [user.display.as_deref(), user.mail.as_deref()];
    let texts = texts.into_iter().flatten().chain([&*user.name]);
    let mut all = texts.chain(user.groups.iter().map(|group| &**group));
    wanted.is_empty() || all.any(|text| text.to_lowercase().contains(wanted))
}
