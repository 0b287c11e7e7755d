//! What proves who a caller is, beside a sign-in in the browser: the tunnel device alone, or a token.
//!
//! Both are off unless the area that decides says otherwise; an area takes nothing over from the areas around it.

use std::time::Duration;

use serde::Serialize;

use crate::canon::{CanonHost, CanonPath};
use crate::compile::{AppIx, DEFAULT, Policy};
use crate::decide::{Context, Decision, Outcome, Subject};
use crate::resolve::values::show_duration;

/// By what a caller is known to be who it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// A session of the person, as a browser's cookie names it.
    #[default]
    SignIn,
    /// A tunnel device that its person has opened, without a cookie. The ages are those of that sign-in.
    Device,
    /// A token of the person. The age of the code is the age of the token.
    Token,
}

impl Proof {
    /// The word of the policy language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Device => "device",
            Self::Token => "token",
        }
    }

    /// Reads the word of the policy language.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::SignIn, Self::Device, Self::Token]
            .into_iter()
            .find(|proof| proof.as_str() == word)
    }
}

/// What an area takes beside a sign-in in the browser; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lanes {
    /// `device-only`: a tunnel device that its person has opened needs no cookie.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub device: bool,
    /// `tokens`: the greatest age of a token, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
}

impl Lanes {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a token of an age in seconds is taken.
    pub(crate) fn takes_token(&self, age: Option<u32>) -> bool {
        matches!((self.tokens, age), (Some(most), Some(age)) if age <= most)
    }

    /// Whether a caller is taken for who the proof says.
    pub(crate) fn take(&self, proof: Proof, mfa_age: Option<u32>) -> bool {
        match proof {
            Proof::SignIn => true,
            Proof::Device => self.device,
            Proof::Token => self.takes_token(mfa_age),
        }
    }

    /// Says why a caller is not taken for who the proof says.
    pub(crate) fn miss(&self, proof: Proof, mfa_age: Option<u32>) -> Option<String> {
        if self.take(proof, mfa_age) {
            return None;
        }
        Some(match (proof, self.tokens, mfa_age) {
            (Proof::Token, Some(most), Some(age)) => format!(
                "by: token {} old, at most {}",
                show_duration(age),
                show_duration(most)
            ),
            (Proof::Token, ..) => "by: tokens are not taken here".to_owned(),
            (Proof::SignIn | Proof::Device, ..) => {
                "by: a device alone is not taken here".to_owned()
            }
        })
    }
}

impl Policy {
    /// What the area of a path takes beside a sign-in in the browser.
    pub fn lanes(&self, app: AppIx, path: &CanonPath<'_>) -> Lanes {
        let found = self.app_rules(app).and_then(|rules| {
            let at = self.trees.find(rules.tree, path)?;
            let app = self.ir.apps.get(app.0 as usize)?;
            app.areas.get(at as usize)
        });
        found.map_or_else(Lanes::default, |area| area.lanes)
    }

    /// The greatest age of a token in any area of an app; `None` where none takes tokens.
    pub fn takes_tokens(&self, app: AppIx) -> Option<Duration> {
        let app = self.ir.apps.get(app.0 as usize)?;
        let areas = app.areas.iter().filter(|area| !area.shadow && !app.shadow);
        let most = areas.filter_map(|area| area.lanes.tokens).max()?;
        Some(Duration::from_secs(most.into()))
    }

    /// Decides one HTTP request of a caller who is known by `proof`. Where the area does not take that proof, the
    /// caller is nobody. For a token the sign-in has no age, and neither signing in nor a fresh code helps.
    pub fn decide_http_by(
        &self,
        proof: Proof,
        subject: &Subject<'_>,
        host: &CanonHost,
        path: &CanonPath<'_>,
        method: &str,
        context: &Context,
    ) -> Decision {
        if proof == Proof::SignIn {
            return self.decide_http(subject, host, path, method, context);
        }
        let lanes = self.app_for(host).map(|app| self.lanes(app, path));
        let lanes = lanes.unwrap_or_default();
        let taken = lanes.take(proof, subject.mfa_age);
        let asked = match (taken, proof) {
            (false, _) => Subject {
                bits: None,
                mfa_age: None,
                ..*subject
            },
            (true, Proof::Token) => Subject {
                login_age: 0,
                ..*subject
            },
            (true, Proof::SignIn | Proof::Device) => *subject,
        };
        let decision = self.decide_http(&asked, host, path, method, context);
        match proof {
            Proof::SignIn | Proof::Device => decision,
            Proof::Token => of_token(decision, lanes, subject.mfa_age.filter(|_| taken)),
        }
    }
}

/// What a decision is for a token: no offer to sign in, and at an end when the token is too old.
fn of_token(decision: Decision, lanes: Lanes, age: Option<u32>) -> Decision {
    let offers = |outcome| matches!(outcome, Outcome::Login | Outcome::StepUp);
    let would = decision
        .shadow
        .map(|(outcome, rule)| match offers(outcome) {
            true => (Outcome::Deny, DEFAULT),
            false => (outcome, rule),
        });
    let refused = offers(decision.outcome).then_some((Outcome::Deny, DEFAULT));
    let answer = refused.unwrap_or((decision.outcome, decision.rule));
    let decision = Decision {
        shadow: would.filter(|would| *would != answer),
        ..decision
    };
    match decision.outcome {
        Outcome::Allow => {
            let left = lanes
                .tokens
                .zip(age)
                .map(|(most, age)| most - age.min(most));
            let left = left.map(|left| left.saturating_add(1));
            Decision {
                expires_in: [decision.expires_in, left].into_iter().flatten().min(),
                ..decision
            }
        }
        Outcome::Deny => decision,
        Outcome::Login | Outcome::StepUp => Decision {
            shadow: decision.shadow,
            ..Decision::deny(DEFAULT)
        },
    }
}
