use super::login::*;
use super::session::open;

fn attempt(half: AwaitingCode) {
    open(half);
}
