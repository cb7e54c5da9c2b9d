//! What a simulated machine says that it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use async_trait::async_trait;

use super::SimEngine;
use crate::model::facts::HostFacts;
use crate::port::engine::Answer;
use crate::port::facts::Facts;

#[async_trait]
impl Facts for SimEngine {
    async fn facts(&self, moving: &BTreeSet<IpAddr>) -> Answer<HostFacts> {
        let mut facts = self.ask("facts", "", |state| Ok(state.machine.clone())).await?;
        for addresses in facts.interfaces.iter_mut().flat_map(BTreeMap::values_mut) {
            addresses.retain(|own| !moving.contains(&own.address));
        }
        Ok(facts)
    }
}
