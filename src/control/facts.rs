//! What the machine is: asked where the site has to know it, and told to the others. What anybody has told stays known
//! while he cannot be reached, so that nobody's state changes with who is there.

use std::sync::Arc;
use std::time::Duration;

use crate::model::facts::SiteFacts;

use super::reconciler::Reconciler;

/// Whoever does not say what he is within this time is asked again at the next look.
const PATIENCE: Duration = Duration::from_secs(10);

impl Reconciler {
    /// What is known of the machines of the site.
    pub(super) fn facts_now(&self) -> Arc<SiteFacts> {
        self.facts.borrow().clone()
    }

    /// Asks the machine after a look at all of it, and reads the site anew with what is known now. Whether it did.
    pub(super) async fn learn_facts(&mut self) -> bool {
        if let Some(moving) = self.asks_facts.clone()
            && std::mem::take(&mut self.facts_due)
            && let Some(host) = self.desired.as_ref().map(|desired| desired.host.clone())
        {
            match tokio::time::timeout(PATIENCE, self.ports.facts.facts(&moving)).await {
                Ok(Ok(found)) => {
                    let known = self.facts_now();
                    let before = known.get(&host).map(AsRef::as_ref);
                    let found = found.over(before);
                    if before != Some(&found)
                        && let Err(error) = self.ports.coordinator.tell_facts(found, self.mode.act).await
                    {
                        tracing::debug!(%error, "the others are not told what this machine is");
                        self.facts_due = true;
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "the machine does not say what it is"),
                Err(_) => tracing::debug!("the machine does not say what it is in time"),
            }
        }
        let is_news = self.facts.has_changed().unwrap_or(false);
        if is_news {
            self.hear_facts();
        }
        is_news
    }

    /// Something else is known of a machine.
    pub(super) fn hear_facts(&mut self) {
        if self.mode.follow_source && self.asks_facts.is_some() {
            self.read_site(false);
        } else {
            self.facts.mark_unchanged();
        }
    }
}
