use super::login::*;
use super::session::open;

fn attempt(user: UserName) -> CodeProof {
    CodeProof { user, at: 0 }
}
