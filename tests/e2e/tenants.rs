//! Two customers behind one gateway, with the same people, the same paths and one cache.

use std::fs;
use std::net::Ipv4Addr;

use postern_tests::curl::Client;
use postern_tests::gateway::{Gateway, Person, Setup};
use postern_tests::netns::Namespace;
use postern_tests::replica::Replica;
use serde_json::Value;

const CUSTOMERS: [&str; 2] = ["one", "two"];

struct Scene {
    apps: [Replica; 2],
    gateway: Gateway,
    people: [Client; 2],
    _edge: Namespace,
}

impl Scene {
    /// The customers' apps lie on addresses of their own: a customer may name none of the gateway's machine.
    fn new() -> Self {
        let edge = Namespace::new("edge");
        let apps = [1, 2].map(|host| {
            let address = Ipv4Addr::new(10, 79, 0, host);
            edge.ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
            let name = CUSTOMERS[usize::from(host) - 1];
            edge.enter(|| Replica::at(name, address))
        });
        let gateway = Gateway::start(Setup {
            wrap: edge.wrap(),
            ..Setup::default()
        });
        let mut root = "postern = 1\n[group]\nadmins = [\"demo\"]\nstaff = [\"demo\", \"guest\"]\n\
                        [admin]\nallow.admins = { who = \"@admins\" }\n"
            .to_owned();
        for (name, app) in CUSTOMERS.iter().zip(&apps) {
            root += &format!(
                "[tenant.{name}]\ndir = \"tenants/{name}\"\ndomains = [\"{name}.gate.localhost\"]\n"
            );
            let folder = gateway.facts.policy.join("tenants").join(name);
            fs::create_dir_all(&folder).unwrap();
            let people = "allow.people = { who = \"@root/staff\" }";
            let text = format!(
                "postern = 1\n[app.web]\nhost = \"{name}.gate.localhost\"\nupstream = \"{}\"\n\
                 cache = {{ ttl = \"5m\", shared = \"the same for all of this customer\" }}\n{people}\n\
                 [app.web.\"/mine\"]\ncache = {{ ttl = \"5m\" }}\n{people}\n",
                app.url()
            );
            fs::write(folder.join("policy.toml"), text).unwrap();
        }
        gateway.open_policy(&root);
        let resolve = [format!("*:{}:127.0.0.1", gateway.https_port())];
        let signed_in = |person: &Person| {
            let client = Client::with(&gateway.facts.ca_root, &resolve, &edge.wrap());
            let page = client.sign_in(&gateway.facts.portal, person);
            assert_eq!(page.status, 200, "{page:?}");
            client
        };
        let people = [
            signed_in(&gateway.facts.demo),
            signed_in(&gateway.facts.guest),
        ];
        Self {
            apps,
            gateway,
            people,
            _edge: edge,
        }
    }

    /// How many requests for a path each of the apps got.
    fn hits(&self, path: &str) -> [usize; 2] {
        let at = |app: &Replica| {
            app.seen()
                .iter()
                .filter(|seen| seen.target() == path)
                .count()
        };
        [at(&self.apps[0]), at(&self.apps[1])]
    }

    /// Has everybody ask both customers for a path, and asserts that each answer is that customer's.
    fn everybody_asks(&self, path: &str) {
        for client in &self.people {
            for name in CUSTOMERS {
                let url = self
                    .gateway
                    .facts
                    .portal
                    .replace("://gate.", &format!("://{name}.gate."));
                let answer = client.follow(&format!("{url}{}", &path[1..]));
                let expected = format!("replica {name} saw {path}\n");
                assert_eq!((answer.status, answer.body), (200, expected));
            }
        }
    }
}

#[test]
fn one_customer_never_gets_what_is_kept_of_another() {
    let scene = Scene::new();
    for _ in 0..3 {
        scene.everybody_asks("/list");
        scene.everybody_asks("/mine");
    }
    assert_eq!(scene.hits("/list"), [1, 1], "one for all of a customer");
    assert_eq!(scene.hits("/mine"), [2, 2], "one for each person at each");
    // what one of them forgets, the other keeps
    let purged: Value =
        serde_json::from_str(&scene.gateway.must(&["cache", "purge", "one/web", "--json"]))
            .unwrap();
    assert_eq!(purged["answers"], 3, "{purged}");
    scene.everybody_asks("/list");
    scene.everybody_asks("/mine");
    assert_eq!((scene.hits("/list"), scene.hits("/mine")), ([2, 1], [4, 2]));
}

#[test]
fn a_customers_file_names_no_host_of_another_and_changes_nothing_there() {
    let scene = Scene::new();
    scene.everybody_asks("/list");
    let file = scene.gateway.facts.policy.join("tenants/one/policy.toml");
    let good = fs::read_to_string(&file).unwrap();
    for bad in [
        good.replace("one.gate.localhost", "two.gate.localhost"),
        good.replace(
            "upstream = \"http://10.79.0.1",
            "upstream = \"http://127.0.0.1",
        ),
        good.replace("@root/staff", "@two/any-user"),
    ] {
        assert_ne!(bad, good);
        fs::write(&file, bad).unwrap();
        let refused = scene.gateway.run(&["reload"]);
        assert_eq!(refused.status.code(), Some(78), "{refused:?}");
        scene.everybody_asks("/list");
    }
    fs::write(&file, good.replace("5m", "6m")).unwrap();
    scene.gateway.must(&["reload"]);
    scene.everybody_asks("/list");
}
