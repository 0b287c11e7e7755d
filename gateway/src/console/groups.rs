//! Groups: the list, and who is in one.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::act::failure;
use super::call::Call;
use super::desk::{GroupLine, GroupView};
use super::pager::Pager;
use super::shell::{Section, Shell};
use super::texts;
use crate::pages::Problem;
use crate::uri::encode;

/// People on one page of a group.
const PER_PAGE: usize = 100;

#[derive(Serialize)]
struct Groups {
    groups: Vec<GroupLine>,
}

#[derive(Template)]
#[template(path = "console/groups.html")]
struct GroupsPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Groups,
    m: &'a Groups,
}

/// `GET /admin/groups`: the groups that list their people.
pub(crate) async fn list(call: Call) -> Response {
    let groups = match call.console.groups().await {
        Ok(groups) => groups,
        Err(refusal) => return failure(&call, Section::Groups, "/admin".to_owned(), &refusal),
    };
    let model = Groups { groups };
    let view = GroupsPage {
        f: call.shell(Section::Groups),
        w: texts::Groups::of(call.ctx.lang),
        m: &model,
    };
    call.reply(StatusCode::OK, &model, &view)
}

#[derive(Template)]
#[template(path = "console/group.html")]
struct GroupPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Groups,
    g: &'a GroupView,
    pager: Pager,
}

/// `GET /admin/group`: who is in the group `?group=`.
pub(crate) async fn group(call: Call) -> Response {
    let Some(name) = call.query.get("group") else {
        return call.ctx.problem(Problem::NotFound);
    };
    let found = match call.console.group(name, call.slice(PER_PAGE)).await {
        Ok(Some(found)) => found,
        Ok(None) => return call.ctx.problem(Problem::NotFound),
        Err(refusal) => return failure(&call, Section::Groups, "/admin".to_owned(), &refusal),
    };
    let view = GroupPage {
        f: call.shell(Section::Groups),
        w: texts::Groups::of(call.ctx.lang),
        pager: Pager::new(&call, &found.people, PER_PAGE),
        g: &found,
    };
    call.reply(StatusCode::OK, &found, &view)
}

impl GroupLine {
    fn href(&self) -> String {
        format!("/admin/group?group={}", encode(&self.group))
    }
}

impl GroupView {
    fn leave(&self, user: &str) -> String {
        let (user, group) = (encode(user), encode(&self.group));
        format!("/admin/do/leave?user={user}&group={group}")
    }

    fn person(&self, user: &str) -> String {
        format!("/admin/person?user={}", encode(user))
    }
}
