//! What comments call a peer.

/// The longest name in characters.
const NAME_MAX: usize = 64;
/// Words that scripts write before the name.
const LEADS: [&str; 7] = [
    "client",
    "peer",
    "name",
    "user",
    "device",
    "friendly_name",
    "begin_peer",
];

/// Takes the name out of a comment, such as `## Client alice` or `friendly_name = alice`.
pub(super) fn of_comment(comment: &str) -> Option<String> {
    let is_frame = |c: char| c == '#' || c == '-' || c == '=' || c == ':' || c.is_whitespace();
    let is_gap = |c: char| c == '=' || c == ':' || c.is_whitespace();
    let mut rest = comment.trim_matches(is_frame);
    while let Some((word, after)) = rest.split_once(is_gap) {
        let is_lead = LEADS.iter().any(|lead| word.eq_ignore_ascii_case(lead));
        if !is_lead {
            break;
        }
        rest = after.trim_start_matches(is_frame);
    }
    let fits =
        !rest.is_empty() && rest.chars().count() <= NAME_MAX && !rest.chars().any(char::is_control);
    fits.then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::of_comment;

    #[test]
    fn the_words_of_common_scripts_are_left_out() {
        for (comment, name) in [
            (" alice", Some("alice")),
            ("## Client alice", Some("alice")),
            (" Name: alice laptop", Some("alice laptop")),
            (" friendly_name = alice", Some("alice")),
            (" BEGIN_PEER alice", Some("alice")),
            (" peer-one", Some("peer-one")),
            ("----------", None),
            (" client", Some("client")),
            ("", None),
        ] {
            assert_eq!(of_comment(comment).as_deref(), name, "{comment}");
        }
        assert_eq!(of_comment(&"x".repeat(65)), None);
    }
}
