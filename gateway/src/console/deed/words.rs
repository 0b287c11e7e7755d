//! What an act is called, in the language of the page.

use super::Deed;
use crate::console::texts;
use crate::edits::Edit;
use crate::pages::fill;

impl Deed {
    /// Asks whether to do it.
    pub(crate) fn question(&self, w: &texts::Acts) -> String {
        match self {
            Self::EndSession { session } => fill(w.end_session, "session", session),
            Self::EndSessions { user } => fill(w.end_sessions, "user", user),
            Self::RevokeDevice { device } => fill(w.revoke_device, "device", device),
            Self::RevokeToken { token } => fill(w.revoke_token, "token", token),
            Self::ClearDevice { device } => fill(w.clear_device, "device", device),
            Self::MarkDevice { device, managed } => match managed {
                true => fill(w.mark_managed, "device", device),
                false => fill(w.mark_known, "device", device),
            },
            Self::Ban { network, time, .. } => match time.is_empty() {
                true => fill(w.ban, "network", network),
                false => fill(&fill(w.ban_for, "network", network), "time", time),
            },
            Self::Unban { network } => fill(w.unban, "network", network),
            Self::Unlock { user } => fill(w.unlock, "user", user),
            Self::Invite { user } => fill(w.invite, "user", user),
            Self::Reset { user, .. } => fill(w.reset, "user", user),
            Self::RenewCertificate { name } => fill(w.renew, "name", name),
            Self::Edit(edit) => edit_question(edit, w),
        }
    }

    /// Says what it brings with it.
    pub(crate) fn effect(&self, w: &texts::Acts) -> &'static str {
        match self {
            Self::EndSession { .. } | Self::EndSessions { .. } => w.end_effect,
            Self::RevokeDevice { .. } => w.revoke_effect,
            Self::RevokeToken { .. } => w.revoke_token_effect,
            Self::ClearDevice { .. } => w.clear_effect,
            Self::MarkDevice { .. } => w.mark_effect,
            Self::Ban { .. } => w.ban_effect,
            Self::Unban { .. } => w.unban_effect,
            Self::Unlock { .. } => w.unlock_effect,
            Self::Invite { .. } => w.invite_effect,
            Self::Reset { .. } => w.reset_effect,
            Self::RenewCertificate { .. } => w.renew_effect,
            Self::Edit(edit) => match edit {
                Edit::Add(_) => w.add_effect,
                Edit::Disable { .. } => w.disable_effect,
                Edit::Enable { .. } => w.enable_effect,
                Edit::Remove { .. } => w.remove_effect,
                Edit::Join { .. } | Edit::Leave { .. } => w.group_effect,
            },
        }
    }

    /// Names it on the button that does it.
    pub(crate) fn button(&self, w: &texts::Acts) -> &'static str {
        match self {
            Self::EndSession { .. } | Self::EndSessions { .. } => w.end_button,
            Self::RevokeDevice { .. } | Self::RevokeToken { .. } => w.revoke_button,
            Self::ClearDevice { .. } => w.clear_button,
            Self::MarkDevice { .. } => w.mark_button,
            Self::Ban { .. } => w.ban_button,
            Self::Unban { .. } => w.unban_button,
            Self::Unlock { .. } => w.unlock_button,
            Self::Invite { .. } => w.invite_button,
            Self::Reset { .. } => w.reset_button,
            Self::RenewCertificate { .. } => w.renew_button,
            Self::Edit(_) => w.apply_button,
        }
    }
}

fn edit_question(edit: &Edit, w: &texts::Acts) -> String {
    match edit {
        Edit::Add(new) => fill(w.add, "user", &new.user),
        Edit::Disable { user } => fill(w.disable, "user", user),
        Edit::Enable { user } => fill(w.enable, "user", user),
        Edit::Remove { user } => fill(w.remove, "user", user),
        Edit::Join { user, group } => fill(&fill(w.join, "user", user), "group", group),
        Edit::Leave { user, group } => fill(&fill(w.leave, "user", user), "group", group),
    }
}
