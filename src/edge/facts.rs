//! What a machine is: its engine is asked, and for addresses its own commands.
//!
//! In: the engine's client, and over SSH the same connection. Out: [`HostFacts`]. An engine on TCP leads to no command, so
//! its machine's addresses stay unknown.

use core::net::IpAddr;
use std::collections::BTreeSet;

use async_trait::async_trait;

use super::docker::DockerObserver;
use crate::model::facts::HostFacts;
use crate::observe::addresses::{QUESTION, read};
use crate::port::engine::Answer;
use crate::port::facts::Facts;

/// Asks the machine of an engine.
pub struct EngineFacts {
    observer: DockerObserver,
}

impl EngineFacts {
    /// On the connections of an observer.
    pub fn over(observer: DockerObserver) -> Self {
        Self { observer }
    }

    async fn addresses(&self) -> Option<String> {
        if let Some(link) = self.observer.ssh() {
            let answer = link.shell(QUESTION).await;
            return answer.map_err(|error| tracing::debug!(%error, "no addresses of the host")).ok();
        }
        if !self.observer.is_local() {
            return None;
        }
        let output = tokio::process::Command::new("sh").args(["-c", QUESTION]).output().await;
        output.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[async_trait]
impl Facts for EngineFacts {
    async fn facts(&self, moving: &BTreeSet<IpAddr>) -> Answer<HostFacts> {
        let facts = self.observer.machine().await?;
        let interfaces = self.addresses().await.and_then(|answer| read(&answer, moving));
        Ok(HostFacts { interfaces, ..facts })
    }
}
