//! Network namespaces joined by veth pairs; they need root and go away with their owner.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::process::must;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace with loopback up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace; the label is a few letters for humans.
    #[must_use]
    pub fn new(label: &str) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the namespaces of this test need root"
        );
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postern-{}-{number}-{label}", std::process::id());
        must("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        // the search for another that has an address changes the address a second later, and a browser inside gives up
        // what it loads then; where the host lets nobody say so it is as before
        namespace.enter(|| {
            for links in ["all", "default"] {
                drop(std::fs::write(
                    format!("/proc/sys/net/ipv6/conf/{links}/accept_dad"),
                    "0",
                ));
            }
        });
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside.
    pub fn ip(&self, args: &[&str]) {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend(args);
        must("ip", &all);
    }

    /// Names the link that has an address.
    #[must_use]
    pub fn link_of(&self, address: &str) -> String {
        let address = address.split('/').next().unwrap();
        let shown = must(
            "ip",
            &["-n", &self.name, "-o", "addr", "show", "to", address],
        );
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let link = shown.split_whitespace().nth(1);
        link.unwrap_or_else(|| panic!("nothing has {address}"))
            .to_owned()
    }

    /// Returns the words that start a program inside.
    #[must_use]
    pub fn wrap(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name]
            .map(str::to_owned)
            .to_vec()
    }

    /// Returns a command that starts a program inside.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `work` on a thread inside; sockets it makes stay inside wherever they go.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.name, work)
    }

    /// Returns a way in that others may keep.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry(self.name.clone())
    }
}

/// A way into a namespace that somebody else owns.
#[derive(Clone, Debug)]
pub struct Entry(String);

impl Entry {
    /// As [`Namespace::enter`].
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.0, work)
    }
}

/// As [`Namespace::enter`], by the name of the namespace.
pub(crate) fn enter<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{name}");
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let file = File::open(&path).unwrap();
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        match inside.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
        drop(deleted);
    }
}

/// Joins two namespaces by a cable; addresses are written with their prefix.
pub fn join(a: &Namespace, a_address: &str, b: &Namespace, b_address: &str) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let id = std::process::id() % 100_000;
    let (left, right) = (format!("pl{id}x{number}"), format!("pr{id}x{number}"));
    must(
        "ip",
        &[
            "link", "add", &left, "netns", &a.name, "type", "veth", "peer", "name", &right,
            "netns", &b.name,
        ],
    );
    for (namespace, link, address) in [(a, &left, a_address), (b, &right, b_address)] {
        add_address(namespace, link, address);
        namespace.ip(&["link", "set", link, "up"]);
    }
}

/// Joins two namespaces by a cable that carries both families.
pub fn join_both(a: &Namespace, a_addresses: [&str; 2], b: &Namespace, b_addresses: [&str; 2]) {
    join(a, a_addresses[0], b, b_addresses[0]);
    for (namespace, address, other) in [
        (a, a_addresses[0], a_addresses[1]),
        (b, b_addresses[0], b_addresses[1]),
    ] {
        let link = namespace.link_of(address);
        add_address(namespace, &link, other);
    }
}

/// An IPv6 address is usable at once only without the search for another that has it.
fn add_address(namespace: &Namespace, link: &str, address: &str) {
    let mut args = vec!["addr", "add", address, "dev", link];
    if address.contains(':') {
        args.push("nodad");
    }
    namespace.ip(&args);
}

/// Returns the words that run a program inside as user `nobody`, with a tunnel device that this
/// user may open.
#[must_use]
pub fn as_nobody(namespace: &Namespace) -> Vec<String> {
    let script = "mount -t tmpfs -o mode=755 tmpfs /dev/net && \
                  mknod -m 666 /dev/net/tun c 10 200 && \
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups -- \"$@\"";
    let mut words = namespace.wrap();
    let rest = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
    ];
    words.extend(rest.map(str::to_owned));
    words
}
