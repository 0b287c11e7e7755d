//! `postern status` and `postern reload`.

use super::exit::Failure;
use super::{Global, block_on, offline, out};
use crate::control::{AppClock, Operator, Status};
use crate::explain::short;

/// Shows how the running gateway is.
///
/// # Errors
/// [`super::exit::Exit::Unavailable`] if none runs.
pub(crate) fn status(global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let status = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.status().await?)
    })?;
    if global.json {
        out::json(&status);
    } else {
        out::raw(&text(&status));
    }
    Ok(())
}

/// Loads policy and certificates again and waits until they are in force.
///
/// # Errors
/// [`super::exit::Exit::Config`] with the diagnostics; the old set stays then.
pub(crate) fn reload(global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let reloaded = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.reload().await?)
    })?;
    for warning in &reloaded.warnings {
        out::note(warning);
    }
    if global.json {
        out::json(&reloaded);
    } else {
        let (digest, generation) = (short(&reloaded.digest), reloaded.generation);
        out::line(&format!(
            "policy {digest} in force, generation {generation}"
        ));
    }
    Ok(())
}

fn text(status: &Status) -> String {
    let policy = &status.policy;
    let mut lines = vec![
        format!("postern {}, up {} s", status.version, status.uptime_s),
        format!(
            "policy    {} generation {} since {}",
            short(&policy.digest),
            policy.generation,
            policy.loaded
        ),
    ];
    if let Some(until) = &policy.confirm_until {
        lines.push(format!(
            "          WAITS to be confirmed until {until}: postern policy confirm"
        ));
    }
    if policy.cached {
        lines.push("          this is the LAST GOOD policy, not that of the folder".to_owned());
    }
    if let Some(error) = &policy.error {
        lines.push("          the files that lie there now are NOT in force:".to_owned());
        lines.extend(error.lines().map(|l| format!("          {l}")));
    }
    for listener in &status.listeners {
        lines.push(format!("listener  {listener}"));
    }
    let why = status.tunnel.why.as_deref().unwrap_or_default();
    lines.push(format!("tunnel    {} {why}", status.tunnel.state));
    lines.push(format!("sessions  {}", status.sessions));
    let journal = if status.audit.ok {
        "ok"
    } else {
        "BROKEN: nothing is granted"
    };
    lines.push(format!("journal   {journal}, {} records", status.audit.seq));
    if let Some(room) = &status.room {
        let refused = match room.refused {
            0 => String::new(),
            many => format!(", {many} closed for want of room"),
        };
        lines.push(format!(
            "room      {} of {} connections, {} of {} descriptors{refused}",
            room.connections, room.most, room.descriptors, room.limit
        ));
    }
    for failing in &status.certificates {
        let left = match failing.days_left {
            Some(days) => format!("{days} days left"),
            None => "none in use".to_owned(),
        };
        lines.push(format!(
            "cert      {} NOT RENEWED, {left}: {}: {}",
            failing.name, failing.cause, failing.detail
        ));
    }
    for off in &status.app_clocks {
        let (user, words, at) = (&off.user, off.words(), &off.at);
        lines.push(format!(
            "clock     {user}: authenticator app {words}, at {at}"
        ));
    }
    if let Some(off) = AppClock::of_gateway(&status.app_clocks) {
        let side = if off < 0 { "BEHIND" } else { "AHEAD" };
        lines.push(format!(
            "clock     this machine is about {} s {side}, going by these apps: set it, and keep it by NTP",
            off.unsigned_abs()
        ));
    }
    for u in &status.upstreams {
        let drain = if u.drain { ", drains" } else { "" };
        let since = u.since.as_deref().map(|at| format!(" since {at}"));
        let why = u.why.as_deref().map(|why| format!(" ({why})"));
        lines.push(format!(
            "upstream  {} {} {}{}{}{drain}, {} open, {} requests, {} failed",
            u.area,
            u.url,
            u.state,
            since.unwrap_or_default(),
            why.unwrap_or_default(),
            u.open,
            u.requests,
            u.failures
        ));
    }
    for l in &status.loads {
        let limit = l.limit.map(|most| format!(" of {most}"));
        let breaker = l.breaker.as_deref().map(|b| format!(", breaker {b}"));
        lines.push(format!(
            "load      {} {}{} requests, {} refused{}",
            l.area,
            l.open,
            limit.unwrap_or_default(),
            l.refused,
            breaker.unwrap_or_default()
        ));
    }
    for d in &status.devices {
        let endpoint = d.endpoint.as_deref().unwrap_or("-");
        let age = d.handshake_age_s.map_or_else(|| "-".to_owned(), ago);
        let why = d.why.as_deref().map(|why| format!(": {why}"));
        lines.push(format!(
            "device    {} {} {} {} {}{}",
            d.id,
            d.user,
            d.name,
            d.address,
            d.state,
            why.unwrap_or_default()
        ));
        lines.push(format!(
            "          from {endpoint}, handshake {age}, rx {} tx {}",
            d.rx, d.tx
        ));
    }
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Writes an age in the largest whole unit.
fn ago(secs: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(size, _)| secs >= *size);
    let (size, name) = unit.unwrap_or((1, "s"));
    format!("{} {name} ago", secs / size)
}

#[cfg(test)]
mod tests {
    use super::ago;

    #[test]
    fn an_age_is_written_in_its_largest_unit() {
        for (secs, text) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7_300, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(ago(secs), text);
        }
    }
}
