use super::login::*;
use super::session::open;

fn attempt(code: CodeProof) {
    open(code);
}
