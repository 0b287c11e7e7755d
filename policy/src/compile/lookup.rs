//! Looking things up in a compiled policy.

use std::net::IpAddr;
use std::time::Duration;

use super::{
    Allow, App, AppIx, AppRules, Area, ObligationIx, Obligations, Policy, RuleInfo, RuleIx,
    SubjectBits, TimeClass, User, ZoneClass,
};
use crate::canon::{CanonHost, CanonPath, PathOpts};
use crate::dns::TunnelDns;
use crate::ir::{Headless, Proto, Reprove, SignInDoor};
use crate::resolve::values::show_duration;

impl Policy {
    /// Hex SHA-256 over the canonical policy; the order of files, tables and keys does not change it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// All people, sorted by name, disabled ones included.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// Finds a person by name, disabled or not.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(*self.user_ix.get(name)? as usize)
    }

    /// What the rules need to know about a person; `None` when unknown or disabled.
    pub fn subject(&self, user: &str) -> Option<SubjectBits> {
        let ix = *self.user_ix.get(user)?;
        let user = self.ir.users.get(ix as usize)?;
        (!user.disabled).then(|| self.atoms.bits(Some(ix), &user.groups))
    }

    /// Like [`Self::subject`], as if the person were in `groups` too.
    pub(crate) fn subject_with(&self, user: Option<u32>, groups: &[u32]) -> SubjectBits {
        self.atoms.bits(user, groups)
    }

    /// The class of a source address. A caller inside the tunnel is in zone `tunnel` only.
    pub fn zone(&self, ip: IpAddr, tunnel: bool) -> ZoneClass {
        if tunnel {
            self.zones.tunnel()
        } else {
            self.zones.class(ip)
        }
    }

    /// The class of an instant, in seconds since 1970. It costs nothing; ask anew for every request.
    pub fn tick(&self, unix: i64) -> TimeClass {
        TimeClass::at(unix)
    }

    /// The zones of a class, without the `internet` each tenant has for itself.
    pub fn zone_names(&self, class: ZoneClass) -> Vec<&str> {
        let zones = self.zones.members(class).unwrap_or_default().iter();
        zones
            .filter_map(|&ix| self.ir.zones.get(ix as usize))
            .filter(|zone| zone.internet_of().is_none())
            .map(|zone| zone.name.as_str())
            .collect()
    }

    /// Names of all zones: `tunnel`, `internet`, then the named ones, sorted.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.ir.zones.iter().map(|zone| zone.name.as_str())
    }

    /// The app that answers to a host.
    pub fn app_for(&self, host: &CanonHost) -> Option<AppIx> {
        self.hosts.find(host.as_str()).map(AppIx)
    }

    /// The app in shadow that would answer to a host if it were in force, where that is another.
    pub fn shadow_app_for(&self, host: &CanonHost) -> Option<AppIx> {
        let would = self.shadow_hosts.as_ref()?.find(host.as_str()).map(AppIx);
        would.filter(|would| Some(*would) != self.app_for(host))
    }

    /// What paths on a host may hold beyond the ordinary: that of its app, in force or in shadow.
    pub fn path_opts(&self, host: &CanonHost) -> PathOpts {
        let app = self.app_for(host).or_else(|| self.shadow_app_for(host));
        app.map_or_else(PathOpts::default, |app| self.app(app).path)
    }

    /// An app by index.
    #[expect(
        clippy::indexing_slicing,
        reason = "indexes are made by this policy only"
    )]
    pub fn app(&self, app: AppIx) -> &App {
        &self.apps[app.0 as usize]
    }

    /// Where the settings of a path's area stand among [`App::fronts`].
    #[inline]
    pub fn front(&self, app: AppIx, path: &CanonPath<'_>) -> usize {
        if self.app(app).fronts.len() < 2 {
            return 0;
        }
        let rules = self.app_rules(app);
        let area = rules.and_then(|rules| {
            let at = self.trees.find(rules.tree, path)?;
            self.areas(rules).get(at as usize)
        });
        area.map_or(0, |area| area.front as usize)
    }

    /// For how long a reason holds in an area that asks people why they come, such as `4h`.
    pub(crate) fn asked(&self, app: AppIx, area: &Area) -> Option<String> {
        let front = self.app(app).fronts.get(area.front as usize)?;
        front
            .justify
            .as_ref()
            .map(|asked| show_duration(asked.hold))
    }

    #[inline]
    pub(crate) fn app_rules(&self, app: AppIx) -> Option<&AppRules> {
        self.app_rules.get(app.0 as usize)
    }

    /// The areas of an app, the root first.
    #[inline]
    pub(crate) fn areas(&self, rules: &AppRules) -> &[Area] {
        let first = rules.first as usize;
        let areas = self.areas.get(first..first + rules.count as usize);
        areas.unwrap_or_default()
    }

    /// The rules of an area.
    #[inline]
    pub(crate) fn allows(&self, area: &Area) -> &[Allow] {
        let first = area.first as usize;
        let allows = self.allows.get(first..first + area.count as usize);
        allows.unwrap_or_default()
    }

    /// All apps, sorted by id.
    pub fn apps(&self) -> impl Iterator<Item = (AppIx, &App)> {
        (0u32..).map(AppIx).zip(&self.apps)
    }

    /// Ids of everything that can be reached, sorted: areas such as `app.paie/` and `app.paie/admin`, nets, and
    /// `admin` when it has rules.
    pub fn resource_ids(&self) -> Vec<String> {
        let areas = self.ir.apps.iter().flat_map(|app| {
            let areas = app.areas.iter();
            areas.map(|area| format!("{}{}", app.id, area.pattern.shown()))
        });
        let nets = self.ir.nets.iter().map(|net| net.id.clone());
        let admin = (!self.ir.admin.is_empty()).then(|| "admin".to_owned());
        let mut ids: Vec<String> = areas.chain(nets).chain(admin).collect();
        ids.sort_unstable();
        ids
    }

    /// A rule by index. An index of another policy gives `builtin.default`.
    #[expect(
        clippy::indexing_slicing,
        reason = "the built-in rules are always there"
    )]
    pub fn rule(&self, rule: RuleIx) -> &RuleInfo {
        self.rules.get(rule.0 as usize).unwrap_or(&self.rules[0])
    }

    /// A rule by its id.
    pub fn rule_named(&self, id: &str) -> Option<&RuleInfo> {
        self.rules.iter().find(|rule| &*rule.id == id)
    }

    /// Obligations by index. An index of another policy gives those of `builtin.default`.
    #[expect(
        clippy::indexing_slicing,
        reason = "the built-in obligations are always there"
    )]
    pub fn obligations(&self, obligations: ObligationIx) -> &Obligations {
        let found = self.obligations.get(obligations.0 as usize);
        found.unwrap_or(&self.obligations[0])
    }

    /// Ids of the guards that are enforced: those in shadow are left out.
    pub fn guard_ids(&self) -> impl Iterator<Item = &str> {
        let enforced = self.ir.guards.iter().filter(|guard| !guard.shadow);
        enforced.map(|guard| guard.id.as_str())
    }

    /// Whether a header belongs to some set of the root or of an app's tenant, used or not: no client may send it to
    /// that app. `lower` is the name in lower case.
    pub fn owns_header(&self, app: AppIx, lower: &str) -> bool {
        let owners = [Some(""), self.app(app).tenant()];
        owners.into_iter().flatten().any(|owner| {
            let names = self.header_names.get(owner);
            names.is_some_and(|names| names.binary_search_by(|own| (**own).cmp(lower)).is_ok())
        })
    }

    /// Whether all that is not allowed looks like nothing (404).
    pub fn hide(&self) -> bool {
        self.ir.defaults.hide
    }

    /// Which sign-ins open a quarantined tunnel device.
    pub fn tunnel_sign_in(&self) -> SignInDoor {
        self.ir.sign_in
    }

    /// What closes a tunnel device again that its person has opened.
    pub fn tunnel_reprove(&self) -> Reprove {
        self.ir.reprove
    }

    /// Which names the tunnel's name server looks up, and for whom.
    pub fn tunnel_dns(&self) -> &TunnelDns {
        &self.ir.dns
    }

    /// Whether the policy lets a managed device reach some net without a sign-in. It does not hold for devices that
    /// no administrator has marked as managed.
    pub fn is_headless(&self, user: &str, device: &str) -> bool {
        self.headless(user, device).next().is_some()
    }

    /// Whether a managed device needs no sign-in for the net of a destination; who may reach that net is asked all
    /// the same. The port of ICMP is not read.
    pub fn headless_reaches(
        &self,
        (user, device): (&str, &str),
        dst: IpAddr,
        port: u16,
        proto: Proto,
    ) -> bool {
        let Some(net) = self.net_table.find(dst, port, proto) else {
            return false;
        };
        let mut own = self.headless(user, device);
        own.any(|entry| entry.nets.binary_search(&net).is_ok())
    }

    fn headless<'a>(&'a self, user: &str, device: &'a str) -> impl Iterator<Item = &'a Headless> {
        let user = self.ir.user(user);
        self.ir.headless.iter().filter(move |entry| {
            let named = entry.device.as_deref().is_none_or(|own| own == device);
            Some(entry.user) == user && named
        })
    }

    /// By how much one code may put off the end of a session, once; `None` where the policy does not say.
    pub fn session_extend(&self) -> Option<Duration> {
        let secs = self.ir.defaults.extend?;
        Some(Duration::from_secs(secs.into()))
    }

    /// How long a session may lie unused; `None` when the policy does not say.
    pub fn default_idle(&self) -> Option<Duration> {
        let secs = self.ir.defaults.idle?;
        Some(Duration::from_secs(secs.into()))
    }

    /// How long a sign-in lasts unless a rule says otherwise.
    pub fn default_login(&self) -> Duration {
        Duration::from_secs(self.ir.defaults.login.into())
    }

    /// How many sessions one person may have; `None` when the policy does not say.
    pub fn default_sessions(&self) -> Option<u32> {
        self.ir.defaults.sessions
    }
}
