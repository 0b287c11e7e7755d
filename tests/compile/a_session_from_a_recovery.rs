use super::login::*;
use super::session::open;

fn attempt(half: AwaitingCode, code: &RecoveryProof) {
    if let Ok(may) = half.recovered(code, Standing::Active) {
        open(may);
    }
}
