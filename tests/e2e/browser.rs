//! A person at a real browser before a real Streamlit app.

use std::time::Duration;

use postern_tests::chrome::Chrome;
use postern_tests::curl::Client;
use postern_tests::gateway::Gateway;
use postern_tests::streamlit::Streamlit;
use postern_tests::wait;

const APP: &str = r#"
import streamlit as st
st.title("Payroll of the office")
name = st.text_input("Name", key="name")
if st.button("Greet"):
    st.write(f"Good day {name}, says the server")
"#;

#[test]
fn a_person_signs_in_by_typing_and_uses_a_streamlit_app() {
    let app = Streamlit::start(APP);
    let gateway = Gateway::demo_before(&app.url);
    let demo = &gateway.facts.demo;
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.open(&gateway.facts.app);
    assert!(
        chrome.url().starts_with(&gateway.facts.portal),
        "{}",
        chrome.url()
    );
    chrome.type_into("input[name=username]", &demo.user);
    chrome.type_into("input[name=password]", &format!("{}\n", demo.password));
    chrome.type_into("input[name=code]", &format!("{}\n", demo.code()));
    chrome.wait_for_text("Payroll of the office");
    assert!(
        chrome.url().starts_with(&gateway.facts.app),
        "{}",
        chrome.url()
    );
    chrome.type_into("input[aria-label=Name]", "Ines\n");
    chrome.click("[data-testid=stButton] button");
    chrome.wait_for_text("Good day Ines, says the server");
    let script = Client::new(&gateway).fetch(&gateway.facts.app);
    assert_eq!(script.status, 401, "{script:?}");
}

#[test]
fn a_wrong_password_typed_into_the_page_opens_nothing() {
    let gateway = Gateway::demo();
    let chrome = Chrome::start(&gateway.facts.ca_root);
    chrome.open(&gateway.facts.app);
    chrome.type_into("input[name=username]", "demo");
    chrome.type_into("input[name=password]", "not the password at all\n");
    wait::until_true(Duration::from_secs(20), "the page says so", || {
        chrome.has("[role=alert]")
    });
    assert!(
        chrome.url().starts_with(&gateway.facts.portal),
        "{}",
        chrome.url()
    );
    assert!(!chrome.has("input[name=code]"));
}
