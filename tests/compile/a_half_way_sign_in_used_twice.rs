use super::login::*;
use super::session::open;

fn attempt(half: AwaitingCode, one: CodeProof, other: CodeProof) {
    for code in [half.accepted(one, Standing::Active), half.accepted(other, Standing::Active)] {
        drop(code);
    }
}
