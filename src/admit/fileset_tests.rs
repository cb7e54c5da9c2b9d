use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::fileset::{Decision, Input, PATIENCE, decide};
use crate::model::fileset::{FilesetDesired, FilesetRecord, FilesetReport, Make, Update};
use crate::model::names::{FilesetName, HostName, ServiceName};
use crate::model::peers::{HostProgress, HostReport, Reports};
use crate::model::secret::Sensitive;
use crate::model::time::{Span, Timestamp};
use crate::plan::fileset::FilesetOrder;

const HOSTS: [&str; 3] = ["one", "two", "three"];
const EVERY: Span = Span::seconds(3600);

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn fileset() -> FilesetDesired {
    let make = |word: &str| Make { command: vec![word.to_owned()], timeout: Span::seconds(60) };
    FilesetDesired {
        fileset: FilesetName::new("keys").unwrap(),
        role: None,
        path: "/keys".to_owned(),
        like: ServiceName::new("web").unwrap(),
        create: make("make"),
        update: Some(Update { make: make("rotate"), every: EVERY }),
        members: HOSTS.map(host).to_vec(),
        makers: HOSTS.map(host).to_vec(),
        key: Sensitive::new("key"),
    }
}

fn report(name: &str, word: &FilesetReport) -> (HostName, Arc<HostReport>) {
    let report = HostReport {
        host: host(name),
        generation: 1,
        source_digest: String::new(),
        reachable: true,
        acts: true,
        holds_off: false,
        attempts: 0,
        services: BTreeMap::new(),
        jobs: BTreeMap::new(),
        filesets: BTreeMap::from([(FilesetName::new("keys").unwrap(), word.clone())]),
        drained: BTreeMap::new(),
        progress: HostProgress::default(),
    };
    (host(name), Arc::new(report))
}

fn record(revision: u64) -> FilesetRecord {
    FilesetRecord { revision, since: Timestamp(1_000_000), by: host("one"), sealed: String::new() }
}

const NOTHING: FilesetReport = FilesetReport { revision: 0, current: false, copy: false };
const COPY: FilesetReport = FilesetReport { revision: 0, current: false, copy: true };

fn knows(revision: u64) -> FilesetReport {
    FilesetReport { revision, current: true, copy: false }
}

struct Asked {
    words: Vec<(&'static str, FilesetReport)>,
    record: Option<FilesetRecord>,
    opens: bool,
    since: Option<Timestamp>,
    now: Timestamp,
}

impl Asked {
    fn of(words: [FilesetReport; 3]) -> Self {
        let words = HOSTS.into_iter().zip(words).collect();
        Self { words, record: None, opens: true, since: None, now: Timestamp(2_000_000) }
    }

    fn ask(&self, name: &str) -> Decision {
        let reports: Reports = self.words.iter().map(|(name, word)| report(name, word)).collect();
        decide(&Input {
            fileset: &fileset(),
            host: &host(name),
            record: self.record.as_ref(),
            opens: self.opens,
            reports: &reports,
            since: self.since,
            acts: true,
            now: self.now,
        })
    }

    /// What each of the hosts that can be heard is to do, in a word.
    fn all(&self) -> Vec<&'static str> {
        let word = |(name, _): &(&str, FilesetReport)| {
            let decision = self.ask(name);
            match decision.order {
                _ if decision.puts_back => "puts back",
                None => "nothing",
                Some(FilesetOrder::Create) => "create",
                Some(FilesetOrder::Update { .. }) => "update",
                Some(FilesetOrder::Take) => "take",
                Some(FilesetOrder::Wait { reason, .. } | FilesetOrder::Stuck { reason, .. }) => reason,
            }
        };
        self.words.iter().map(word).collect()
    }
}

#[test]
fn the_first_that_can_makes_it_where_nobody_has_it() {
    assert_eq!(Asked::of([NOTHING, NOTHING, NOTHING]).all(), ["create", "FilesetMade", "FilesetMade"]);
}

#[test]
fn what_a_host_remembers_or_a_container_has_is_never_made_anew() {
    assert_eq!(Asked::of([NOTHING, COPY, NOTHING]).all(), ["FilesetTaken", "take", "FilesetTaken"]);
    let remembered = Asked::of([NOTHING, COPY, knows(3)]);
    assert_eq!(remembered.all(), ["FilesetPutBack", "FilesetPutBack", "puts back"]);
    // An old copy of the record was put back: the newer one that hosts remember takes its place again.
    let older = Asked { record: Some(record(2)), ..Asked::of([knows(3), knows(2), knows(3)]) };
    assert_eq!(older.all(), ["puts back", "FilesetPutBack", "FilesetPutBack"]);
}

#[test]
fn a_host_that_was_not_heard_may_have_it_and_is_waited_for_but_not_for_ever() {
    let mut asked = Asked::of([NOTHING, NOTHING, NOTHING]);
    asked.words.pop();
    assert_eq!(asked.all(), ["FilesetUnheard", "FilesetUnheard"]);
    let decision = asked.ask("one");
    assert_eq!(decision.wake, Some(asked.now.plus(PATIENCE)));
    let said = "whether a copy of the fileset `keys` is on three is not known";
    assert!(matches!(&decision.order, Some(FilesetOrder::Wait { why, .. }) if why == said), "{:?}", decision.order);
    asked.since = decision.since;
    asked.now = asked.now.plus(PATIENCE);
    assert_eq!(asked.all(), ["create", "FilesetMade"]);
}

#[test]
fn it_is_updated_when_it_is_due_and_only_where_all_copies_are_current() {
    let at = |now| Asked { record: Some(record(2)), now, ..Asked::of([knows(2), knows(2), knows(2)]) };
    let due = Timestamp(1_000_000).plus(EVERY);
    let early = at(Timestamp(due.0 - 1));
    assert_eq!(early.all(), ["nothing"; 3]);
    assert_eq!(early.ask("two").wake, Some(due));
    assert_eq!(at(due).all(), ["update", "nothing", "nothing"]);
    for behind in [NOTHING, knows(1), FilesetReport { current: false, ..knows(2) }] {
        let mut late = at(due);
        late.words[2].1 = behind;
        assert_eq!(late.all(), ["FilesetBehind"; 3]);
    }
    let mut silent = at(due);
    silent.words.pop();
    assert_eq!(silent.all(), ["FilesetBehind"; 2], "who cannot be asked may not have it");
}

#[test]
fn a_record_that_cannot_be_opened_is_left_as_it_is() {
    let locked = Asked { record: Some(record(2)), opens: false, ..Asked::of([NOTHING, COPY, NOTHING]) };
    assert_eq!(locked.all(), ["FilesetLocked"; 3]);
}

/// What befalls a site of three hosts.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// A host decides, and what it decides is done.
    Turn(usize),
    CutOff(usize),
    Heal(usize),
    /// What the host's loop remembers is lost.
    Forget(usize),
    /// The host is a new one: it remembers nothing and has nothing.
    New(usize),
    /// What was agreed on is lost.
    LoseRecord,
    Later(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let at = 0..HOSTS.len();
    let deed = prop_oneof![
        8 => at.clone().prop_map(Deed::Turn),
        1 => at.clone().prop_map(Deed::CutOff),
        2 => at.clone().prop_map(Deed::Heal),
        1 => at.clone().prop_map(Deed::Forget),
        1 => at.prop_map(Deed::New),
        1 => Just(Deed::LoseRecord),
        2 => (1_u64..5_000).prop_map(Deed::Later),
    ];
    proptest::collection::vec(deed, 1..80)
}

/// A revision, and by which making it began.
type Held = Option<(u64, usize)>;

#[derive(Clone, Default)]
struct Place {
    away: bool,
    remembers: Held,
    has: Held,
    since: Option<Timestamp>,
}

#[derive(Default)]
struct World {
    places: [Place; 3],
    record: Option<(FilesetRecord, usize)>,
    now: Timestamp,
    makings: usize,
}

impl World {
    fn word(place: &Place) -> FilesetReport {
        let revision = place.remembers.map_or(0, |(revision, _)| revision);
        let current = revision > 0 && place.has == place.remembers;
        FilesetReport { revision, current, copy: revision == 0 && place.has.is_some() }
    }

    fn write(&mut self, revision: u64, making: usize) {
        let record = FilesetRecord { since: self.now, ..record(revision) };
        self.record = Some((record, making));
    }

    fn turn(&mut self, index: usize) -> Result<(), TestCaseError> {
        if self.places[index].away {
            return Ok(());
        }
        let heard = || self.places.iter().zip(HOSTS).filter(|(place, _)| !place.away);
        let reports: Reports = heard().map(|(place, name)| report(name, &Self::word(place))).collect();
        let has_any = heard().any(|(place, _)| place.remembers.is_some() || place.has.is_some());
        let others_have = |revision| {
            let all = self.places.iter();
            all.filter(|place| !place.away).count() == HOSTS.len()
                && self.places.iter().all(|place| place.has.is_some_and(|(own, _)| own == revision))
        };
        let known = self.places[index].remembers.map_or(0, |(revision, _)| revision);
        let record = self.record.as_ref().map(|(record, _)| record);
        let decision = decide(&Input {
            fileset: &fileset(),
            host: &host(HOSTS[index]),
            record,
            opens: record.is_some_and(|record| record.revision == known),
            reports: &reports,
            since: self.places[index].since,
            acts: true,
            now: self.now,
        });
        match &decision.order {
            Some(FilesetOrder::Create) => {
                prop_assert!(self.record.is_none() && !has_any, "made anew though it is known");
                let all_heard = self.places.iter().all(|place| !place.away);
                let patient = self.places[index].since.is_some_and(|since| self.now.since(since) >= PATIENCE);
                prop_assert!(all_heard || patient, "made without waiting for those that were not heard");
                self.makings += 1;
                self.write(1, self.makings);
            }
            Some(FilesetOrder::Update { base }) => {
                prop_assert!(others_have(*base), "updated although not all have revision {base}");
                let making = self.record.as_ref().map_or(0, |(_, making)| *making);
                self.write(base + 1, making);
            }
            Some(FilesetOrder::Take) => {
                let (_, making) = self.places[index].has.unwrap_or_default();
                self.write(1, making);
            }
            _ => {}
        }
        if decision.puts_back
            && let Some((revision, making)) = self.places[index].remembers
        {
            self.write(revision, making);
        }
        let place = &mut self.places[index];
        place.since = decision.since;
        // Then the host looks at what is agreed on, and has its files written.
        if let Some((record, making)) = &self.record
            && place.remembers.is_none_or(|(revision, _)| record.revision >= revision)
        {
            place.remembers = Some((record.revision, *making));
        }
        place.has = place.remembers.or(place.has);
        Ok(())
    }

    fn does(&mut self, deed: Deed) -> Result<(), TestCaseError> {
        match deed {
            Deed::Turn(index) => return self.turn(index),
            Deed::CutOff(index) => self.places[index].away = true,
            Deed::Heal(index) => self.places[index].away = false,
            Deed::Forget(index) => self.places[index].remembers = None,
            Deed::New(index) => self.places[index] = Place { away: self.places[index].away, ..Place::default() },
            Deed::LoseRecord => self.record = None,
            Deed::Later(seconds) => self.now = self.now.plus(Span::seconds(seconds)),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever was lost and whoever was away: what somebody who can be heard has is not made anew, nothing is updated that
    /// not all have, and once all are back all have the same.
    #[test]
    fn it_is_made_once_and_ends_the_same_everywhere(deeds in deeds()) {
        let mut world = World::default();
        for deed in deeds {
            world.does(deed)?;
        }
        for index in 0..HOSTS.len() {
            world.does(Deed::Heal(index))?;
        }
        for turn in 0..6 * HOSTS.len() {
            world.turn(turn % HOSTS.len())?;
        }
        let first = world.places[0].has;
        prop_assert!(first.is_some());
        for place in &world.places {
            prop_assert_eq!(place.has, first);
            prop_assert_eq!(place.remembers, first);
        }
    }
}
