//! Security fields that permit more than they should.

use crate::compile::Policy;
use crate::diag::Diagnostic;
use crate::front::{Alike, Fronts, Preset};
use crate::ir;

/// The field that says which scripts may run.
const SCRIPTS: &str = "content-security-policy";

impl Policy {
    /// Areas whose preset lets any script run that gets into a page, and that do not say otherwise themselves.
    pub(super) fn weak_presets(&self, out: &mut Vec<Diagnostic>) {
        for app in self.ir.apps.iter().filter(|app| !app.shadow) {
            let fronts = Fronts::of(&app.areas, &mut Alike::default());
            for (area, &front) in app.areas.iter().zip(&fronts.of_area) {
                let own = area.front.as_deref();
                let writes = own.is_some_and(|own| own.preset.is_some() || own.set.is_some());
                let Some(front) = fronts.all.get(front as usize).filter(|_| writes) else {
                    continue;
                };
                let says = front.set.iter().any(|(name, _)| name == SCRIPTS);
                let preset = front.preset.filter(|_| !says && !area.shadow);
                out.extend(preset.and_then(|preset| weak(preset, app, area)));
            }
        }
    }
}

fn weak(preset: Preset, app: &ir::App, area: &ir::Area) -> Option<Diagnostic> {
    let what = match preset {
        Preset::Spa => "permits inline scripts, so also those that somebody gets into a page",
        Preset::Dashboard => "does not say which scripts may run",
        Preset::Owasp | Preset::None => return None,
    };
    let (word, at) = (preset.as_str(), area.pattern.shown());
    let title = format!("preset `{word}` of {}{at} {what}", app.id);
    Some(Diagnostic::warning("weak-preset", area.span, title).help(
        "write  preset = \"owasp\"; if the app needs more, set a Content-Security-Policy of its own",
    ))
}
