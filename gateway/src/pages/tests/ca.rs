//! The page that gives the root certificate.

use certs::Root;

use super::fake::Fake;
use super::handlers::get;

fn with_root() -> (Fake, String) {
    let root = Root::create("R", 1_790_000_000).unwrap();
    let mut fake = Fake::stranger();
    fake.ca_root = Some(root.pem().to_owned());
    (fake, root.pem().to_owned())
}

#[tokio::test]
async fn the_root_is_given_to_anybody_with_its_fingerprint_in_three_languages() {
    let (fake, pem) = with_root();
    for (path, word) in [
        ("/ca", "Root certificate"),
        ("/ca?lang=fr", "Certificat racine"),
        ("/ca?lang=de", "Stammzertifikat"),
    ] {
        let page = fake.clone().gate(get(path)).await;
        assert!(page.is_page() && page.body().contains(word), "{path}");
        assert_eq!(page.body().matches("<ol>").count(), 6, "{path}");
        // 32 bytes in pairs
        assert!(
            page.body()
                .split(['<', '>'])
                .any(|w| w.len() == 95 && w.matches(':').count() == 31)
        );
    }
    let file = fake.gate(get("/ca/root.pem")).await;
    assert_eq!((file.status(), file.body()), (200, pem.as_str()));
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"root.pem\""
    );
}

#[tokio::test]
async fn without_an_internal_authority_there_is_no_root() {
    for path in ["/ca", "/ca/root.pem", "/ca/root.crt"] {
        assert_eq!(
            Fake::stranger().gate(get(path)).await.status(),
            404,
            "{path}"
        );
    }
}
