//! What operators do to bans; the same for a running gateway and a stopped one.

use std::time::Duration;

use ipnet::IpNet;

use super::line::{Ask, Line};
use super::{Bans, Trusted};
use crate::audit::Record;
use crate::control::{Code, Refusal};

/// Characters of an operator's note.
const NOTE_MAX: usize = 200;

impl Bans {
    /// Does what an operator asks; in force and written when it returns. `tell` takes the
    /// records.
    ///
    /// # Errors
    /// [`Code::Data`] for a network that may not be banned or is not, [`Code::Internal`] if the
    /// store takes nothing; the ban holds all the same.
    pub(crate) async fn act<F: Future<Output = ()>>(
        &self,
        ask: &Ask,
        trusted: &Trusted,
        tell: impl Fn(Record) -> F,
    ) -> Result<Vec<Line>, Refusal> {
        let now = self.now();
        let rows = match ask {
            Ask::List => return Ok(lines(self.book.read().list(now), now)),
            Ask::Add {
                network,
                seconds,
                note,
            } => {
                allowed(network, trusted)?;
                let note = note.as_ref().map(|n| n.chars().take(NOTE_MAX).collect());
                let length = seconds.map(Duration::from_secs);
                let added = self.book.write().add(network.trunc(), length, note, now);
                vec![added.map_err(|e| Refusal::new(Code::Data, e.to_string()))?]
            }
            Ask::Remove { network } => {
                let lifted = self.book.write().remove(&network.trunc(), now);
                if lifted.is_empty() {
                    let text = format!("no ban of {network} is in force");
                    return Err(Refusal::new(Code::Data, text));
                }
                lifted
            }
        };
        self.cut();
        self.write(tell).await?;
        Ok(lines(rows, now))
    }
}

fn allowed(network: &IpNet, trusted: &Trusted) -> Result<(), Refusal> {
    let Some((net, why)) = trusted.why(network) else {
        return Ok(());
    };
    let text = format!("{network} would shut out {net}, which is never banned ({why})");
    Err(Refusal::new(Code::Data, text))
}

fn lines(rows: Vec<crate::store::BanRow>, now: i64) -> Vec<Line> {
    rows.into_iter().map(|row| Line::of(row, now)).collect()
}
