//! Which sessions or tokens an act is for.

use clap::{ArgGroup, Args};

use crate::control::Which;

/// One, all of a person, or all.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub(crate) struct Chosen {
    /// The one with this id
    #[arg(group = "which")]
    id: Option<String>,
    /// All of one person
    #[arg(long, group = "which", value_name = "USER")]
    user: Option<String>,
    /// All
    #[arg(long, group = "which")]
    all: bool,
}

impl From<&Chosen> for Which {
    fn from(chosen: &Chosen) -> Self {
        match (&chosen.id, &chosen.user) {
            (Some(id), _) => Self::Id(id.clone()),
            (None, Some(user)) => Self::User(user.clone()),
            (None, None) => Self::All,
        }
    }
}
