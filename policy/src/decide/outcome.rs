//! What a decision can come to.

use serde::Serialize;

/// What happens to a request. Greater is better for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Refused; neither signing in nor a fresh code would help.
    Deny,
    /// Signing in could help.
    Login,
    /// A fresh code would help.
    StepUp,
    /// Let through, with obligations.
    Allow,
}

impl Outcome {
    /// The word of the policy language, the journal and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Login => "login",
            Self::StepUp => "step-up",
            Self::Allow => "allow",
        }
    }

    /// Reads the word of the policy language.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Deny, Self::Login, Self::StepUp, Self::Allow]
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
