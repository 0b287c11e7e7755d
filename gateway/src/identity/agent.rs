//! A User-Agent field in a few words.

/// Products by the token that gives them away, in the order to look: most claim to be others too.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Names browser and system, such as `Firefox, Windows`; empty for what it does not know. The
/// words are of a closed list, whatever the field says.
pub(crate) fn browser(agent: &str) -> String {
    let browser = find(&BROWSERS, agent);
    let system = find(&SYSTEMS, agent);
    let words: Vec<&str> = browser.into_iter().chain(system).collect();
    words.join(", ")
}

fn find(table: &[(&str, &'static str)], agent: &str) -> Option<&'static str> {
    let found = table.iter().find(|(token, _)| agent.contains(token));
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn common_browsers_are_named_by_what_they_are() {
        for (agent, words) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0",
                "Firefox, Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
                "Edge, Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/130.0.0.0 Mobile Safari/537.36",
                "Chrome, Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari, iPhone",
            ),
            ("curl/8.5.0", "curl"),
        ] {
            assert_eq!(browser(agent), words);
        }
    }

    #[test]
    fn an_unknown_agent_gives_no_words() {
        assert_eq!(browser("<script>alert(1)</script>"), "");
        assert_eq!(browser(""), "");
    }
}
