//! What roles say of services beyond their containers: probes with values, variants, procedures.
//!
//! In: the probes and procedures of the roles whose services run on a host. Out: [`Behaviour`]s and [`ProcedureDesired`]s
//! in which every expression has been checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::desired::{InstanceDesired, OnFailure};
use crate::model::kolla::START;
use crate::model::names::ServiceName;
use crate::model::procedure::{Behaviour, FACTS, OneOff, ProcedureDesired, ValueProbe};
use crate::model::settings::RestartPolicy;
use crate::model::time::Span;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::keys::procedure::{PROCEDURE, VALUE_PROBE};
use crate::parse::layering::lay_over;
use crate::parse::node::{Node, Value};
use crate::parse::read::Reader;
use crate::parse::role::RoleUse;
use crate::parse::scalars;
use crate::parse::shape::Shape;
use crate::parse::site::Written;
use crate::parse::suggest::did_you_mean;
use crate::render::expression::{self, Wrong};
use crate::render::seal::seal_instance;

use super::compile::HostCompiler;
use super::instance::Built;
use super::procedure_steps;

/// Probes of a role, by the service that they are about.
pub(super) type Probes = BTreeMap<ServiceName, BTreeMap<String, ValueProbe>>;

impl HostCompiler<'_> {
    /// The variants of a service, and what holds a dead instance back. `node` is its effective tree.
    pub(super) fn behaviour(&mut self, name: &ServiceName, written: &Written, node: &Node) {
        let mut reader = Reader::default();
        let hold_unless = reader.at(node, "hold_unless", |s| Ok(s.text.clone()));
        let mut variants = BTreeMap::new();
        let mut base = node.clone();
        if let Value::Mapping(mapping) = &mut base.value {
            mapping.shift_remove("variants");
            mapping.shift_remove("hold_unless");
        }
        for (variant, entry) in node.get("variants").into_iter().flat_map(Node::entries) {
            if variant == "none" {
                let error =
                    Diagnostic::error("N001", entry.key_place, "`none` is the service as it is, and no variant");
                self.errors.push(error);
                continue;
            }
            let mut patched = lay_over(base.clone(), &entry.value);
            patched.place = node.place;
            // What is wrong with the service itself has been said.
            let (errors, layered) = (self.errors.len(), self.layered.len());
            let built = self.instance(name, written, &patched);
            self.errors.truncate(errors);
            self.layered.truncate(layered);
            let Some(mut built) = built else { continue };
            if !built.volumes_from.is_empty() || !built.shares.is_empty() {
                let message = format!("`{name}` has variants, and takes volumes or namespaces of another container");
                self.errors.push(Diagnostic::error("V003", entry.key_place, message));
            }
            // The engine never starts it again by itself, and a failure leads back to no other spec: the procedure looks
            // at what is there and decides anew.
            built.desired.settings.restart = Some(RestartPolicy::No);
            built.desired.rollout.on_failure = OnFailure::Halt;
            seal_instance(&mut built.desired, &self.request.site_key);
            variants.insert(variant.to_owned(), Arc::new(built.desired));
        }
        if variants.is_empty() && hold_unless.is_none() {
            return;
        }
        if let Some(hold) = &hold_unless {
            let names = written.role.as_ref().map(|used| names_of(used)).unwrap_or_default();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.wrong(expression::check(&hold.value, &names), hold.place);
        }
        let hold_unless = hold_unless.map(|at| at.value);
        self.behaviours.insert(name.clone(), Behaviour { variants, hold_unless, ..Behaviour::default() });
    }

    pub(super) fn wrong(&mut self, checked: Result<(), Wrong>, place: crate::parse::source::Place) {
        if let Err(wrong) = checked {
            self.errors.push(Diagnostic::error("T001", place, wrong.message).maybe_help(wrong.help));
        }
    }

    /// Probes and procedures of all roles that have services on this host.
    pub(super) fn procedures(&mut self, services: &[Built<InstanceDesired>]) -> Vec<Arc<ProcedureDesired>> {
        let tree = self.tree;
        let mut all = Vec::new();
        for used in &tree.site.roles {
            if used.role.probes.is_empty() && used.role.procedures.is_empty() {
                continue;
            }
            let here = |built: &&Built<InstanceDesired>| built.desired.role.as_ref() == Some(&used.name);
            let own: BTreeMap<&str, &InstanceDesired> =
                services.iter().filter(here).map(|built| (built.desired.service.as_str(), &built.desired)).collect();
            if own.is_empty() {
                continue;
            }
            self.enter(Some(used));
            let probes = self.probes(used, &own);
            for (name, written) in &used.role.procedures {
                used.name.as_str().clone_into(&mut self.subject);
                let path = format!("procedures.{name}");
                let shape = Shape::Object(&PROCEDURE);
                let Some(node) = self.effective(&written.node, &path, written.key_place, &shape) else { continue };
                let read = procedure_steps::Reading { used, own: &own, probes: &probes, key: written.key_place };
                all.extend(self.procedure(name, &node, &read).map(Arc::new));
            }
            for (service, probes) in probes {
                self.behaviours.entry(service).or_default().probes = probes;
            }
        }
        self.enter(None);
        all
    }

    /// The probes of a role, as far as their services are on this host.
    fn probes(&mut self, used: &RoleUse, own: &BTreeMap<&str, &InstanceDesired>) -> Probes {
        let mut probes = Probes::new();
        for (name, written) in &used.role.probes {
            if FACTS.contains(&name.as_str()) {
                let message = format!("`{name}` is known of every member, and cannot be a probe");
                self.errors.push(Diagnostic::error("N001", written.key_place, message));
                continue;
            }
            let shape = Shape::Object(&VALUE_PROBE);
            let path = format!("probes.{name}");
            let Some(node) = self.effective(&written.node, &path, written.key_place, &shape) else { continue };
            let mut reader = Reader::default();
            let timeout = reader.scalar(&node, "timeout", scalars::duration);
            let found = match (node.get("exec"), node.get("run")) {
                (Some(exec), None) => {
                    let every = reader.scalar(&node, "every", scalars::duration).unwrap_or(Span::seconds(5));
                    let timeout = timeout.unwrap_or(Span::seconds(5));
                    if every == Span::ZERO || timeout == Span::ZERO {
                        let message = "`every` and `timeout` must be more than nothing";
                        self.errors.push(Diagnostic::error("V002", written.key_place, message));
                    }
                    let command = reader.command(exec, "command").unwrap_or_default();
                    self.service_of(used, exec.get("in"), own)
                        .map(|service| (service, ValueProbe::Exec { command, every, timeout }))
                }
                (None, Some(run)) => {
                    if let Some(every) = node.get("every") {
                        let message = "a probe of the kind `run` is asked only when a procedure wants to know";
                        self.errors.push(Diagnostic::error("V003", every.place, message));
                    }
                    self.one_off(used, run, timeout, own).map(|(service, how)| (service, ValueProbe::Stopped(how)))
                }
                _ => {
                    let message = format!("the probe `{name}` needs one of `exec`, `run`");
                    self.errors.push(Diagnostic::error("K003", written.key_place, message));
                    None
                }
            };
            self.errors.append(&mut reader.errors);
            if let Some((service, probe)) = found {
                probes.entry(service).or_default().insert(name.clone(), probe);
            }
        }
        probes
    }

    /// A command in a container like that of a service of this host.
    pub(super) fn one_off(
        &mut self,
        used: &RoleUse,
        node: &Node,
        timeout: Option<Span>,
        own: &BTreeMap<&str, &InstanceDesired>,
    ) -> Option<(ServiceName, OneOff)> {
        let mut reader = Reader::default();
        let mut command = reader.command(node, "command").unwrap_or_default();
        let network_mode = reader.text(node, "network_mode");
        self.errors.append(&mut reader.errors);
        let service = self.service_of(used, node.get("like"), own)?;
        let like = own.get(service.as_str())?;
        // The start program puts the files in place first.
        if like.settings.command.as_ref().and_then(|words| words.first()).is_some_and(|first| first == START) {
            command.insert(0, START.to_owned());
        }
        Some((service, OneOff { command, network_mode, timeout: timeout.unwrap_or(Span::seconds(300)) }))
    }

    /// A service of the role that a key names. One that is not on this host is no mistake.
    pub(super) fn service_of(
        &mut self,
        used: &RoleUse,
        node: Option<&Node>,
        own: &BTreeMap<&str, &InstanceDesired>,
    ) -> Option<ServiceName> {
        self.service_named(used, node).filter(|service| own.contains_key(service.as_str()))
    }

    /// A service of the role that a key names, wherever it is.
    pub(super) fn service_named(&mut self, used: &RoleUse, node: Option<&Node>) -> Option<ServiceName> {
        let node = node?;
        let text = node.as_text()?;
        if !used.role.services.contains_key(text) {
            let error = Diagnostic::error("R001", node.place, format!("`{text}` is no service of this role"));
            self.errors.push(error.maybe_help(did_you_mean(text, used.role.services.keys().map(String::as_str))));
            return None;
        }
        ServiceName::new(used.name_of(text)).ok()
    }
}

/// What expressions of a role may name.
pub(super) fn names_of(used: &RoleUse) -> Vec<String> {
    FACTS.iter().map(ToString::to_string).chain(used.role.probes.keys().cloned()).collect()
}
