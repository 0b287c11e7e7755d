//! People beside those of the demo.

use crate::curl::{Answer, Client};
use crate::gateway::{Gateway, Person};
use crate::html::{self, Form};
use crate::totp;
use crate::wait::{self, PATIENCE};

const PASSWORD: &str = "a long walk by the old harbour";

/// Goes from the administrator's command to an account with an app.
#[must_use]
pub fn enrol(gateway: &Gateway, user: &str) -> Person {
    let client = Client::new(gateway);
    let link = gateway.must(&["user", "add", user]);
    assert_eq!(client.open(link.trim()).status, 303);
    let page = client.open(&at(gateway, "/enrol"));
    let (_, rest) = page.body.split_once("<p class=\"secret\"><code>").unwrap();
    let secret = rest.split('<').next().unwrap().replace(' ', "");
    let person = Person::new(user, PASSWORD, &secret);
    let done = wait::until(PATIENCE, "the account is set up", || {
        let mut form = form_to(&page, "/enrol");
        form.set("password", PASSWORD);
        form.set("again", PASSWORD);
        form.set("code", &totp::code_at(&secret, totp::now()));
        let done = client.submit(&page, &form);
        // the hour may have turned, or hashing has no place for a moment
        (!matches!(done.status, 422 | 503)).then_some(done)
    });
    assert_eq!(done.status, 200, "{done:?}");
    // the code of this step is used up
    person.code();
    person
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("{}{path}", gateway.facts.portal.trim_end_matches('/'))
}

fn form_to(page: &Answer, action: &str) -> Form {
    let found = html::forms(&page.body)
        .into_iter()
        .find(|f| f.action == action);
    found.unwrap_or_else(|| panic!("no form to {action}: {page:?}"))
}
