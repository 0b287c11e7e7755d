//! Policies of the tests.

use crate::gateway::Gateway;

/// Returns a policy with two apps behind one upstream, both open to demo and guest, and services
/// from `more` in the policy language.
#[must_use]
pub fn two_apps(upstream: &str, more: &str) -> String {
    format!(
        r#"postern = 1

[group]
admins = ["demo"]

[admin]
allow.admins = {{ who = "@admins" }}

[app.app]
host = ["app.gate.localhost", "app.gate.postern.internal"]
upstream = "{upstream}"
allow.people = {{ who = ["demo", "guest"] }}

[app.second]
host = "second.gate.localhost"
upstream = "{upstream}"
allow.people = {{ who = ["demo", "guest"] }}

{more}
"#
    )
}

/// Returns a policy with one app that has these keys, open to demo and guest.
#[must_use]
pub fn one_app(keys: &str) -> String {
    format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\n{keys}\n\
         allow.people = {{ who = [\"demo\", \"guest\"] }}\n"
    )
}

/// Returns the address of the second app of [`two_apps`].
#[must_use]
pub fn second_app(gateway: &Gateway) -> String {
    gateway.facts.app.replace("app.gate.", "second.gate.")
}
