//! The acts of the console. Each has one address, which holds all that it is about: GET shows what would
//! happen and asks, POST does it. So a fresh code or sign-in on the way loses nothing.

mod words;

use serde::Serialize;

use super::call::Query;
use super::shell::Section;
use crate::edits::{Edit, NewUser};
use crate::uri::encode;

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub(crate) enum Deed {
    /// One session ends, with everything that stands on it.
    EndSession {
        /// Its id.
        session: String,
    },
    /// Every session of a person ends.
    EndSessions {
        /// The person.
        user: String,
    },
    /// A device is shut out for good.
    RevokeDevice {
        /// Its id.
        device: String,
    },
    /// A token counts no longer.
    RevokeToken {
        /// Its id.
        token: String,
    },
    /// That a device's key was seen in two places, or its clock far ahead, counts no longer.
    ClearDevice {
        /// Its id.
        device: String,
    },
    /// A device is said to be kept by the administrators, or not.
    MarkDevice {
        /// Its id.
        device: String,
        /// Whether they keep it.
        managed: bool,
    },
    /// A source is shut out.
    Ban {
        /// An address or a network.
        network: String,
        /// Such as `1h`; until it is lifted if empty.
        time: String,
        /// Why, for the record.
        note: String,
    },
    /// A source is let in again.
    Unban {
        /// The network.
        network: String,
    },
    /// The failures of an account are forgotten.
    Unlock {
        /// The person.
        user: String,
    },
    /// A one-time enrolment link is made.
    Invite {
        /// The person.
        user: String,
    },
    /// The second factor is taken away, and a link to a new one made.
    Reset {
        /// The person.
        user: String,
        /// Why; the person reads it.
        reason: String,
    },
    /// A certificate is ordered although it is not due.
    RenewCertificate {
        /// Its first name.
        name: String,
    },
    /// The files of people and groups are edited.
    #[serde(untagged)]
    Edit(Edit),
}

/// What the person agreed to on the page that asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consent {
    /// The digest of the files that were shown.
    pub(crate) digest: String,
    /// How many openings they accept.
    pub(crate) wider: Option<usize>,
}

impl Deed {
    /// Reads an act from its address; `None` for one there is not, or that lacks something.
    pub(crate) fn parse(name: &str, query: &Query) -> Option<Self> {
        let wanted = |name: &str| query.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
        let optional = |name: &str| wanted(name).unwrap_or_default();
        let user = || wanted("user");
        Some(match name {
            "end-session" => Self::EndSession {
                session: wanted("session")?,
            },
            "end-sessions" => Self::EndSessions { user: user()? },
            "revoke-device" => Self::RevokeDevice {
                device: wanted("device")?,
            },
            "revoke-token" => Self::RevokeToken {
                token: wanted("token")?,
            },
            "clear-device" => Self::ClearDevice {
                device: wanted("device")?,
            },
            "mark-device" => Self::MarkDevice {
                device: wanted("device")?,
                managed: match query.get("class")? {
                    "managed" => true,
                    "known" => false,
                    _ => return None,
                },
            },
            "ban" => Self::Ban {
                network: wanted("network")?,
                time: optional("time"),
                note: optional("note"),
            },
            "unban" => Self::Unban {
                network: wanted("network")?,
            },
            "unlock" => Self::Unlock { user: user()? },
            "invite" => Self::Invite { user: user()? },
            "reset" => Self::Reset {
                user: user()?,
                reason: wanted("reason")?,
            },
            "renew-certificate" => Self::RenewCertificate {
                name: wanted("name")?,
            },
            _ => Self::Edit(edit(name, query)?),
        })
    }

    /// Whether it takes something away from somebody.
    pub(crate) fn takes_away(&self) -> bool {
        match self {
            Self::EndSession { .. }
            | Self::EndSessions { .. }
            | Self::RevokeDevice { .. }
            | Self::RevokeToken { .. }
            | Self::Ban { .. }
            | Self::Reset { .. } => true,
            Self::MarkDevice { managed, .. } => !managed,
            Self::ClearDevice { .. }
            | Self::Unban { .. }
            | Self::Unlock { .. }
            | Self::Invite { .. }
            | Self::RenewCertificate { .. } => false,
            Self::Edit(edit) => match edit {
                Edit::Disable { .. } | Edit::Remove { .. } | Edit::Leave { .. } => true,
                Edit::Add(_) | Edit::Enable { .. } | Edit::Join { .. } => false,
            },
        }
    }

    /// Where it was asked for, and where to go on from it.
    pub(crate) fn back(&self) -> String {
        let person = |user: &str| format!("/admin/person?user={}", encode(user));
        match self {
            Self::EndSession { .. } => Section::Sessions.path().to_owned(),
            Self::RevokeToken { .. } => Section::Tokens.path().to_owned(),
            Self::RevokeDevice { .. } | Self::ClearDevice { .. } | Self::MarkDevice { .. } => {
                Section::Devices.path().to_owned()
            }
            Self::Ban { .. } | Self::Unban { .. } => Section::Bans.path().to_owned(),
            Self::RenewCertificate { .. } => Section::Certificates.path().to_owned(),
            Self::EndSessions { user }
            | Self::Unlock { user }
            | Self::Invite { user }
            | Self::Reset { user, .. } => person(user),
            Self::Edit(Edit::Remove { .. }) => Section::People.path().to_owned(),
            Self::Edit(edit) => person(edit.user()),
        }
    }

    /// The part of the console it belongs to.
    pub(crate) fn section(&self) -> Section {
        match self {
            Self::EndSession { .. } => Section::Sessions,
            Self::RevokeToken { .. } => Section::Tokens,
            Self::RevokeDevice { .. } | Self::ClearDevice { .. } | Self::MarkDevice { .. } => {
                Section::Devices
            }
            Self::Ban { .. } | Self::Unban { .. } => Section::Bans,
            Self::RenewCertificate { .. } => Section::Certificates,
            Self::EndSessions { .. }
            | Self::Unlock { .. }
            | Self::Invite { .. }
            | Self::Reset { .. }
            | Self::Edit(_) => Section::People,
        }
    }
}

fn edit(name: &str, query: &Query) -> Option<Edit> {
    let wanted = |name: &str| query.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
    let user = wanted("user")?;
    Some(match name {
        "add" => Edit::Add(NewUser {
            user,
            name: wanted("name"),
            mail: wanted("mail"),
            groups: wanted("group").into_iter().collect(),
        }),
        "disable" => Edit::Disable { user },
        "enable" => Edit::Enable { user },
        "remove" => Edit::Remove { user },
        "join" => Edit::Join {
            user,
            group: wanted("group")?,
        },
        "leave" => Edit::Leave {
            user,
            group: wanted("group")?,
        },
        _ => return None,
    })
}
