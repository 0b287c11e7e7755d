use super::login::*;
use super::session::open;

fn attempt(proof: super::login::PasswordProof) {
    drop(proof);
}
