//! Who is built from whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::naming::ImageName;
use super::recipe::Recipe;
use crate::parse::diagnostic::Diagnostic;

/// The names, parents before those that are built from them.
///
/// Fails with the cycle where images are built from each other.
pub fn order(recipes: &BTreeMap<ImageName, Recipe>) -> Result<Vec<ImageName>, Diagnostic> {
    let mut walk = Walk { recipes, path: Vec::new(), done: Vec::new() };
    for name in recipes.keys() {
        walk.visit(name)?;
    }
    Ok(walk.done)
}

struct Walk<'a> {
    recipes: &'a BTreeMap<ImageName, Recipe>,
    path: Vec<&'a Recipe>,
    done: Vec<ImageName>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &ImageName) -> Result<(), Diagnostic> {
        // What has no recipe is reported elsewhere.
        let Some(recipe) = self.recipes.get(name) else { return Ok(()) };
        if self.done.contains(name) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|open| open.name == *name) {
            let names = self.path.iter().skip(start).map(|open| open.name.as_str()).chain([name.as_str()]);
            let chain: Vec<&str> = names.collect();
            let message = format!("images are built from each other: {}", chain.join(" <- "));
            return Err(
                Diagnostic::general("R002", message).help("look at FROM and COPY --from in their Dockerfile.j2")
            );
        }
        self.path.push(recipe);
        for parent in &recipe.parents {
            self.visit(parent)?;
        }
        self.path.pop();
        self.done.push(name.clone());
        Ok(())
    }
}

/// The names with all that they are built from.
pub fn with_ancestors(recipes: &BTreeMap<ImageName, Recipe>, names: &BTreeSet<ImageName>) -> BTreeSet<ImageName> {
    let mut all = BTreeSet::new();
    let mut open: Vec<&ImageName> = names.iter().collect();
    while let Some(name) = open.pop() {
        if all.insert(name.clone()) {
            open.extend(recipes.get(name).into_iter().flat_map(|recipe| &recipe.parents));
        }
    }
    all
}

/// In the language of Graphviz: an arrow leads from a parent to what is built from it; images of others are dashed.
pub fn dot(recipes: &BTreeMap<ImageName, Recipe>) -> String {
    let mut text = "digraph images {\n    rankdir=LR\n    node [shape=box]\n".to_owned();
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let foreign: BTreeSet<&String> = recipes.values().flat_map(|recipe| &recipe.foreign).collect();
    for image in foreign {
        let _ = writeln!(text, "    {} [style=dashed]", quote(image));
    }
    for recipe in recipes.values() {
        let name = quote(recipe.name.as_str());
        let _ = writeln!(text, "    {name}");
        for parent in recipe.parents.iter().map(ImageName::as_str).chain(recipe.foreign.iter().map(String::as_str)) {
            let _ = writeln!(text, "    {} -> {name}", quote(parent));
        }
    }
    text.push_str("}\n");
    text
}
