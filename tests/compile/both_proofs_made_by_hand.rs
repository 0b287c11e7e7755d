use super::login::*;
use super::session::open;

fn attempt(half: Authenticated, code: CodeProof) {
    open(Authenticated { code, ..half });
}
