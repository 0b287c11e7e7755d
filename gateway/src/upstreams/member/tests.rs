use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::{Address, HASTE, LOOKUP, Looking, Nowhere};
use crate::clock;
use crate::upstreams::tests::by_name;

fn never() -> Looking {
    pending().boxed().shared()
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_hangs_holds_nobody_up_for_long() {
    let app = by_name("app.invalid", false, &[]);
    app.found.lock().looking = Some(never());
    let begun = tokio::time::Instant::now();
    let now = clock::now();
    assert_eq!(app.address(now).await, Err(Nowhere::Unknown));
    assert_eq!(begun.elapsed().as_secs(), LOOKUP.as_secs());
    // for a moment nobody asks again
    assert_eq!(app.address(now).await, Err(Nowhere::Unknown));
    assert_eq!(begun.elapsed().as_secs(), LOOKUP.as_secs());
    // with an address the others do not wait at all, and one a little
    let known = "10.0.0.1:80".parse().unwrap();
    app.learn([known].into_iter(), now);
    app.found.lock().looking = Some(never());
    let later = now + Duration::from_secs(31);
    let begun = tokio::time::Instant::now();
    assert_eq!(app.address(later).await, Ok(Address::Net(known)));
    assert_eq!(app.address(later).await, Ok(Address::Net(known)));
    assert!(begun.elapsed() < HASTE * 2);
}

#[tokio::test]
async fn all_who_wait_for_a_lookup_have_what_it_found() {
    let app = by_name("app.invalid", false, &[]);
    let (found, looked) = tokio::sync::oneshot::channel();
    let looking = async move { looked.await.ok() };
    app.found.lock().looking = Some(looking.boxed().shared());
    let known = "10.0.0.1:80".parse().unwrap();
    let now = clock::now();
    let answer = async { found.send((vec![known], now)).unwrap() };
    let (one, two, ()) = tokio::join!(app.address(now), app.address(now), answer);
    assert_eq!(
        (one, two),
        (Ok(Address::Net(known)), Ok(Address::Net(known)))
    );
    assert!(app.found.lock().looking.is_none());
}
