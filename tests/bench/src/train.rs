//! Work for a build that counts how often its parts run: what people do at both doors, without peers and without
//! figures.

use crate::load::Shape;
use crate::nginx::FILES;
use crate::report::Report;
use crate::scene::Scene;
use crate::{certificates, sockets, tunnel};

const SECONDS: u32 = 5;

/// Streams in the tunnel, requests, bodies, handshakes and sockets, one after the other.
pub fn run(_: &Report) {
    // first: its gateway is an unprivileged user, whose counts root adds to, but not the other way round
    tunnel::train();
    let scene = Scene::new();
    let [gateway, ..] = scene.sign_in();
    let [(one, one_of), (hundred, hundred_of)] = FILES;
    for shape in [
        Shape::KeptAlive,
        Shape::Multiplexed,
        Shape::Writes(64),
        Shape::Bodies(16, one),
        Shape::Bodies(2, hundred),
        Shape::Uploads(16, one_of),
        Shape::Uploads(2, hundred_of),
    ] {
        let _figures = scene.load(&gateway, shape, SECONDS);
    }
    certificates::train(&gateway, u64::from(SECONDS));
    // a build that counts writes what it counted when it ends
    drop(scene);
    sockets::train();
}
