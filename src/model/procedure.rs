//! What a role says of a service beyond its container: what can be asked of it, its variants, and procedures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::desired::InstanceDesired;
use super::names::{HostName, RoleName, ServiceName};
use super::time::{Span, Timestamp};

/// What is known of every member, whatever the role asks.
pub const FACTS: [&str; 6] = ["name", "ordinal", "running", "ready", "has_been_ready", "variant"];

/// A service of a role as one of several members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Behaviour {
    /// What can be asked of it.
    pub probes: BTreeMap<String, ValueProbe>,
    /// The service with a patch each; only a procedure chooses one.
    pub variants: BTreeMap<String, Arc<InstanceDesired>>,
    /// A dead instance is not started while this is not known to be so.
    pub hold_unless: Option<String>,
}

/// A question whose answer is a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueProbe {
    /// A command in the running container.
    Exec {
        /// Program and arguments; it prints JSON.
        command: Vec<String>,
        /// How often.
        every: Span,
        /// For one answer.
        timeout: Span,
    },
    /// A container like that of the service, while that does not run, when a procedure wants to know.
    Stopped(OneOff),
}

/// A command in a container like that of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Another network than that of the service.
    pub network_mode: Option<String>,
    /// How long it may take.
    pub timeout: Span,
}

/// A procedure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcedureDesired {
    /// Role, as it is called in the site.
    pub role: RoleName,
    /// Its name.
    pub name: String,
    /// The service whose instances it is about.
    pub service: ServiceName,
    /// The hosts of these, in the order of the site.
    pub members: Vec<HostName>,
    /// When it begins by itself.
    pub auto: Option<Auto>,
    /// What has to be the same for all members, before one is chosen.
    pub same: Option<Same>,
    /// How a refusal is told.
    pub refuse: Refuse,
    /// Other services that are left alone meanwhile.
    pub fence: BTreeSet<ServiceName>,
    /// What is done.
    pub steps: Vec<ProcedureStep>,
}

impl ProcedureDesired {
    /// Under which its record stands.
    pub fn record_name(&self) -> String {
        format!("procedure/{}/{}", self.role, self.name)
    }
}

/// When a procedure begins by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auto {
    /// While this is so ...
    pub when: String,
    /// ... for so long.
    pub lasts: Span,
}

/// What has to be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Same {
    /// The value.
    pub value: String,
    /// Of which members; none is all.
    pub among: Option<String>,
}

/// How a refusal is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// In CamelCase.
    pub reason: String,
    /// What a person may do.
    pub way_out: Option<String>,
}

/// Whom a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// All members.
    All,
    /// The one that was chosen.
    Chosen,
    /// All but that one.
    Others,
    /// The one that a person named.
    Given,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcedureStep {
    /// Until none of them runs.
    Stop {
        /// Which.
        at: Whom,
        /// How long each may take, where nobody is served any more: nothing is run in it before.
        grace: Option<Span>,
    },
    /// Until the value is known of each.
    Probe {
        /// Name of a probe of the kind `run`.
        probe: String,
        /// How it is asked.
        how: OneOff,
        /// Which.
        at: Whom,
    },
    /// Until one is chosen.
    Choose {
        /// Who can be chosen; none is each.
        among: Option<String>,
        /// What counts, the first the most; the order of the site at last.
        by: Vec<Rank>,
    },
    /// Until the command has ended well. It may be run more than once.
    Run {
        /// What.
        how: OneOff,
        /// Which.
        at: Whom,
    },
    /// Until they are ready.
    Start {
        /// Which.
        at: Whom,
        /// As what; none is as the service is.
        variant: Option<String>,
        /// How many at a time; none is all.
        parallel: Option<u32>,
    },
    /// Until the probe says so: the volumes are made anew.
    Wipe {
        /// Which.
        at: Whom,
        /// Engine names.
        volumes: Vec<String>,
        /// What is true of a member whose volumes are empty.
        until: String,
        /// The probe that `until` asks.
        probe: String,
        /// How it is asked.
        how: OneOff,
    },
}

/// What one is chosen by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    /// The value, a number.
    pub value: String,
    /// Whether the largest is the best.
    pub largest: bool,
}

/// What hosts agree on about a procedure: what cannot be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcedureRecord {
    /// When it began.
    pub began: Timestamp,
    /// Who wanted it: `auto`, or a person.
    pub by: String,
    /// Who was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<HostName>,
    /// Whom a person has chosen, whatever is lost with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<HostName>,
    /// Whom a person named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<HostName>,
    /// How often it had to go back.
    #[serde(default)]
    pub attempt: u32,
    /// When it may choose again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Whether the given one was begun to be wiped.
    #[serde(default)]
    pub wiped: bool,
    /// When it ended; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How it ended, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
}

/// What a procedure has one member do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Nothing: it is left as it is.
    Leave,
    /// Do not run.
    Stop {
        /// As in [`ProcedureStep::Stop`].
        grace: Option<Span>,
    },
    /// Do not run, and find something out or do something meanwhile.
    Ask {
        /// What the answer is called.
        key: String,
        /// How.
        how: OneOff,
        /// Whether the answer is a value; else it is enough that it ends well.
        gives_value: bool,
    },
    /// Run as this.
    Start {
        /// Variant; none is as the service is.
        variant: Option<String>,
    },
    /// Have these volumes made anew.
    Wipe {
        /// What its result is called.
        key: String,
        /// Engine names.
        volumes: Vec<String>,
    },
}

/// The same with the reason, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instructed {
    /// What.
    pub what: Instruction,
    /// Why: `procedure recover, step 3 of 7: choose`.
    pub why: String,
    /// What keeps the procedure from going on, as a reason in CamelCase and for people.
    pub refused: Option<(String, String)>,
}
