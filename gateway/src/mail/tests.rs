use std::sync::Arc;
use std::time::Duration;

use super::{DAY, KIND, Letter, Mail, Relay};
use crate::audit::Audit;
use crate::secrets::Keys;
use crate::store::{self, Store, tests::Folder};

const NOW: i64 = 1_800_000_000;

struct Bench {
    mail: Arc<Mail>,
    store: Arc<dyn Store>,
    audit: Audit,
    folder: Folder,
}

impl Bench {
    /// A mail whose server is a port where nobody listens.
    fn new() -> Self {
        let folder = Folder::new();
        let store = store::open(folder.path()).unwrap();
        let keys = Arc::new(Keys::create(&folder.path().join("key")).unwrap());
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let text = format!(
            "[mail]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"g@example.org\"\n"
        );
        let config = crate::config::Config::parse("/etc/p.toml".as_ref(), &text).unwrap();
        let relay = Relay::open(&config.mail, "gate").unwrap();
        let audit = Audit::open(&folder.path().join("audit"), &keys.derive_all("audit")).unwrap();
        Self {
            mail: Mail::new(relay, Arc::clone(&store), keys),
            store,
            audit,
            folder,
        }
    }

    async fn put(&self, user: &str, life: i64) -> bool {
        let letter = Letter {
            to: "ann@example.org".to_owned(),
            subject: "a secret subject".to_owned(),
            text: "a secret text".to_owned(),
        };
        self.mail.put(user, &letter, NOW, life).await.unwrap()
    }

    fn journal(&self) -> String {
        let files = std::fs::read_dir(self.folder.path().join("audit")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let lines = paths.filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
        lines.map(|p| std::fs::read_to_string(p).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_mail_waits_while_the_server_is_away_and_longer_each_time() {
    let bench = Bench::new();
    assert!(bench.put("ann", DAY).await);
    let mut now = NOW;
    for wait in [5, 10, 20] {
        let pause = bench.mail.send_due(&bench.audit, now).await.unwrap();
        assert_eq!(pause, Duration::from_secs(5));
        assert_eq!(bench.store.next_mail().await.unwrap(), Some(now + wait));
        now += wait;
    }
    let row = bench.store.due_mails(now, 9).await.unwrap().remove(0);
    assert_eq!(row.tries, 3);
    assert_eq!(bench.mail.open(&row).unwrap().text, "a secret text");
}

#[tokio::test]
async fn a_mail_is_given_up_after_its_time_on_record_and_a_younger_one_is_not() {
    let bench = Bench::new();
    assert!(bench.put("ann", DAY).await);
    bench
        .mail
        .send_due(&bench.audit, NOW + DAY - 1)
        .await
        .unwrap();
    assert_eq!(bench.store.mails().await.unwrap(), 1);
    let due = bench.store.next_mail().await.unwrap().unwrap();
    bench
        .mail
        .send_due(&bench.audit, due.max(NOW + DAY))
        .await
        .unwrap();
    assert_eq!(bench.store.mails().await.unwrap(), 0);
    bench.audit.close().await;
    let journal = bench.journal();
    assert!(journal.contains("mail-failed.1"), "{journal}");
    assert!(journal.contains("mail-too-old"), "{journal}");
    assert!(!journal.contains("secret"), "{journal}");
}

#[tokio::test]
async fn mails_lie_sealed_and_those_of_one_person_are_bounded() {
    let bench = Bench::new();
    for _ in 0..store::MAILS_OF_ONE {
        assert!(bench.put("ann", DAY).await);
    }
    assert!(!bench.put("ann", DAY).await);
    assert!(bench.put("ben", DAY).await);
    let row = bench.store.due_mails(NOW, 1).await.unwrap().remove(0);
    let shown = String::from_utf8_lossy(&row.sealed);
    assert!(
        !shown.contains("secret") && !shown.contains("ann@"),
        "{shown}"
    );
    let other = (row.id + 1).to_string();
    assert!(bench.mail.keys.open(KIND, &other, &row.sealed).is_none());
    bench.store.remove_user("ann").await.unwrap();
    assert_eq!(bench.store.mails().await.unwrap(), 1);
}

#[tokio::test]
async fn mails_outlive_a_restart() {
    let Bench {
        mail,
        store,
        audit,
        folder,
    } = Bench::new();
    let letter = Letter {
        to: "ann@example.org".to_owned(),
        subject: "s".to_owned(),
        text: "t".to_owned(),
    };
    assert!(mail.put("ann", &letter, NOW, DAY).await.unwrap());
    drop((mail, store, audit));
    let store = store::open(folder.path()).unwrap();
    assert_eq!(store.mails().await.unwrap(), 1);
}
