//! What to look at before people are let in: where an app may be signed up to by people whom no rule names.
//!
//! The policy is asked; no request is sent to an app, since one could make an account.

use policy::{Open, Opening, Policy};

use super::{Finding, Verdict, finding, ok};

/// Where apps take new accounts by POST, and what is known to do so there.
///
/// Source: the deployment guide of a dashboard whose `POST /api/auth/register` takes `"role": "ADMIN"` from anybody,
/// and the frameworks' own documentation.
const SIGN_UPS: [(&str, &str); 28] = [
    ("/accounts/register", "django-registration"),
    ("/accounts/signup", "django-allauth"),
    ("/api/auth/local/register", "Strapi"),
    (
        "/api/auth/register",
        "the guide; NestJS and Express starters",
    ),
    ("/api/auth/registration", "dj-rest-auth"),
    ("/api/auth/sign-up/email", "Better Auth"),
    ("/api/auth/signup", "starters"),
    ("/api/collections/users/records", "PocketBase"),
    ("/api/register", "JHipster"),
    ("/api/signup", "starters"),
    ("/api/user/signup", "Grafana"),
    ("/api/users", "REST APIs with a table of users"),
    ("/api/v1/auth/register", "versioned starters"),
    ("/api/v1/auths/signup", "Open WebUI"),
    ("/api/v1/users", "REST APIs with a table of users"),
    ("/api/v1/users/signup", "FastAPI's full stack template"),
    ("/auth/register", "FastAPI Users, Flask-AppBuilder"),
    ("/auth/signup", "starters"),
    ("/auth/v1/signup", "Supabase"),
    ("/register", "Laravel, Flask-Security"),
    ("/rest/owner/setup", "n8n"),
    ("/sign-up", "starters"),
    ("/signup", "starters"),
    ("/user/register", "Drupal"),
    ("/user/sign_up", "Gitea, Forgejo"),
    ("/users", "Devise (Rails), Parse Server"),
    ("/users/register", "Directus"),
    ("/v1/account", "Appwrite"),
];

/// Looks at a policy.
pub(crate) fn examine(policy: &Policy) -> Vec<Finding> {
    let paths = SIGN_UPS.map(|(path, _)| path);
    let openings = policy.openings("POST", &paths);
    let mut found: Vec<Finding> = Vec::new();
    let same = |a: &Opening, b: &Opening| (&a.rule, a.who) == (&b.rule, b.who);
    let mut seen: Vec<&Opening> = Vec::new();
    for opening in &openings {
        if !seen.iter().any(|known| same(known, opening)) {
            seen.push(opening);
            let alike = openings.iter().filter(|other| same(other, opening));
            found.push(note(opening, &alike.collect::<Vec<_>>()));
        }
    }
    if found.is_empty() {
        let text = format!(
            "no rule lets people whom it does not name POST to any of {} usual places",
            paths.len()
        );
        found.push(ok("sign-up", text));
    }
    found
}

/// Tells of one rule: by whom, to which paths, and the area that would close them.
fn note(first: &Opening, alike: &[&Opening]) -> Finding {
    let who = match first.who {
        Open::Anyone => "anyone, without signing in,",
        Open::AnyUser => "whoever is signed in",
    };
    let (file, line, rule) = (&first.file, first.line, &first.rule);
    let mut when = first.contexts.join(" or ");
    if !when.is_empty() {
        when = format!(" ({when})");
    }
    let paths: Vec<&str> = alike.iter().map(|opening| opening.path.as_str()).collect();
    let text = format!(
        "{file}:{line}: by {rule} {who} may POST to {}{when}",
        paths.join(", ")
    );
    let next = format!(
        "where the app makes accounts there, give the path an area of its own:\n\
         [{}.\"{}\"]\n\
         allow.admins = {{ who = \"@admins\", mfa = \"15m\" }}",
        first.app,
        paths.first().unwrap_or(&"")
    );
    finding("sign-up", Verdict::Note, text, Some(next))
}

#[cfg(test)]
mod tests {
    use policy::{Policy, Sources};

    use super::{SIGN_UPS, examine};
    use crate::doctor::{Finding, Verdict};

    fn look(app: &str) -> Vec<Finding> {
        let mut sources = Sources::new();
        let head = "postern = 1\n[group]\nadmins = [\"ana\"]\n\
                    [app.kpi]\nhost = \"kpi.example\"\nupstream = \"http://127.0.0.1:1\"\n";
        sources.add("users.toml", "postern = 1\n[user.ana]\n".to_owned());
        sources.add("policy.toml", format!("{head}{app}"));
        let loaded = policy::load(&sources);
        examine(&loaded.unwrap_or_else(|d| panic!("{app}\n{d:?}")).policy)
    }

    const OPEN: &str = "public = \"the guide has it so\"\nallow.all = { who = \"anyone\" }\n";

    #[test]
    fn an_app_that_anyone_may_sign_up_to_is_told_with_its_place_and_the_area_that_closes_it() {
        let found = look(OPEN);
        let [note] = &found[..] else {
            panic!("not one rule: {found:?}");
        };
        assert_eq!(
            (note.check.as_str(), note.verdict),
            ("sign-up", Verdict::Note)
        );
        assert!(
            note.found
                .starts_with("policy.toml:8: by app.kpi#all anyone"),
            "{note:?}"
        );
        for (path, _) in SIGN_UPS {
            assert!(note.found.contains(path), "{path}: {note:?}");
        }
        let next = note.next.as_ref().unwrap();
        let area = next.split_once(":\n").unwrap().1;
        let closed = look(&format!("{OPEN}{area}\n"));
        let first = SIGN_UPS[0].0;
        assert!(
            area.contains(first) && !closed[0].found.contains(first),
            "{closed:?}"
        );
    }

    #[test]
    fn whoever_is_signed_in_is_too_many_and_people_who_are_named_are_not() {
        let any = look("allow.all = { who = \"any-user\" }\n");
        assert!(
            any[0].found.contains("whoever is signed in may POST to"),
            "{any:?}"
        );
        let named = look("allow.all = { who = \"@admins\" }\n");
        let verdicts: Vec<Verdict> = named.iter().map(|f| f.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok], "{named:?}");
    }

    #[test]
    fn the_policy_for_the_guide_lets_no_stranger_register() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/dashboard");
        let mut sources = Sources::new();
        for name in ["policy.toml", "users.toml"] {
            let text = std::fs::read_to_string(format!("{dir}/{name}")).unwrap();
            sources.add(name, text);
        }
        let policy: Policy = policy::load(&sources).unwrap().policy;
        let found = examine(&policy);
        assert!(
            found
                .iter()
                .all(|f| !f.found.contains("/api/auth/register")),
            "{found:?}"
        );
    }

    #[test]
    fn the_places_are_paths_in_their_one_spelling_sorted() {
        let paths = SIGN_UPS.map(|(path, _)| path);
        assert!(paths.is_sorted());
        for path in paths {
            let canonical = policy::canon::path(path.as_bytes()).unwrap();
            assert_eq!(canonical.forward(), path);
        }
    }
}
