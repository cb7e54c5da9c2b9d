//! What is known about an instance, a job, a host or a site, in the form of Kubernetes' `metav1.Condition`.

use serde::{Deserialize, Serialize};

use super::time::{Timestamp, rfc3339_option};

/// What a condition is about. The set is closed, so that it can be a label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// It runs, is healthy and has passed its gate.
    Ready,
    /// It is not yet as desired, and something is being done about it.
    Reconciling,
    /// It is not as desired, and nothing more will be done without a person or a change outside.
    Stalled,
    /// Something failed from which nothing leads back: a person has to look.
    Halted,
    /// What lives differs from what is desired.
    Drifted,
    /// A rollout goes on (True), or has missed its deadline (False).
    Progressing,
    /// A newer spec failed here, and the one before it was put back.
    RolledBack,
    /// A spec failed here and is not tried again.
    Quarantined,
    /// A person's word keeps it as it is: a pause, a stop, a cordon, a pin.
    Paused,
    /// The name that it needs belongs to a container that is not ours.
    NameTaken,
    /// A port that it needs is held by something that is not ours.
    PortHeldBy,
    /// It waits for another service, a job, an image or a fact.
    Waiting,
    /// It dies again and again.
    CrashLooping,
    /// Its removal waits for `--allow-prune`.
    RemovalHeld,
    /// The state cannot be known: its engine cannot be asked.
    Unknown,
}

impl ConditionType {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 15] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::Halted,
        Self::Drifted,
        Self::Progressing,
        Self::RolledBack,
        Self::Quarantined,
        Self::Paused,
        Self::NameTaken,
        Self::PortHeldBy,
        Self::Waiting,
        Self::CrashLooping,
        Self::RemovalHeld,
        Self::Unknown,
    ];

    /// As it is written in JSON and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Halted => "Halted",
            Self::Drifted => "Drifted",
            Self::Progressing => "Progressing",
            Self::RolledBack => "RolledBack",
            Self::Quarantined => "Quarantined",
            Self::Paused => "Paused",
            Self::NameTaken => "NameTaken",
            Self::PortHeldBy => "PortHeldBy",
            Self::Waiting => "Waiting",
            Self::CrashLooping => "CrashLooping",
            Self::RemovalHeld => "RemovalHeld",
            Self::Unknown => "Unknown",
        }
    }
}

/// Whether it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "Kubernetes' own words")]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(is_so: bool) -> Self {
        if is_so { Self::True } else { Self::False }
    }
}

/// The reason of `Unknown` where the engine answers, and is none that is worked with.
pub const ENGINE_UNSUPPORTED: &str = "EngineUnsupported";

/// The same where it is not the engine that it was.
pub const HOST_IDENTITY_CHANGED: &str = "HostIdentityChanged";

/// The reason of `Stalled` where data that was there is gone.
pub const VOLUME_LOST: &str = "VolumeLost";

/// The reason of `Waiting` where it is not known what something should be, for want of a fact of a machine.
pub const FACT_MISSING: &str = "FactMissing";

/// The reason of `Waiting` where files that are born at run time are not known yet.
pub const FILESET_MISSING: &str = "FilesetMissing";

/// One condition. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, as one word in CamelCase for programs: `GateFailed`, `ImagePullFailed`.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Since when the status has been what it is, where that is known.
    #[serde(rename = "lastTransitionTime", with = "rfc3339_option", default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Condition {
    /// A condition whose beginning is filled in by [`carry_over`].
    pub fn new(
        kind: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, status: status.into(), reason: reason.into(), message: message.into(), since: None }
    }

    /// Whether it is so for sure.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// Gives new conditions the time of their last change of status, given those of the pass before.
pub fn carry_over(before: &[Condition], after: &mut [Condition], now: Timestamp) {
    for condition in after {
        if condition.since.is_none() {
            condition.since = before
                .iter()
                .find(|old| old.kind == condition.kind && old.status == condition.status)
                .and_then(|old| old.since)
                .or(Some(now));
        }
    }
}

/// Looks a condition up.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// Whether a condition is there and true.
pub fn holds(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(Condition::is_true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_kubernetes_writes_it() {
        let mut condition = Condition::new(ConditionType::RolledBack, true, "GateFailed", "exited with 3");
        condition.since = Some(Timestamp(1_700_000_000_000));
        let text = serde_json::to_string(&condition).unwrap();
        insta::assert_snapshot!(text, @r#"{"type":"RolledBack","status":"True","reason":"GateFailed","message":"exited with 3","lastTransitionTime":"2023-11-14T22:13:20Z"}"#);
        assert_eq!(serde_json::from_str::<Condition>(&text).unwrap(), condition);
    }

    #[test]
    fn names_agree_with_their_json() {
        for kind in ConditionType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn the_time_changes_only_with_the_status() {
        let mut before = [Condition::new(ConditionType::Ready, false, "Starting", "")];
        carry_over(&[], &mut before, Timestamp(1));
        let mut same = [Condition::new(ConditionType::Ready, false, "Unhealthy", "")];
        carry_over(&before, &mut same, Timestamp(2));
        assert_eq!(same[0].since, Some(Timestamp(1)));
        let mut changed = [Condition::new(ConditionType::Ready, true, "Ready", "")];
        carry_over(&same, &mut changed, Timestamp(3));
        assert_eq!(changed[0].since, Some(Timestamp(3)));
    }
}
