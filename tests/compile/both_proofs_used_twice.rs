use super::login::*;
use super::session::open;

fn attempt(both: Authenticated) {
    open(both);
    open(both);
}
