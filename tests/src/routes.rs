//! The routes of the gateway's own pages, read where its routers are built: a list that is derived
//! cannot be forgotten.

use std::fs;
use std::path::Path;

/// A route as it stands in the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Its path; `{name}` stands for any segment.
    pub path: String,
    pub get: bool,
    pub post: bool,
}

impl Route {
    /// Tells whether a path, without its query, is one of this route.
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        let (mut own, mut other) = (self.path.split('/'), path.split('/'));
        loop {
            match (own.next(), other.next()) {
                (None, None) => return true,
                (Some(own), Some(other)) if own == other || own.starts_with('{') => {}
                _ => return false,
            }
        }
    }
}

/// Returns every route of the gateway, sorted.
#[must_use]
pub fn all() -> Vec<Route> {
    let mut found = Vec::new();
    read_folder(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src"),
        &mut found,
    );
    found.sort();
    assert!(found.len() > 40, "routes are no longer found: {found:?}");
    found
}

/// Returns the names that the console gives its acts.
#[must_use]
pub fn deeds() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src/console/deed.rs");
    let text = fs::read_to_string(file).unwrap();
    let arms = text.lines().filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix('"')?.split_once("\" => ")?;
        (rest.starts_with("Self::") || rest.starts_with("Edit::")).then(|| name.to_owned())
    });
    let found: Vec<_> = arms.collect();
    assert!(found.len() > 10, "acts are no longer found: {found:?}");
    found
}

fn read_folder(dir: &Path, found: &mut Vec<Route>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.extend(routes(&fs::read_to_string(&path).unwrap()));
        }
    }
}

fn routes(source: &str) -> Vec<Route> {
    let calls = source.split(".route(").skip(1);
    calls.map(|rest| route(arguments(rest))).collect()
}

/// The text up to the parenthesis that closes the call.
fn arguments(rest: &str) -> &str {
    let mut depth = 1;
    let end = rest.find(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &rest[..end.unwrap()]
}

fn route(call: &str) -> Route {
    let path = call
        .split('"')
        .nth(1)
        .unwrap_or_else(|| panic!("a route without a path: {call}"));
    let has = |method: &str| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut found = call.match_indices(method);
        found.any(|(at, _)| !call[..at].ends_with(is_word))
    };
    let route = Route {
        path: path.to_owned(),
        get: has("get("),
        post: has("post("),
    };
    assert!(route.get || route.post, "a route without a method: {call}");
    route
}

#[cfg(test)]
mod tests {
    use super::{all, routes};

    #[test]
    fn routes_are_read_with_their_methods() {
        let found = routes(
            "Router::new()\n.route(\"/a\", get(x::y)).route(\n \"/b/{c}\",\n get(a(b)).merge(post(c)),\n).route(\"/d\", post(e))",
        );
        let of = |i: usize| (found[i].path.as_str(), found[i].get, found[i].post);
        assert_eq!(found.len(), 3);
        assert_eq!(of(0), ("/a", true, false));
        assert_eq!(of(1), ("/b/{c}", true, true));
        assert_eq!(of(2), ("/d", false, true));
        assert!(found[1].is("/b/x"));
        assert!(!found[1].is("/b") && !found[1].is("/b/x/y") && !found[0].is("/b"));
    }

    #[test]
    fn the_routes_of_the_gateway_are_found() {
        let all = all();
        let sign_in = all.iter().find(|r| r.path == "/signin").unwrap();
        assert!(sign_in.get && sign_in.post);
        assert!(all.iter().any(|r| r.path == "/admin/do/{deed}" && r.post));
    }
}
