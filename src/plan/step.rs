//! The vocabulary of plans: changes as people see them, steps as the executor does them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::condition::Condition;
use crate::model::desired::{Hooks, InstanceDesired, JobDesired};
use crate::model::file::{FileSpec, Reload};
use crate::model::image::ImageRef;
use crate::model::job::DoneWhen;
use crate::model::names::{FilesetName, JobName, ServiceName};
use crate::model::network::{Attachment, NetworkSpec, VolumeSpec};
use crate::model::settings::ContainerSettings;
use crate::model::time::{Span, Timestamp};

use super::remember::MemoryChange;

/// What a change does to the process, from the gentlest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "DESIGN's classes of change")]
pub enum Disruption {
    None,
    Update,
    Attach,
    Reload,
    Restart,
    Replace,
}

/// The field-level reason for a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cause {
    /// `image`, `environment.DEBUG`, `files./etc/app.conf`, `state`, ...
    pub field: String,
    /// As it is; null where it is not there.
    #[serde(serialize_with = "text::serialize", deserialize_with = "text::deserialize")]
    pub from: Shown,
    /// As it should be; null where it should not be there.
    #[serde(serialize_with = "text::serialize", deserialize_with = "text::deserialize")]
    pub to: Shown,
}

/// A value as shown to people, ordered by its text so that plans are byte-stable.
pub type Shown = String;

mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(shown: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<serde_json::Value>(shown)
            .unwrap_or_else(|_| serde_json::Value::String(shown.to_owned()))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Ok(serde_json::Value::deserialize(deserializer)?.to_string())
    }
}

impl Cause {
    /// From JSON values.
    pub fn new(field: impl Into<String>, from: &Value, to: &Value) -> Self {
        Self { field: field.into(), from: from.to_string(), to: to.to_string() }
    }

    /// From words.
    pub fn words(field: impl Into<String>, from: &str, to: &str) -> Self {
        Self::new(field, &Value::from(from), &Value::from(to))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} -> {}", self.field, self.from, self.to)
    }
}

/// What kind of change it is, as in `plan -o json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the words of the plan's JSON")]
pub enum ActionKind {
    Create,
    Start,
    Stop,
    Replace,
    Restart,
    Reload,
    Update,
    Attach,
    WriteFile,
    Rename,
    Rollback,
    Remove,
    RunJob,
    CreateFileset,
    UpdateFileset,
    CreateNetwork,
    RemoveNetwork,
    CreateVolume,
}

/// A change as a whole, though it may take many steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What kind.
    pub kind: ActionKind,
    /// What it does to the process.
    pub disruption: Disruption,
    /// Why.
    pub causes: Vec<Cause>,
}

/// What is to be done next about one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is as desired, or it is to be left alone.
    Nothing,
    /// Something to write down; costs nothing, and what follows is planned anew at once.
    Remember(MemoryChange),
    /// A call or two.
    Step(Step),
    /// Nothing yet: a gate, a backoff, the engine itself. Looked at again when something happens, at the latest then.
    Wait {
        /// When at the latest.
        until: Option<Timestamp>,
    },
    /// Nothing until something outside changes: a person, a dependency, somebody else's container. A condition says why.
    Blocked,
}

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The host's networks and volumes.
    Host,
    /// A service's instance.
    Service(ServiceName),
    /// A job.
    Job(JobName),
    /// What hosts have the same of; on the one that makes it.
    Fileset(FilesetName),
    /// A container of ours that nothing declares any more, by name.
    Orphan(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("host"),
            Self::Service(name) => write!(formatter, "{name}"),
            Self::Job(name) => write!(formatter, "{name}"),
            Self::Fileset(name) => write!(formatter, "fileset/{name}"),
            Self::Orphan(name) => formatter.write_str(name),
        }
    }
}

/// The plan for one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPlan {
    /// About what.
    pub subject: Subject,
    /// The whole change, if there is one.
    pub change: Option<Change>,
    /// The next thing to do.
    pub next: Next,
    /// Whether the next step begins a disruption of something that works: it needs a grant.
    pub disrupts: bool,
    /// Whether that step is the beginning of its stop for a change: its clients are led away first, where that is declared.
    pub drains: bool,
    /// Whether it is ready as desired.
    pub ready: bool,
    /// In a word: `running`, `starting`, `replacing`, `stopped`, `missing`, ...
    pub state: String,
    /// What is known.
    pub conditions: Vec<Condition>,
}

/// One thing to do. It holds every detail: the executor makes no choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetch an image.
    Pull {
        /// Which.
        image: ImageRef,
        /// The spec that it is fetched for.
        input_hash: String,
    },
    /// Learn the numbers of users and groups from an image: by a container that is never started.
    LookUpAccounts {
        /// Id of the image.
        image_id: String,
        /// Name of the short-lived container.
        helper: String,
    },
    /// Make a directory of files complete.
    WriteFiles {
        /// `INSTANCE/CREATE-HASH`.
        key: String,
        /// Whose files.
        instance: FilesOf,
        /// Id of the image, where owners are looked up.
        image_id: String,
    },
    /// Make a container.
    Create(Box<CreateStep>),
    /// Start a container.
    Start {
        /// Id.
        id: String,
        /// Commands after it.
        hooks: Hooks,
        /// What it will have read of its live files then.
        digest: String,
    },
    /// Let a frozen container go on.
    Unpause {
        /// Id.
        id: String,
    },
    /// The first step of a replacement: the engine is not to start the old container again, and its name is freed.
    MoveAside {
        /// Id.
        id: String,
        /// Its new name.
        to: String,
    },
    /// Stop a container.
    Stop {
        /// Id.
        id: String,
        /// Seconds until it is killed; none is its own.
        grace: Option<i64>,
        /// Commands before it.
        hooks: Hooks,
    },
    /// Give a container another name.
    Rename {
        /// Id.
        id: String,
        /// Its new name.
        to: String,
    },
    /// Remove a container. Its volumes stay.
    Remove {
        /// Id.
        id: String,
    },
    /// Change limits or the restart policy.
    Update {
        /// Id.
        id: String,
        /// Fields to set.
        settings: Box<ContainerSettings>,
    },
    /// Hang a container on a network, after taking it off where it hangs wrongly.
    Connect {
        /// Id.
        id: String,
        /// Network.
        network: String,
        /// How.
        attachment: Attachment,
        /// Whether it has to be taken off first.
        reattach: bool,
    },
    /// Take a container off a network.
    Disconnect {
        /// Id.
        id: String,
        /// Network.
        network: String,
    },
    /// Have a process read its files again.
    Reload {
        /// Id.
        id: String,
        /// How.
        reload: Reload,
        /// What it will have read then.
        digest: String,
    },
    /// Stop and start a container.
    Restart {
        /// Id.
        id: String,
        /// Seconds until it is killed.
        grace: Option<i64>,
        /// Commands after and before.
        hooks: Hooks,
        /// What it will have read of its live files then.
        digest: String,
    },
    /// Keep the last lines of a container that failed, and give its spec up on this host.
    Quarantine {
        /// Id; none where it never came to a container.
        id: Option<String>,
        /// Why.
        reason: String,
        /// Of the spec.
        input_hash: String,
    },
    /// Make a network.
    CreateNetwork {
        /// Name.
        name: String,
        /// How.
        spec: NetworkSpec,
    },
    /// Remove a network that nothing declares and nothing uses.
    RemoveNetwork {
        /// Name.
        name: String,
    },
    /// Make a volume.
    CreateVolume {
        /// Name.
        name: String,
        /// How.
        spec: VolumeSpec,
    },
    /// Ask whether a job has been done, where there is no record; or whether it still is.
    AskDone {
        /// Whether it was done.
        again: bool,
        /// How to ask.
        question: DoneWhen,
        /// The container to ask, for a service's probe.
        container_id: Option<String>,
        /// The job, whose container is the pattern for a one-off one.
        job: Arc<JobDesired>,
        /// Id of its image.
        image_id: String,
    },
    /// Run a command in a container like that of a service, which does not run meanwhile.
    AskStopped {
        /// What the answer is called.
        key: String,
        /// The container; its name is a helper's.
        create: Box<CreateStep>,
        /// How long it may take.
        timeout: Span,
        /// Whether its output is a value; else it is enough that it ends well.
        gives_value: bool,
    },
    /// Run what makes the files of a fileset, and take them out of its container.
    MakeFileset {
        /// Which.
        fileset: FilesetName,
        /// The revision that it is made from; 0 where there was none.
        base: u64,
        /// The container; its name is a helper's.
        create: Box<CreateStep>,
        /// The directory in it.
        path: String,
        /// What is in there before.
        files: Vec<FileSpec>,
        /// How long it may take.
        timeout: Span,
    },
    /// Take the files of a fileset out of a container that sees them, as nobody else knows them any more.
    TakeFileset {
        /// Which.
        fileset: FilesetName,
        /// The container.
        id: String,
        /// The directory in it.
        path: String,
    },
    /// Make volumes anew that nothing uses. What was in them is lost: only for a procedure in which a person said so.
    Wipe {
        /// What its result is called.
        key: String,
        /// Name and how.
        volumes: BTreeMap<String, VolumeSpec>,
    },
    /// Take the result of a job's container.
    Collect {
        /// Id.
        id: String,
        /// Whether it is over its time and has to be stopped first.
        timed_out: bool,
        /// Of which inputs it was.
        input_hash: String,
    },
}

/// Whose files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesOf {
    /// An instance's.
    Instance(Arc<InstanceDesired>),
    /// A job's.
    Job(Arc<JobDesired>),
}

impl FilesOf {
    /// The files.
    pub fn files(&self) -> &[crate::model::file::FileSpec] {
        match self {
            Self::Instance(instance) => &instance.files,
            Self::Job(job) => &job.files,
        }
    }
}

/// All that a container is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateStep {
    /// Its name.
    pub name: String,
    /// The reference as written.
    pub image: ImageRef,
    /// Id of the image.
    pub image_id: String,
    /// Settings; managed mounts still by their path.
    pub settings: ContainerSettings,
    /// Networks.
    pub networks: BTreeMap<String, Attachment>,
    /// Ours.
    pub labels: BTreeMap<String, String>,
    /// The directory of its files.
    pub files_key: String,
    /// Anonymous volumes of the container before: volume by target path.
    pub carried_volumes: BTreeMap<String, String>,
}

/// How long a hook, a validation or a probe by exec may take: longer ones block a rollout.
pub const EXEC_LIMIT: Span = Span::seconds(60);

impl Step {
    /// In a word, for progress, metrics and logs.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Pull { .. } => "pull",
            Self::LookUpAccounts { .. } => "look-up-accounts",
            Self::WriteFiles { .. } => "write-file",
            Self::Create(_) => "create",
            Self::Start { .. } => "start",
            Self::Unpause { .. } => "unpause",
            Self::MoveAside { .. } => "move-aside",
            Self::Stop { .. } => "stop",
            Self::Rename { .. } => "rename",
            Self::Remove { .. } => "remove",
            Self::Update { .. } => "update",
            Self::Connect { .. } => "attach",
            Self::Disconnect { .. } => "detach",
            Self::Reload { .. } => "reload",
            Self::Restart { .. } => "restart",
            Self::Quarantine { .. } => "quarantine",
            Self::CreateNetwork { .. } => "create-network",
            Self::RemoveNetwork { .. } => "remove-network",
            Self::CreateVolume { .. } => "create-volume",
            Self::AskDone { .. } => "ask-done",
            Self::AskStopped { .. } => "ask-stopped",
            Self::MakeFileset { .. } => "make-fileset",
            Self::TakeFileset { .. } => "take-fileset",
            Self::Wipe { .. } => "wipe",
            Self::Collect { .. } => "collect",
        }
    }
}
