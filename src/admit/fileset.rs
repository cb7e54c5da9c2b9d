//! What a host does about a fileset, by the words of all that have to do with it. Pure, and the same on each of them.
//!
//! What is known anywhere is never made anew: the record first, then what a host remembers of it, then the files of a container.
//! New files come of old ones only where all hosts have those: who had not would understand nothing of what comes next.

use crate::model::fileset::{FilesetDesired, FilesetRecord, FilesetReport};
use crate::model::names::HostName;
use crate::model::peers::{HostReport, Reports};
use crate::model::time::{Span, Timestamp};
use crate::plan::fileset::FilesetOrder;

/// A host that has not been heard may have a copy: it is waited for, but not for ever.
pub const PATIENCE: Span = Span::seconds(60);

/// All that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The fileset.
    pub fileset: &'a FilesetDesired,
    /// This host.
    pub host: &'a HostName,
    /// What stands in the record; none where there is none.
    pub record: Option<&'a FilesetRecord>,
    /// Whether this host knows what the record holds.
    pub opens: bool,
    /// The words of all, with the newest of this host.
    pub reports: &'a Reports,
    /// Since when there has been no record, and not all have been heard.
    pub since: Option<Timestamp>,
    /// Whether this loop does something; one that only looks hears nobody.
    pub acts: bool,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// By a step of this host.
    pub order: Option<FilesetOrder>,
    /// This host puts the record back that it remembers.
    pub puts_back: bool,
    /// When to look again.
    pub wake: Option<Timestamp>,
    /// To be given back as [`Input::since`].
    pub since: Option<Timestamp>,
}

impl Decision {
    fn of(order: FilesetOrder) -> Self {
        Self { order: Some(order), ..Self::default() }
    }

    fn wait(reason: &'static str, why: String) -> Self {
        Self::of(FilesetOrder::Wait { reason, why, until: None })
    }
}

impl Input<'_> {
    fn word(&self, host: &HostName) -> Option<&HostReport> {
        self.reports.get(host).map(AsRef::as_ref).filter(|report| report.reachable)
    }

    fn report(&self, host: &HostName) -> Option<&FilesetReport> {
        self.word(host)?.filesets.get(&self.fileset.fileset)
    }

    /// The one that makes it: the first that can. Who only looks takes everybody for able to.
    fn maker(&self) -> Option<&HostName> {
        let can = |host: &&HostName| {
            if self.acts { self.word(host).is_some_and(|report| report.acts) } else { true }
        };
        self.fileset.makers.iter().find(can)
    }

    fn all(&self) -> impl Iterator<Item = &HostName> {
        let others = self.fileset.makers.iter().filter(|host| !self.fileset.members.contains(host));
        self.fileset.members.iter().chain(others)
    }
}

/// Decides.
pub fn decide(input: &Input<'_>) -> Decision {
    let name = &input.fileset.fileset;
    let revision = input.record.map_or(0, |record| record.revision);
    let known: Vec<(&HostName, u64)> =
        input.all().filter_map(|host| Some((host, input.report(host)?.revision))).collect();
    let newest = known.iter().map(|(_, revision)| *revision).max().unwrap_or(0);
    if newest > revision {
        // The record was lost, or put back from an old copy of it.
        let holder = known.into_iter().find(|(_, revision)| *revision == newest).map(|(host, _)| host);
        return match holder {
            Some(holder) if holder == input.host => Decision { puts_back: input.acts, ..Decision::default() },
            Some(holder) => Decision::wait("FilesetPutBack", format!("{holder} remembers the fileset `{name}`")),
            None => Decision::default(),
        };
    }
    match input.record {
        None => first(input),
        Some(_) if !input.opens => {
            let why = format!(
                "the record of the fileset `{name}` cannot be opened with the secret `{}`",
                crate::model::fileset::KEY
            );
            Decision::of(FilesetOrder::Stuck { reason: "FilesetLocked", why })
        }
        Some(record) => next(input, record),
    }
}

/// Nobody remembers it.
fn first(input: &Input<'_>) -> Decision {
    let name = &input.fileset.fileset;
    let copy = input.all().find(|host| input.report(host).is_some_and(|report| report.copy));
    if let Some(holder) = copy {
        if holder == input.host {
            return Decision::of(FilesetOrder::Take);
        }
        return Decision::wait("FilesetTaken", format!("the fileset `{name}` is taken from {holder}"));
    }
    let unheard: Vec<&str> = input.all().filter(|host| input.word(host).is_none()).map(HostName::as_str).collect();
    let mut since = None;
    if input.acts && !unheard.is_empty() {
        let began = input.since.filter(|since| *since <= input.now).unwrap_or(input.now);
        since = Some(began);
        let until = began.plus(PATIENCE);
        if input.now < until {
            let why = format!("whether a copy of the fileset `{name}` is on {} is not known", unheard.join(", "));
            let order = FilesetOrder::Wait { reason: "FilesetUnheard", why, until: Some(until) };
            return Decision { wake: Some(until), since, ..Decision::of(order) };
        }
    }
    match input.maker() {
        Some(maker) if maker == input.host => Decision { since, ..Decision::of(FilesetOrder::Create) },
        Some(maker) => {
            let decision = Decision::wait("FilesetMade", format!("{maker} makes the fileset `{name}`"));
            Decision { since, ..decision }
        }
        None => {
            let why = format!("no host that could make the fileset `{name}` can be reached");
            Decision { since, ..Decision::wait("FilesetUnmade", why) }
        }
    }
}

/// It is known, and may be due for an update.
fn next(input: &Input<'_>, record: &FilesetRecord) -> Decision {
    let Some(update) = &input.fileset.update else { return Decision::default() };
    let due = record.since.plus(update.every);
    if input.now < due {
        return Decision { wake: Some(due), ..Decision::default() };
    }
    let has = |host: &&HostName| {
        input.report(host).is_some_and(|report| report.revision == record.revision && report.current)
    };
    let behind: Vec<&str> = input.fileset.members.iter().filter(|host| !has(host)).map(HostName::as_str).collect();
    if !behind.is_empty() {
        let (name, revision) = (&input.fileset.fileset, record.revision);
        let why =
            format!("the fileset `{name}` is not updated before {} has its revision {revision}", behind.join(", "));
        return Decision::wait("FilesetBehind", why);
    }
    match input.maker() {
        Some(maker) if maker == input.host => Decision::of(FilesetOrder::Update { base: record.revision }),
        _ => Decision::default(),
    }
}
