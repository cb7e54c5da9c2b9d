//! Instances that a procedure has a say in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::desired::{HealMode, InstanceDesired};
use crate::model::memory::HostMemory;
use crate::model::names::{HostName, SiteName, VolumeName};
use crate::model::network::VolumeSpec;
use crate::model::procedure::{Behaviour, Instructed};
use crate::model::settings::Mount;
use crate::model::time::{Span, Timestamp};
use crate::observe::observed::{EngineState, EngineVersion, HostObserved, ObservedImage};
use crate::plan::instance;
use crate::plan::remember::MemoryChange;
use crate::plan::step::SubjectPlan;
use crate::plan::testing;

/// A database on its volume, and a host that has the image and the volume and no container.
struct Scene {
    desired: Arc<InstanceDesired>,
    behaviour: Behaviour,
    observed: HostObserved,
    memory: HostMemory,
}

impl Scene {
    fn new() -> Self {
        let mut desired = testing::instance("db");
        let data = Mount::Volume { source: Some("data".to_owned()), read_only: false, nocopy: false };
        desired.settings.volumes = Some([("/var/lib/db".to_owned(), data)].into());
        let desired = Arc::new(desired);
        let behaviour =
            Behaviour { variants: [("new-cluster".to_owned(), desired.clone())].into(), ..Behaviour::default() };
        let version =
            EngineVersion { engine: "docker".to_owned(), version: "20.10".to_owned(), api: (1, 41), id: String::new() };
        let observed = HostObserved {
            engine: EngineState::Known(version),
            image_ids: [("busybox:1".to_owned(), Some("sha256:1".to_owned()))].into(),
            images: [("sha256:1".to_owned(), Arc::new(ObservedImage::default()))].into(),
            volumes: vec!["data".to_owned()],
            ..HostObserved::default()
        };
        let memory = HostMemory { volumes: ["data".to_owned()].into(), ..HostMemory::default() };
        Self { desired, behaviour, observed, memory }
    }

    fn without_its_volume(mut self) -> Self {
        self.observed.volumes.clear();
        self.observed.lost_volumes = ["data".to_owned()].into();
        self
    }

    fn told(&self, what: Instruction) -> SubjectPlan {
        let instructed = Instructed { what, why: "procedure recover".to_owned(), refused: None };
        let volumes: BTreeMap<VolumeName, VolumeSpec> =
            [(VolumeName::new("data").unwrap(), VolumeSpec::default())].into();
        instance::plan(&InstanceInput {
            site: &SiteName::new("shop").unwrap(),
            host_name: &HostName::new("one").unwrap(),
            generation: 1,
            desired: &self.desired,
            behaviour: Some(&self.behaviour),
            volumes: &volumes,
            instructed: Some(&instructed),
            refused: None,
            slotless: false,
            held: None,
            proven: None,
            observed: &self.observed,
            memory: &self.memory,
            heal: HealMode::Auto,
            dependencies: &BTreeMap::new(),
            now: Timestamp(0),
        })
    }
}

fn ask() -> Instruction {
    let how = OneOff { command: vec!["seqno".to_owned()], network_mode: None, timeout: Span::seconds(10) };
    Instruction::Ask { key: "position".to_owned(), how, gives_value: true }
}

fn start(variant: Option<&str>) -> Instruction {
    Instruction::Start { variant: variant.map(str::to_owned) }
}

fn reasons(plan: &SubjectPlan) -> Vec<&str> {
    plan.conditions.iter().map(|condition| condition.reason.as_str()).collect()
}

#[test]
fn a_stopped_member_is_asked_by_a_container_of_its_own_spec() {
    let plan = Scene::new().told(ask());
    let Next::Step(Step::AskStopped { key, create, .. }) = plan.next else { panic!("{:?}", plan.next) };
    assert_eq!(key, "position");
    assert_eq!(create.name, "db.ask");
    assert_eq!(create.settings.command, Some(vec!["seqno".to_owned()]));
    assert_eq!(create.settings.restart, Some(RestartPolicy::No));
}

#[test]
fn a_variant_is_made_with_its_name_as_a_label() {
    let plan = Scene::new().told(start(Some("new-cluster")));
    let Next::Step(Step::Create(create)) = plan.next else { panic!("{:?}", plan.next) };
    assert_eq!(create.labels.get(labels::VARIANT).map(String::as_str), Some("new-cluster"));
}

/// An engine makes a volume that is missing, empty: the answer would be that of a new member, and a new cluster would
/// begin on nothing.
#[test]
fn nothing_is_made_of_a_volume_that_is_gone_whatever_a_procedure_says() {
    for what in [ask(), start(None), start(Some("new-cluster"))] {
        let plan = Scene::new().without_its_volume().told(what.clone());
        assert_eq!(plan.next, Next::Blocked, "{what:?}");
        assert!(reasons(&plan).contains(&"VolumeLost"), "{what:?}: {:?}", plan.conditions);
    }
}

/// Killed between the removal and the new volume, it would be taken for a loss else.
#[test]
fn a_volume_is_forgotten_before_it_is_wiped() {
    let mut scene = Scene::new();
    let wipe = Instruction::Wipe { key: "rejoin/1/0".to_owned(), volumes: vec!["data".to_owned()] };
    let Next::Remember(change) = scene.told(wipe.clone()).next else { panic!("it is not written down") };
    assert_eq!(change, MemoryChange::Wiping { volumes: vec!["data".to_owned()] });
    assert!(change.is_intent(), "it has to be on disk before the volume goes");
    change.apply(&mut scene.memory);
    assert!(matches!(scene.told(wipe).next, Next::Step(Step::Wipe { .. })));
}
