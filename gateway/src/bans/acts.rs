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
            Ask::Export => {
                let mut rows = self.book.read().list(now);
                rows.retain(|row| trusted.why(&row.network).is_none());
                return Ok(lines(rows, now));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::store;
    use crate::store::tests::Folder;

    fn trusted() -> Trusted {
        let mut config = Config::default();
        config.bans.allow = vec!["203.0.113.9/32".parse().unwrap()];
        let mut sources = policy::Sources::new();
        sources.add("policy.toml", "postern = 1\n".to_owned());
        Trusted::gather(&config, &policy::load(&sources).unwrap().policy, &[])
    }

    #[tokio::test]
    async fn an_export_leaves_out_what_is_trusted_and_the_list_does_not() {
        let folder = Folder::new();
        let store = store::open(folder.path()).unwrap();
        let bans = Bans::open(&crate::config::Bans::default(), store).await;
        let bans = bans.unwrap();
        let act = async |ask: &Ask, trusted: &Trusted| {
            let lines = bans.act(ask, trusted, async |_| {}).await.unwrap();
            let networks = lines.iter().map(|line| line.network.to_string());
            networks.collect::<Vec<_>>()
        };
        for network in ["240.0.0.0/24", "203.0.113.0/24", "203.0.113.9/32"] {
            let ask = Ask::Add {
                network: network.parse().unwrap(),
                seconds: None,
                note: None,
            };
            // Made before the network was trusted.
            act(&ask, &Trusted::default()).await;
        }
        assert_eq!(act(&Ask::List, &trusted()).await.len(), 3);
        assert_eq!(act(&Ask::Export, &trusted()).await, ["240.0.0.0/24"]);
        assert_eq!(act(&Ask::Export, &Trusted::default()).await.len(), 3);
    }
}
