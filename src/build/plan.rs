//! What has to be built, and why.
//!
//! In: recipes with their hashes, what was selected, and what the engine has. Out: a [`BuildPlan`], parents first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::naming::ImageName;
use super::recipe::Recipe;

/// An image as the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Its id.
    pub id: String,
    /// What it was made of, by its label.
    pub hash: Option<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<String>,
}

/// Why an image is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", content = "parent", rename_all = "snake_case")]
pub enum Reason {
    /// The engine does not have it.
    Missing,
    /// It is there, but was not made by `mastic build`.
    Foreign,
    /// It was made of something else.
    Changed,
    /// Its parent is built.
    ParentBuilt(ImageName),
    /// Its parent has been built anew since.
    ParentReplaced(ImageName),
    /// It was asked for.
    Forced,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("it is not there"),
            Self::Foreign => formatter.write_str("what is there was not made by mastic"),
            Self::Changed => formatter.write_str("what it is made of has changed"),
            Self::ParentBuilt(parent) => write!(formatter, "its parent `{parent}` is built"),
            Self::ParentReplaced(parent) => write!(formatter, "its parent `{parent}` has been built anew since"),
            Self::Forced => formatter.write_str("forced"),
        }
    }
}

/// One image of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: ImageName,
    /// Its reference.
    pub reference: String,
    /// What it is made of.
    pub hash: String,
    /// Images of ours that it is built from.
    pub parents: BTreeSet<ImageName>,
    /// Why it is built; none where it stays.
    pub reason: Option<Reason>,
    /// Whether it was asked for, not only needed.
    pub selected: bool,
}

/// What is to be done, parents first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildPlan {
    /// Images that were selected or are built.
    pub entries: Vec<Entry>,
}

impl BuildPlan {
    /// How many are built.
    pub fn builds(&self) -> usize {
        self.entries.iter().filter(|entry| entry.reason.is_some()).count()
    }
}

/// What a plan is made of.
#[derive(Debug)]
pub struct Request<'a> {
    /// Recipes of what was selected and of all that it is built from.
    pub recipes: &'a BTreeMap<ImageName, Recipe>,
    /// Their names, parents first.
    pub order: &'a [ImageName],
    /// What was asked for.
    pub selected: &'a BTreeSet<ImageName>,
    /// Hashes.
    pub hashes: &'a BTreeMap<ImageName, String>,
    /// What the engine has.
    pub existing: &'a BTreeMap<ImageName, Existing>,
    /// Build what was selected in any case.
    pub force: bool,
}

/// Plans.
pub fn plan(request: &Request<'_>) -> BuildPlan {
    let stale: BTreeMap<&ImageName, Option<Reason>> =
        request.order.iter().map(|name| (name, stale(request, name))).collect();
    let parents = |name: &ImageName| request.recipes.get(name).map(|recipe| &recipe.parents);
    // What is not selected is built only if something needs it: found from the children up to the parents.
    let mut needed: BTreeSet<&ImageName> = BTreeSet::new();
    for name in request.order.iter().rev() {
        let is_stale = stale.get(name).is_some_and(Option::is_some);
        if is_stale && (request.selected.contains(name) || needed.contains(name)) {
            needed.insert(name);
            needed.extend(parents(name).into_iter().flatten());
        }
    }
    let mut built: BTreeSet<&ImageName> = BTreeSet::new();
    let mut entries = Vec::new();
    for name in request.order {
        let Some(recipe) = request.recipes.get(name) else { continue };
        let own = stale.get(name).cloned().flatten().filter(|_| needed.contains(name));
        let of_parent =
            || recipe.parents.iter().find(|parent| built.contains(parent)).cloned().map(Reason::ParentBuilt);
        let reason = own.or_else(of_parent);
        let selected = request.selected.contains(name);
        if reason.is_some() {
            built.insert(name);
        } else if !selected {
            continue;
        }
        entries.push(Entry {
            name: name.clone(),
            reference: recipe.reference.clone(),
            hash: request.hashes.get(name).cloned().unwrap_or_default(),
            parents: recipe.parents.clone(),
            reason,
            selected,
        });
    }
    BuildPlan { entries }
}

/// Why an image is not what it should be, apart from what happens to its parents now.
fn stale(request: &Request<'_>, name: &ImageName) -> Option<Reason> {
    let Some(existing) = request.existing.get(name) else { return Some(Reason::Missing) };
    match &existing.hash {
        None => return Some(Reason::Foreign),
        Some(hash) if request.hashes.get(name) != Some(hash) => return Some(Reason::Changed),
        Some(_) => {}
    }
    if request.force && request.selected.contains(name) {
        return Some(Reason::Forced);
    }
    // An image from which only files are copied shares no layers; its hash speaks for it.
    let recipe = request.recipes.get(name)?;
    let base = request.recipes.get(base(recipe, request.recipes)?)?;
    let below = &request.existing.get(&base.name)?.layers;
    (!existing.layers.starts_with(below)).then(|| Reason::ParentReplaced(base.name.clone()))
}

/// The image of ours that the last stage of a Dockerfile begins with.
fn base<'a>(recipe: &'a Recipe, recipes: &'a BTreeMap<ImageName, Recipe>) -> Option<&'a ImageName> {
    let image = super::dockerfile::base(&recipe.dockerfile)?;
    recipe.parents.iter().find(|parent| recipes.get(*parent).is_some_and(|parent| parent.reference == image))
}
