//! How well the time of a refusal tells what the name stands for.

use super::guess::{best_guess, by_chance};
use super::*;

const APR1: &str = "$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY/";
const BCRYPT_4: &str = "$2b$04$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC";
const BCRYPT_6: &str = "$2b$06$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC";
/// alice has both factors.
const NAMES: [&str; 6] = ["alice", "", "mallory", "carol", "dave", "erin"];
/// Draws an order; a time of load then meets all names alike.
fn shuffled<const N: usize>(mut all: [usize; N]) -> [usize; N] {
    for at in (1..N).rev() {
        let [drawn] = crate::ids::random();
        all.swap(at, usize::from(drawn) % (at + 1));
    }
    all
}

#[expect(clippy::print_stdout, reason = "the figure of a long run")]
#[tokio::test]
async fn the_time_of_a_refusal_does_not_tell_what_the_name_stands_for() {
    // at 5,000 tries, 52 % is exceeded by chance in one run of 300
    let (tries, most) = match std::env::var_os("POSTERN_LONG") {
        Some(_) => (5000, 0.52),
        None => (500, by_chance(500, NAMES.len() - 1)),
    };
    let bench = Bench::new().await;
    for (user, verifier) in [("carol", APR1), ("dave", BCRYPT_4), ("erin", BCRYPT_6)] {
        bench.people.set(user, Standing::Active);
        assert!(bench.identity.import(user, verifier, NOW).await.unwrap());
    }
    let mut times: [Vec<u64>; NAMES.len()] = Default::default();
    for n in 0..tries {
        for kind in shuffled::<{ NAMES.len() }>(std::array::from_fn(|kind| kind)) {
            // nobody has one of these
            let user = match NAMES[kind] {
                "" => format!("u{n:04}"),
                user => user.to_owned(),
            };
            let [_, _, c, d] = u32::to_be_bytes(n);
            let from = bench.from(NOW, &format!("10.{kind}.{c}.{d}"));
            let start = clock::now();
            let step = bench.password(&user, "not the password", from).await;
            let time = clock::now().duration_since(start);
            assert!(matches!(step, PasswordStep::Refused), "{user}: {step:?}");
            times[kind].push(u64::try_from(time.as_nanos()).unwrap());
            if n % 50 == 49 {
                bench.identity.unlock(&user, NOW).await.unwrap();
            }
        }
    }
    for (name, others) in NAMES.iter().zip(&times).skip(1) {
        let guess = best_guess(&times[0], others);
        println!(
            "alice and {name:?}, {tries} tries each: {:.2} %",
            guess * 100.0
        );
        assert!(guess <= most, "{name:?}: {guess} > {most}");
    }
}
