//! What the hooks of a server's file did to the machine, as commands that take it back.

use super::Hooks;

/// Commands told at most.
const MOST: usize = 50;
/// Where the name of the interface cannot be told from the name of the file.
const UNNAMED: &str = "INTERFACE";

/// Lists the commands for root that take back what hooks did, the last deed first; what is not known is a comment.
/// None for a file without hooks.
pub(crate) fn undo(hooks: &Hooks, interface: &str) -> Vec<String> {
    if hooks.up.is_empty() && hooks.down.is_empty() {
        return Vec::new();
    }
    let interface = if is_interface(interface) {
        interface
    } else {
        UNNAMED
    };
    let named = |command: String| command.replace("%i", interface);
    let down: Vec<String> = commands(&hooks.down).map(named).collect();
    let mut told = vec![format!("systemctl disable --now wg-quick@{interface}")];
    let mut deeds: Vec<String> = commands(&hooks.up).map(named).collect();
    deeds.reverse();
    for deed in deeds {
        let back = reverse(&deed).unwrap_or_else(|| format!("# by hand: {}", deed.escape_debug()));
        // what the file takes back itself is done once its interface goes down
        if told.len() < MOST && !down.contains(&back) && !told.contains(&back) {
            told.push(back);
        }
    }
    let forward = "sysctl -w net.ipv4.ip_forward=0".to_owned();
    if !told.contains(&forward) {
        told.push(forward);
    }
    told.push(
        "# and take net.ipv4.ip_forward=1 out of /etc/sysctl.conf and /etc/sysctl.d, unless this machine forwards for \
         something else"
            .to_owned(),
    );
    told
}

/// Tells whether wg-quick(8) takes a name for an interface.
fn is_interface(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_=+.-".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(known)
}

/// Splits lines of a shell into commands, their words one space apart.
fn commands(lines: &[String]) -> impl Iterator<Item = String> {
    let parts = lines.iter().flat_map(|line| line.split([';', '&', '|']));
    let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    parts.map(words).filter(|command| !command.is_empty())
}

/// Returns the command that takes one back, if that is known.
fn reverse(command: &str) -> Option<String> {
    let plain = |char: char| char.is_ascii() && !char.is_ascii_control();
    if !command.chars().all(plain) {
        return None;
    }
    let mut words: Vec<&str> = command.split(' ').collect();
    let program = words.first()?.rsplit('/').next()?;
    match program {
        "iptables" | "ip6tables" => {
            let is_new = |word: &&str| ["-A", "--append", "-I", "--insert"].contains(word);
            let at = words.iter().position(is_new)?;
            *words.get_mut(at)? = "-D";
            // the place among the rules is not part of the rule
            let place = words
                .get(at + 2)
                .is_some_and(|word| word.parse::<u32>().is_ok());
            if place {
                words.remove(at + 2);
            }
            Some(words.join(" "))
        }
        "ip" => {
            let at = words.iter().position(|word| *word == "add")?;
            *words.get_mut(at)? = "del";
            Some(words.join(" "))
        }
        "sysctl" => {
            let (name, value) = words.last()?.split_once('=')?;
            let forwards = name.ends_with("forward") || name.ends_with("forwarding");
            (forwards && value == "1").then(|| format!("sysctl -w {name}=0"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Hooks, undo};

    const UP: &str = "iptables -A FORWARD -i %i -j ACCEPT;  iptables -t nat -I POSTROUTING 1 -o eth0 -j MASQUERADE";
    const DOWN: &str = "iptables -D FORWARD -i wg0 -j ACCEPT; iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE";
    const STOP: &str = "systemctl disable --now wg-quick@wg0";
    const FORWARD: &str = "sysctl -w net.ipv4.ip_forward=0";

    fn told(up: &[&str], down: &[&str]) -> Vec<String> {
        let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let hooks = Hooks {
            up: own(up),
            down: own(down),
        };
        let mut told = undo(&hooks, "wg0");
        let last = told.pop();
        assert!(last.is_none_or(|text| text.starts_with("# and take net.ipv4.ip_forward=1 out")));
        told
    }

    #[test]
    fn what_the_file_takes_back_itself_is_left_to_it() {
        assert_eq!(told(&[UP], &[DOWN]), [STOP, FORWARD]);
    }

    #[test]
    fn what_it_does_not_is_told_the_last_first() {
        let nat = "iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE";
        let filter = "iptables -D FORWARD -i wg0 -j ACCEPT";
        assert_eq!(told(&[UP], &[]), [STOP, nat, filter, FORWARD]);
        let more = [
            "sysctl -w net.ipv4.ip_forward=1 && /sbin/ip rule add from 10.0.0.0/8 table 7",
            "/usr/local/bin/tell-office up",
        ];
        let all = [
            STOP,
            "# by hand: /usr/local/bin/tell-office up",
            "/sbin/ip rule del from 10.0.0.0/8 table 7",
            FORWARD,
        ];
        assert_eq!(told(&more, &[]), all);
    }

    #[test]
    fn without_hooks_there_is_nothing_to_take_back() {
        assert_eq!(told(&[], &[]), [""; 0]);
    }

    #[test]
    fn what_could_be_read_as_something_else_is_shown_and_not_told_as_a_command() {
        assert_eq!(
            told(&["iptables -A FORWARD \u{202e}x"], &[])[1],
            "# by hand: iptables -A FORWARD \\u{202e}x"
        );
        let hooks = Hooks {
            up: vec!["true".to_owned()],
            down: Vec::new(),
        };
        assert_eq!(
            undo(&hooks, "a b; reboot")[0],
            "systemctl disable --now wg-quick@INTERFACE"
        );
    }
}
