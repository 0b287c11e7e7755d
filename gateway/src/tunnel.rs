//! The tunnel door.

mod bucket;
mod dns;
mod door;
mod flows;
pub(crate) mod gate;
pub(crate) mod namespace;
mod peers;
mod reach;
mod shard;
mod sys;
mod udp;

pub(crate) struct Handle;
impl Handle {
    pub(crate) async fn start(_: &std::sync::Arc<crate::gateway::Gateway>) -> Self {
        Self
    }
    pub(crate) fn why_down(&self) -> Option<String> {
        Some("not yet".to_owned())
    }
    pub(crate) async fn sync_peers(&self) {}
    pub(crate) async fn shutdown(&self) {}
    pub(crate) async fn peer_status(&self, _: crate::ids::DeviceId) -> Option<wg::PeerStatus> {
        None
    }
}
pub(crate) fn server_key(
    _: &crate::config::Config,
    _: &crate::secrets::Keys,
) -> Result<wg::PrivateKey, String> {
    Err(String::new())
}
pub(crate) mod client {
    pub(crate) fn routes(_: &crate::config::Config, _: &policy::Policy) -> Vec<ipnet::IpNet> {
        vec![]
    }
}
