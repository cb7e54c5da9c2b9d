//! What roles say a change means: steps become needs of jobs and services, each of the step before it.
//!
//! In: `changes` of the roles of a site. Out: needs of the kind [`DependencyTarget::Step`], inputs of the jobs that are
//! steps, and [`ChangeDesired`]s for what is about a change as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::change::{ChangeDesired, ChangeStep, StepKind, StepOf};
use crate::model::desired::{Dependency, DependencyTarget, InstanceDesired, JobDesired, Need};
use crate::model::names::{JobName, ServiceName};
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::{Node, Scalar, ScalarKind, Value};
use crate::parse::read::{At, Reader};
use crate::parse::role::RoleUse;
use crate::parse::shape::Shape;
use crate::parse::site::{Site, Written};
use crate::parse::source::Place;
use crate::parse::suggest::did_you_mean;
use crate::render::seal::{seal_instance, version};

use super::compile::HostCompiler;
use super::instance::Built;

/// The word of `when` for the images of what is changed.
const IMAGE: &str = "image";

/// A change of a role in a site.
#[derive(Debug)]
pub struct SiteChange {
    /// The role.
    used: Arc<RoleUse>,
    /// `ROLE/CHANGE`.
    name: String,
    /// What it is a change of.
    when: Vec<At<String>>,
    /// Its steps, and where each is written.
    steps: Vec<(ChangeStep, Place)>,
}

impl SiteChange {
    /// Each step with the one before it, and where it is written.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str, Place)> {
        let before = self.steps.iter();
        self.steps.iter().skip(1).zip(before).map(|((step, place), (before, _))| {
            let (step, before) = (step.what.name(), before.what.name());
            (step, before, *place)
        })
    }

    /// Names of its jobs and services.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|(step, _)| step.what.name())
    }
}

/// The changes of all roles of a site.
pub fn read(site: &Site, errors: &mut Vec<Diagnostic>) -> Vec<SiteChange> {
    let mut changes = Vec::new();
    let mut jobs: BTreeMap<JobName, Place> = BTreeMap::new();
    for used in &site.roles {
        for (name, written) in &used.role.changes {
            let mut reading = Reading { site, used, errors: Vec::new(), jobs: &mut jobs };
            changes.push(reading.change(name, written));
            errors.append(&mut reading.errors);
        }
    }
    changes
}

struct Reading<'a> {
    site: &'a Site,
    used: &'a Arc<RoleUse>,
    errors: Vec<Diagnostic>,
    jobs: &'a mut BTreeMap<JobName, Place>,
}

impl Reading<'_> {
    fn change(&mut self, name: &str, written: &Written) -> SiteChange {
        let mut reader = Reader::default();
        let mut when = reader.texts_at(&written.node, "when");
        if when.is_empty() {
            when.push(At::new(IMAGE.to_owned(), written.key_place));
        }
        let vars = &self.used.role.vars;
        for word in when.iter().filter(|word| word.value != IMAGE && !vars.contains_key(&word.value)) {
            let message = format!("`{}` is neither `image` nor a variable of this role", word.value);
            let known = vars.keys().map(String::as_str).chain([IMAGE]);
            let error = Diagnostic::error("R001", word.place, message);
            self.errors.push(error.maybe_help(did_you_mean(&word.value, known)));
        }
        when.retain(|word| word.value == IMAGE || vars.contains_key(&word.value));
        let items = written.node.get("steps").map(Node::items).unwrap_or_default();
        if items.is_empty() {
            let message = format!("the change `{name}` has no steps");
            self.errors.push(Diagnostic::error("K003", written.key_place, message));
        }
        let mut steps: Vec<(ChangeStep, Place)> = Vec::new();
        for item in items {
            let Some(what) = self.step(item, &steps, &mut reader) else { continue };
            if steps.iter().any(|(other, _)| other.what == what) {
                let message = format!("`{}` is a step of this change already", what.name());
                self.errors.push(Diagnostic::error("R003", item.place, message));
                continue;
            }
            let irreversible = reader.boolean(item, "irreversible").unwrap_or(false);
            steps.push((ChangeStep { what, irreversible }, item.place));
        }
        self.errors.append(&mut reader.errors);
        SiteChange { used: self.used.clone(), name: format!("{}/{name}", self.used.name), when, steps }
    }

    /// What a step does; none where the site leaves that out, or it is wrong.
    fn step(&mut self, item: &Node, before: &[(ChangeStep, Place)], reader: &mut Reader) -> Option<StepKind> {
        let (job, roll) = (item.get("job"), item.get("roll"));
        let ((Some(node), None) | (None, Some(node))) = (job, roll) else {
            let message = "a step of a change needs one of `job`, `roll`";
            self.errors.push(Diagnostic::error("K003", item.place, message));
            return None;
        };
        if let (Some(_), Some(until)) = (job, item.get("until")) {
            let message = "`until` is about `roll`; a job is done when it has ended with 0";
            self.errors.push(Diagnostic::error("V003", until.place, message));
        }
        let own = reader.leaf(node, |scalar| Ok(scalar.text.clone()))?;
        let role = &self.used.role;
        let known: Vec<&str> = match roll {
            Some(_) => role.services.keys().map(String::as_str).collect(),
            None => role.jobs.keys().chain(role.objects.keys()).map(String::as_str).collect(),
        };
        if !known.contains(&own.as_str()) {
            let what = if roll.is_some() { "service" } else { "job" };
            let error = Diagnostic::error("R001", node.place, format!("`{own}` is no {what} of this role"));
            self.errors.push(error.maybe_help(did_you_mean(&own, known)));
            return None;
        }
        let name = self.used.name_of(&own);
        if roll.is_some() {
            let service = ServiceName::new(name).ok()?;
            return self.site.services.contains_key(&service).then_some(StepKind::Roll(service));
        }
        let job = JobName::new(name).ok()?;
        let written = self.site.jobs.get(&job)?;
        for (key, why) in [
            ("inputs", "the change itself says when it runs again"),
            ("schedule", "what runs by the clock is no step of anything"),
        ] {
            if let Some(given) = written.node.get(key) {
                let message = format!("`{job}` is a step of a change and has `{key}`: {why}");
                self.errors.push(Diagnostic::error("V003", given.place, message).also(node.place, "the step"));
            }
        }
        let again = before.iter().any(|(step, _)| step.what == StepKind::Job(job.clone()));
        if !again && let Some(first) = self.jobs.insert(job.clone(), node.place).filter(|first| *first != node.place) {
            let message = format!("`{job}` is a step of two changes");
            self.errors.push(Diagnostic::error("R003", node.place, message).also(first, "here first"));
            return None;
        }
        Some(StepKind::Job(job))
    }
}

impl HostCompiler<'_> {
    /// Puts changes into the services and jobs of this host that are steps of them.
    pub(super) fn changes(
        &mut self,
        services: &mut [Built<InstanceDesired>],
        jobs: &mut [Built<JobDesired>],
    ) -> Vec<Arc<ChangeDesired>> {
        let mut all = Vec::new();
        for change in &self.tree.changes {
            let names: BTreeSet<&str> = change.names().collect();
            let mut own_services: Vec<&mut InstanceDesired> = services
                .iter_mut()
                .map(|built| &mut built.desired)
                .filter(|desired| names.contains(desired.service.as_str()))
                .collect();
            let mut own_jobs: Vec<&mut JobDesired> = jobs
                .iter_mut()
                .map(|built| &mut built.desired)
                .filter(|desired| names.contains(desired.job.as_str()))
                .collect();
            if own_services.is_empty() && own_jobs.is_empty() {
                continue;
            }
            let images = own_services.iter().map(|desired| desired.image.as_str());
            let images: BTreeSet<&str> = images.chain(own_jobs.iter().map(|desired| desired.image.as_str())).collect();
            let images = serde_json::json!(images);
            let version = self.version(change, &images);
            let mut past = false;
            let mut before: Option<&str> = None;
            for (step, _) in &change.steps {
                past |= step.irreversible;
                let of = StepOf { change: change.name.clone(), version: version.clone(), irreversible: past };
                let needs = match &step.what {
                    StepKind::Job(name) => own_jobs.iter_mut().find(|desired| desired.job == *name).map(|desired| {
                        version.clone_into(&mut desired.input_hash);
                        desired.step = Some(of);
                        &mut desired.depends_on
                    }),
                    StepKind::Roll(name) => {
                        own_services.iter_mut().find(|desired| desired.service == *name).map(|desired| {
                            desired.steps.push(of);
                            &mut desired.depends_on
                        })
                    }
                };
                if let (Some(needs), Some(before)) = (needs, before) {
                    let step =
                        Dependency { on: DependencyTarget::Step, need: Need::All, required: true, restart: false };
                    needs.insert(before.to_owned(), step);
                }
                before = Some(step.what.name());
            }
            for desired in own_services {
                seal_instance(desired, &self.request.site_key);
            }
            all.push(Arc::new(ChangeDesired {
                change: change.name.clone(),
                role: change.used.name.clone(),
                version,
                steps: change.steps.iter().map(|(step, _)| step.clone()).collect(),
            }));
        }
        self.enter(None);
        all
    }

    /// Digest of what a change is about.
    fn version(&mut self, change: &SiteChange, images: &serde_json::Value) -> String {
        self.enter(Some(&change.used));
        change.name.clone_into(&mut self.subject);
        let mut about = serde_json::Map::new();
        for word in &change.when {
            if word.value == IMAGE {
                about.insert(IMAGE.to_owned(), images.clone());
                continue;
            }
            let scalar = Scalar { text: format!("{{{{ {} }}}}", word.value), kind: ScalarKind::Text };
            let mut node = Node::empty_mapping(word.place, crate::parse::node::Layer::Site);
            node.value = Value::Scalar(scalar);
            let path = format!("changes.{}", word.value);
            if let Some(value) = self.effective(&node, &path, word.place, &Shape::Anything) {
                about.insert(format!("vars.{}", word.value), value.to_json());
            }
        }
        version(&self.request.site_key, &about.into())
    }
}
