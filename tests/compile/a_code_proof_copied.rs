use super::login::*;
use super::session::open;

fn attempt(code: CodeProof) -> (CodeProof, CodeProof) {
    (code.clone(), code)
}
