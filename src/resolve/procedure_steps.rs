//! One procedure of a role, read and checked.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::InstanceDesired;
use crate::model::names::ServiceName;
use crate::model::procedure::{Auto, OneOff, ProcedureDesired, ProcedureStep, Rank, Refuse, Same, ValueProbe, Whom};
use crate::model::time::Span;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::read::{At, Reader};
use crate::parse::role::RoleUse;
use crate::parse::scalars;
use crate::parse::source::Place;
use crate::parse::suggest::did_you_mean;
use crate::render::expression;

use super::compile::HostCompiler;
use super::procedures::{Probes, names_of};

/// What a procedure is read with.
pub(super) struct Reading<'a> {
    /// The role, as it is used.
    pub(super) used: &'a RoleUse,
    /// Its services on this host.
    pub(super) own: &'a BTreeMap<&'a str, &'a InstanceDesired>,
    /// Its probes.
    pub(super) probes: &'a Probes,
    /// Where the name of the procedure stands.
    pub(super) key: Place,
}

/// The keys of which each step has one.
const KINDS: [&str; 6] = ["stop", "probe", "choose", "run", "start", "wipe"];

impl HostCompiler<'_> {
    /// A procedure; none where its service is not on this host, or something is wrong.
    pub(super) fn procedure(&mut self, name: &str, node: &Node, read: &Reading<'_>) -> Option<ProcedureDesired> {
        let before = self.errors.len();
        let mut reader = Reader::default();
        let auto = node.get("auto").and_then(|auto| {
            let when = reader.at(auto, "when", |s| Ok(s.text.clone()))?;
            let lasts = reader.scalar(auto, "for", scalars::duration).unwrap_or(Span::seconds(60));
            Some((when, lasts))
        });
        if let Some((when, _)) = &auto {
            self.of_all(when, read);
        }
        let same = node.get("need").and_then(|need| need.get("same")).and_then(|same| {
            let value = reader.at(same, "value", |s| Ok(s.text.clone()))?;
            Some((value, reader.at(same, "among", |s| Ok(s.text.clone()))))
        });
        for at in same.iter().flat_map(|(value, among)| std::iter::once(value).chain(among)) {
            self.of_member(at, read);
        }
        let refuse = node.get("refuse");
        let refuse = Refuse {
            reason: refuse.and_then(|refuse| reader.text(refuse, "reason")).unwrap_or_else(|| "Refused".to_owned()),
            way_out: refuse.and_then(|refuse| reader.text(refuse, "override")),
        };
        let fence: Vec<&Node> = node.get("fence").map(|fence| fence.items().iter().collect()).unwrap_or_default();
        let fence: BTreeSet<ServiceName> =
            fence.into_iter().filter_map(|name| self.service_of(read.used, Some(name), read.own)).collect();
        let mut service: Option<At<ServiceName>> = None;
        let mut choice: Option<String> = None;
        let mut steps = Vec::new();
        for step in node.get("steps").map(Node::items).unwrap_or_default() {
            steps.extend(self.step(step, read, &mut service, &mut choice, &mut reader));
        }
        self.errors.append(&mut reader.errors);
        if auto.is_some() && steps.iter().any(|step| matches!(step, ProcedureStep::Wipe { .. })) {
            let message = format!("`{name}` wipes, and must not begin by itself");
            self.errors.push(Diagnostic::error("V003", read.key, message));
        }
        let written = node.get("steps").map(Node::items).unwrap_or_default();
        if !written.iter().any(|step| step.get("start").is_some()) {
            let message = format!("`{name}` starts nothing, and would never be over");
            self.errors.push(Diagnostic::error("V003", read.key, message));
        }
        let service = service?.value;
        if self.errors.len() > before || !read.own.contains_key(service.as_str()) {
            return None;
        }
        let members = self.tree.services.get(&service).cloned().unwrap_or_default();
        Some(ProcedureDesired {
            role: read.used.name.clone(),
            name: name.to_owned(),
            fence: fence.into_iter().filter(|other| *other != service).collect(),
            service,
            members,
            auto: auto.map(|(when, lasts)| Auto { when: when.value, lasts }),
            same: same.map(|(value, among)| Same { value: value.value, among: among.map(|at| at.value) }),
            refuse,
            steps,
        })
    }

    fn step(
        &mut self,
        node: &Node,
        read: &Reading<'_>,
        about: &mut Option<At<ServiceName>>,
        choice: &mut Option<String>,
        reader: &mut Reader,
    ) -> Option<ProcedureStep> {
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| node.get(kind).is_some()).collect();
        let [kind] = given.as_slice() else {
            let message = format!("a step has one of {}; this one has {}", KINDS.join(", "), given.len());
            self.errors.push(Diagnostic::error("K003", node.place, message));
            return None;
        };
        let value = node.get(kind)?;
        let at = self.whom(node, choice.as_deref());
        let timeout = reader.scalar(node, "timeout", scalars::duration);
        let (service, step) = match *kind {
            "stop" => {
                let grace = reader.scalar(node, "grace", scalars::duration);
                (self.service_of(read.used, Some(value), read.own)?, ProcedureStep::Stop { at, grace })
            }
            "probe" => {
                let (service, probe, how) = self.stopped_probe(value, read)?;
                (service, ProcedureStep::Probe { probe, how, at })
            }
            "choose" => {
                if choice.is_some() {
                    self.errors.push(Diagnostic::error("V003", value.place, "a procedure chooses one host at most"));
                }
                *choice = value.as_text().map(str::to_owned);
                let Some(from) = node.get("from") else {
                    let error = Diagnostic::error("K003", value.place, "`choose` needs `from`");
                    self.errors.push(error.help("name the service whose hosts can be chosen: `from: SERVICE`"));
                    return None;
                };
                let among = reader.at(node, "among", |s| Ok(s.text.clone()));
                if let Some(among) = &among {
                    self.of_member(among, read);
                }
                let by = reader.texts_at(node, "by");
                let by = by.iter().filter_map(|at| self.rank(at, read)).collect();
                let service = self.service_of(read.used, Some(from), read.own)?;
                (service, ProcedureStep::Choose { among: among.map(|at| at.value), by })
            }
            "run" => {
                let (service, how) = self.one_off(read.used, value, timeout, read.own)?;
                (service, ProcedureStep::Run { how, at })
            }
            "start" => {
                let service = self.service_of(read.used, Some(value), read.own)?;
                let variant = self.variant(node, &service);
                let parallel = reader
                    .scalar(node, "parallel", |s| scalars::integer(s, 1, i64::from(i32::MAX)))
                    .and_then(|count| u32::try_from(count).ok());
                if let Some(until) = node.get("until").filter(|until| until.as_text() != Some("ready")) {
                    let message = "`start` goes on until it is `ready`, and until nothing else";
                    self.errors.push(Diagnostic::error("V002", until.place, message));
                }
                (service, ProcedureStep::Start { at, variant, parallel })
            }
            _ => self.wipe(node, value, at, read, reader)?,
        };
        match about {
            None => *about = Some(At::new(service, node.place)),
            Some(other) if other.value != service => {
                let message = format!("a procedure is about one service, and this step is about `{service}`");
                let error = Diagnostic::error("V003", node.place, message);
                self.errors.push(error.also(other.place, "the first step is about another"));
            }
            Some(_) => {}
        }
        Some(step)
    }

    fn wipe(
        &mut self,
        node: &Node,
        value: &Node,
        at: Whom,
        read: &Reading<'_>,
        reader: &mut Reader,
    ) -> Option<(ServiceName, ProcedureStep)> {
        let service = self.service_of(read.used, Some(value), read.own)?;
        let confirmed = reader.boolean(node, "confirm") == Some(true);
        let volumes = reader.texts(node, "volumes").unwrap_or_default();
        let (Some(until), Some(probe)) = (reader.at(node, "until", |s| Ok(s.text.clone())), node.get("probe_with"))
        else {
            let message = "`wipe` needs `until`, and with `probe_with` the probe that answers it";
            self.errors.push(Diagnostic::error("K003", value.place, message));
            return None;
        };
        if !confirmed || volumes.is_empty() || at != Whom::Given {
            let message = "`wipe` needs `confirm: true`, `volumes`, and `at: args.host`: a person names the host";
            self.errors.push(Diagnostic::error("K003", value.place, message));
        }
        self.of_member(&until, read);
        let (_, probe, how) = self.stopped_probe(probe, read)?;
        let volumes = volumes.iter().map(|volume| read.used.name_of(volume)).collect();
        Some((service, ProcedureStep::Wipe { at, volumes, until: until.value, probe, how }))
    }

    fn whom(&mut self, node: &Node, choice: Option<&str>) -> Whom {
        let Some((place, text)) = node.get("at").and_then(|at| Some((at.place, at.as_text()?))) else {
            return Whom::All;
        };
        match text {
            "all" => Whom::All,
            "others" if choice.is_some() => Whom::Others,
            "args.host" => Whom::Given,
            text if Some(text) == choice => Whom::Chosen,
            text => {
                let known: Vec<&str> =
                    ["all", "args.host"].into_iter().chain(choice).chain(choice.map(|_| "others")).collect();
                let error = Diagnostic::error("R001", place, format!("`{text}` is no host of this step"));
                let hint = did_you_mean(text, known.iter().copied());
                self.errors.push(error.maybe_help(hint).help(format!("there are {}", known.join(", "))));
                Whom::All
            }
        }
    }

    fn stopped_probe(&mut self, node: &Node, read: &Reading<'_>) -> Option<(ServiceName, String, OneOff)> {
        let name = node.as_text()?;
        if !read.used.role.probes.contains_key(name) {
            let error = Diagnostic::error("R001", node.place, format!("`{name}` is no probe of this role"));
            let known = read.used.role.probes.keys().map(String::as_str);
            self.errors.push(error.maybe_help(did_you_mean(name, known)));
            return None;
        }
        let found = read.probes.iter().find_map(|(service, probes)| Some((service, probes.get(name)?)));
        match found? {
            (service, ValueProbe::Stopped(how)) => Some((service.clone(), name.to_owned(), how.clone())),
            (_, ValueProbe::Exec { .. }) => {
                let message = format!("`{name}` asks a running container; a step asks while it is stopped");
                self.errors.push(Diagnostic::error("V003", node.place, message));
                None
            }
        }
    }

    fn variant(&mut self, node: &Node, service: &ServiceName) -> Option<String> {
        let written = node.get("variant")?;
        let name = written.as_text().filter(|name| *name != "none")?;
        let known = self.behaviours.get(service).map(|behaviour| &behaviour.variants);
        let is_known = known.is_some_and(|variants| variants.contains_key(name));
        if !is_known {
            let hint = did_you_mean(name, known.into_iter().flat_map(BTreeMap::keys).map(String::as_str));
            let error = Diagnostic::error("R001", written.place, format!("`{service}` has no variant `{name}`"));
            self.errors.push(error.maybe_help(hint));
        }
        Some(name.to_owned())
    }

    fn rank(&mut self, at: &At<String>, read: &Reading<'_>) -> Option<Rank> {
        let (largest, value) = match at.value.split_once(' ') {
            None if at.value == "ordinal" => (false, "ordinal"),
            Some(("max", value)) => (true, value),
            Some(("min", value)) => (false, value),
            _ => {
                let message = format!("`{}` is none of `max VALUE`, `min VALUE`, `ordinal`", at.value);
                self.errors.push(Diagnostic::error("V002", at.place, message));
                return None;
            }
        };
        self.of_member(&At::new(value.to_owned(), at.place), read);
        Some(Rank { value: value.to_owned(), largest })
    }

    fn of_all(&mut self, at: &At<String>, read: &Reading<'_>) {
        let names = names_of(read.used);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.wrong(expression::check(&at.value, &names), at.place);
    }

    fn of_member(&mut self, at: &At<String>, read: &Reading<'_>) {
        let names = names_of(read.used);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.wrong(expression::check_of_member(&at.value, &names), at.place);
    }
}
