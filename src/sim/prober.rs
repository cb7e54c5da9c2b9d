//! Asking simulated containers over the network.

use async_trait::async_trait;

use super::world::SimHost;
use crate::model::time::Span;
use crate::port::prober::{Prober, Reply};

/// The network as a simulated host sees it.
#[derive(Clone, Debug)]
pub struct SimProber {
    host: SimHost,
}

impl SimProber {
    pub(super) fn new(host: SimHost) -> Self {
        Self { host }
    }

    async fn ask(&self, address: &str, yes: &str) -> Reply {
        self.host.alive().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let state = self.host.state();
        let now = state.now;
        let is_loopback = matches!(address, "127.0.0.1" | "localhost" | "::1");
        let ready = state.containers.values().any(|container| {
            let here = if is_loopback {
                container.settings.network_mode.as_deref() == Some("host") || !container.host_ports().is_empty()
            } else {
                container.addresses.values().any(|of| of == address)
            };
            here && container.answers(now)
        });
        let message = if ready { yes } else { "connection refused" };
        Reply { ready, message: message.to_owned() }
    }
}

#[async_trait]
impl Prober for SimProber {
    async fn http(&self, host: &str, _port: u16, _path: &str, status: Option<u16>, _timeout: Span) -> Reply {
        let mut reply = self.ask(host, "200 OK").await;
        if reply.ready && status.is_some_and(|status| status != 200) {
            reply.ready = false;
        }
        reply
    }

    async fn tcp(&self, host: &str, _port: u16, _timeout: Span) -> Reply {
        self.ask(host, "connected").await
    }
}
