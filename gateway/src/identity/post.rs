//! What carries news to people besides our pages.

use std::net::IpAddr;

use async_trait::async_trait;

use super::notices::Notice;

/// Brings news and links to where people read them; the mail, or a list in tests.
#[async_trait]
pub(crate) trait Post: Send + Sync {
    /// Brings a notice.
    async fn notice(&self, user: &str, notice: &Notice);
    /// Brings the link of somebody who forgot the password, asked for at `at` from `source`.
    async fn reset(&self, user: &str, token: &str, at: i64, source: IpAddr);
}
