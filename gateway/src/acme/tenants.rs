//! Names of tenants are verified before anything is ordered for them: by CNAME to a sign-in host,
//! or by a TXT record that this gateway alone can name.

use certs::plan::{Cause, Failure};
use data_encoding::BASE32_NOPAD;

use super::{Acme, lookup};
use crate::config::Config;
use crate::secrets::{Keys, hmac};

/// Where the text stands.
const LABEL: &str = "_postern";

/// Returns what the TXT record of a tenant's name must say.
pub(super) fn text(keys: &Keys, name: &str) -> String {
    let key = keys.derive_lasting("tenant-name");
    let proof = hmac(&key, &[name.as_bytes()]);
    let proof = BASE32_NOPAD.encode(proof.get(..15).unwrap_or_default());
    format!("postern-verify={}", proof.to_ascii_lowercase())
}

/// Verifies those of `names` that are a tenant's and have no certificate yet.
///
/// # Errors
/// [`Cause::Dns`] with the records to set.
pub(super) async fn verify(acme: &Acme, config: &Config, names: &[String]) -> Result<(), Failure> {
    for name in names {
        if config.acme.tenant_names.verify && acme.is_of_tenant(name) {
            one(acme, config, name).await?;
        }
    }
    Ok(())
}

async fn one(acme: &Acme, config: &Config, name: &str) -> Result<(), Failure> {
    let servers = &config.tunnel.dns;
    let failed = |text| Failure::new(Cause::Dns, text);
    let aliases = lookup::aliases(servers, name).await.map_err(failed)?;
    if aliases.iter().any(|to| config.http.sign_in.contains(to)) {
        return Ok(());
    }
    let wanted = text(&acme.keys, name);
    let at = format!("{LABEL}.{name}");
    let texts = lookup::texts(servers, &at).await.map_err(failed)?;
    if texts.contains(&wanted) {
        return Ok(());
    }
    let host = config.http.sign_in.first().map_or("", String::as_str);
    Err(failed(format!(
        "{name} is not verified: set `{name} CNAME {host}`, or `{at} TXT \"{wanted}\"`"
    )))
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::config::tests::Folder;
    use crate::secrets::Keys;

    #[test]
    fn the_text_of_a_name_is_its_own_and_this_gateways() {
        let folder = Folder::new();
        let ours = Keys::create(&folder.path().join("a.key")).unwrap();
        let theirs = Keys::create(&folder.path().join("b.key")).unwrap();
        assert_eq!(text(&ours, "a.test"), text(&ours, "a.test"));
        assert_ne!(text(&ours, "a.test"), text(&ours, "b.test"));
        assert_ne!(text(&ours, "a.test"), text(&theirs, "a.test"));
        assert!(text(&ours, "a.test").starts_with("postern-verify="));
    }
}
