//! Redirects a policy writes.

use policy::front::{Redirect, below};

/// Writes where a request is sent: `path` is canonical, `authority` that of the request.
pub(crate) fn to(
    redirect: &Redirect,
    depth: usize,
    path: &str,
    query: Option<&str>,
    authority: &str,
) -> String {
    let base = if redirect.to.starts_with('/') || redirect.to.is_empty() {
        format!("https://{authority}{}", redirect.to)
    } else {
        redirect.to.clone()
    };
    if !redirect.keep {
        return base;
    }
    let rest = match below(path, depth) {
        "" => "/",
        rest => rest,
    };
    match query {
        Some(query) => format!("{base}{rest}?{query}"),
        None => format!("{base}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::to;
    use policy::front::Redirect;

    #[test]
    fn the_rest_of_the_path_follows_only_where_the_policy_says_so() {
        let go = |target: &str, keep, depth, path: &str| {
            let redirect = Redirect {
                to: target.to_owned(),
                keep,
                status: 308,
            };
            to(&redirect, depth, path, Some("a=b"), "www.kp.example")
        };
        let keep = go("https://kp.example", true, 0, "/x/y");
        assert_eq!(keep, "https://kp.example/x/y?a=b");
        assert_eq!(
            go("/new", true, 1, "/old/x"),
            "https://www.kp.example/new/x?a=b"
        );
        assert_eq!(
            go("/new", true, 1, "/old"),
            "https://www.kp.example/new/?a=b"
        );
        assert_eq!(go("/new", false, 1, "/old/x"), "https://www.kp.example/new");
        assert_eq!(
            go("https://kp.example/p", false, 0, "/x"),
            "https://kp.example/p"
        );
    }
}
