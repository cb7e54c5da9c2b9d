//! The name of a plan: the same changes from the same state to the same specs have the same one.

use sha2::{Digest as _, Sha256};

use crate::model::desired::HostDesired;

use super::step::SubjectPlan;

/// Twelve hex digits over all changes with their causes, and over the specs that they lead to.
pub fn plan_id(desired: &HostDesired, plans: &[SubjectPlan]) -> String {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for (name, instance) in &desired.services {
        add(name.as_str());
        add(&instance.input_hash);
    }
    for plan in plans {
        if let Some(change) = &plan.change {
            add(&plan.subject.to_string());
            add(&serde_json::to_string(change).unwrap_or_default());
        }
    }
    hex::encode(hasher.finalize()).chars().take(12).collect()
}
