//! Who is chosen, and why nobody is.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::names::HostName;
use crate::model::procedure::{ProcedureRecord, ProcedureStep, Rank};
use crate::render::expression::{self, Answer};

use super::{AGAIN_MOST, Deciding, Decision, Phase, cut_off, missing, refused, told};

impl Deciding<'_> {
    /// At the step that chooses: who it is, or why it is nobody.
    pub(super) fn choose(&self, current: usize, among: Option<&str>, by: &[Rank]) -> Decision {
        let waiting = |phase: Phase| {
            let told = told(&phase);
            let mut decision = self.active(current);
            for instructed in decision.instructions.values_mut() {
                instructed.refused.clone_from(&told);
            }
            Decision { phase, ..decision }
        };
        if let Some(until) = self.record.not_before.filter(|until| self.input.now < *until)
            && until.since(self.input.now) <= AGAIN_MOST
        {
            return Decision { wake: Some(until), ..self.active(current) };
        }
        let eligible =
            |index: usize| among.map_or(Answer::True, |among| expression::ask_of_member(among, &self.facts[index]));
        if let Some(forced) = &self.record.forced {
            let index = self.input.members.iter().position(|member| member.host == *forced);
            if index.is_none_or(|index| eligible(index) != Answer::True) {
                return waiting(refused(self.procedure, &format!("{forced} has nothing that could be gone on from")));
            }
            return self.chosen(forced.clone());
        }
        let missing = missing(self.input.members);
        if !missing.is_empty() {
            return waiting(refused(self.procedure, &cut_off(&missing)));
        }
        let answers: Vec<Answer> = (0..self.input.members.len()).map(eligible).collect();
        if answers.contains(&Answer::Unknown) {
            return waiting(refused(self.procedure, "it is not known who could be chosen"));
        }
        if let Some(why) = self.differs() {
            return waiting(refused(self.procedure, &why));
        }
        let candidates = (0..answers.len()).filter(|index| answers[*index] == Answer::True);
        let best = candidates.min_by(|one, other| self.compare(*one, *other, by));
        match best {
            Some(index) => self.chosen(self.input.members[index].host.clone()),
            None => waiting(refused(self.procedure, "no member has anything that could be gone on from")),
        }
    }

    fn chosen(&self, host: HostName) -> Decision {
        let record = ProcedureRecord { chosen: Some(host), ..self.record.clone() };
        let choose = self.procedure.steps.iter().position(|step| matches!(step, ProcedureStep::Choose { .. }));
        Decision { write: Some(record), ..self.active(choose.unwrap_or(0)) }
    }

    /// Why the members do not belong together.
    fn differs(&self) -> Option<String> {
        let same = self.procedure.same.as_ref()?;
        let mut seen: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (facts, member) in self.facts.iter().zip(self.input.members) {
            let counts = same.among.as_ref().map_or(Answer::True, |among| expression::ask_of_member(among, facts));
            match counts {
                Answer::False => continue,
                Answer::True => {}
                Answer::Unknown => return Some(format!("`{}` of {} is not known", same.value, member.host)),
            }
            let Some(value) = expression::value_of(&same.value, facts) else {
                return Some(format!("`{}` of {} is not known", same.value, member.host));
            };
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            seen.entry(shown).or_default().push(member.host.as_str());
        }
        if seen.len() < 2 {
            return None;
        }
        let groups: Vec<String> =
            seen.iter().map(|(value, hosts)| format!("{value} on {}", hosts.join(", "))).collect();
        Some(format!("`{}` differs: {}", same.value, groups.join("; ")))
    }

    /// The better one is the lesser.
    fn compare(&self, one: usize, other: usize, by: &[Rank]) -> Ordering {
        let number = |rank: &Rank, index: usize| {
            let value = expression::value_of(&rank.value, &self.facts[index]).unwrap_or(Value::Null);
            value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
        };
        by.iter()
            .map(|rank| match (number(rank, one), number(rank, other)) {
                (Some(one), Some(other)) if rank.largest => other.cmp(&one),
                (Some(one), Some(other)) => one.cmp(&other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            })
            .find(|order| *order != Ordering::Equal)
            .unwrap_or_else(|| one.cmp(&other))
    }
}
