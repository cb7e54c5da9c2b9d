//! Layers of one configuration file become one file: a role's template below, what operators lay over it above.
//!
//! In: rendered texts, the lowest first ([`LayerText`]), and their [`Format`]. Out: the merged file, really and with
//! placeholders for secrets, and where each setting comes from ([`Merged`]); or the first thing that is wrong
//! ([`LayerError`]: layer, line, column, cause, help). Where layers may lie is in [`lookup`].
//!
//! ```
//! use mastic::model::{file::Shown, secret::Sensitive};
//! use mastic::render::layers::{Format, LayerText, merge};
//! use mastic::render::template::Rendered;
//!
//! let layer = |name: &str, text: &str| LayerText {
//!     name: name.to_owned(),
//!     rendered: Rendered { real: Sensitive::new(text), shown: Shown::Text(text.to_owned()), uses_secret: false },
//! };
//! let merged = merge(
//!     Format::INI,
//!     &[
//!         layer("keystone.conf.j2", "[DEFAULT]\ndebug = False\nlog_dir = /var/log\n"),
//!         layer("keystone.conf", "[DEFAULT]\ndebug = True\nlog_dir !delete\n"),
//!     ],
//! )?;
//! assert_eq!(merged.rendered.real.expose(), b"[DEFAULT]\ndebug = True\n");
//! assert_eq!(merged.settings[0].to_string(), "[DEFAULT] debug");
//! # Ok::<(), mastic::render::layers::LayerError>(())
//! ```
//!
//! # INI
//!
//! Read as oslo.config reads it (its `iniparser`; a test compares the two):
//!
//! - A key is split from its value at the first of `=` and `:`. Quotes around a whole value are no part of it.
//! - Indented lines continue the value before them; a blank line ends it. `#` and `;` begin a comment in column 1 only.
//! - A key given more than once in one layer has all these values; a higher layer's replace all of them.
//! - Names are case-sensitive. Keys before the first section are kept there. An empty section is kept.
//! - Sections and keys stand in the order in which they were first seen.
//!
//! Beyond oslo.config, with lines that are errors in it, so that no real content means this:
//!
//! ```ini
//! [DEFAULT]
//! log_file !delete
//! [cache] !delete
//! ```
//!
//! The first takes a key away that lower layers set, the second a whole section. Keys that follow `[cache] !delete` are
//! the new section's, so it also replaces one.
//!
//! Written as `key = value` or `key=value`. Comments are not kept. Quotes are written where the author wrote
//! them: oslo.config takes them off again, and to other programs they may matter.
//!
//! # YAML
//!
//! Mappings are merged key by key; lists and scalars are replaced ([`Format::Yaml::extend_lists`] appends instead). The
//! order of keys is that of first sight. Scalars keep their spelling, and whether they were quoted: what `no`, `0644` or `1.10`
//! mean is for the program that reads the file. Keys of the same text are the same, quoted or not. Aliases and merge
//! keys (`<<`) are written out. Beyond a plain merge:
//!
//! ```yaml
//! logging: !delete        # takes away what lower layers have
//! listeners: !replace     # does not merge, but replaces
//!   public: {port: 80}
//! ```

use crate::model::file::Shown;
use crate::model::secret::Sensitive;

use super::template::Rendered;

mod error;
mod ini;
mod ini_merge;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod ini_tests;
pub mod lookup;
mod provenance;
mod yaml;
mod yaml_merge;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod yaml_tests;
mod yaml_write;

pub use error::{Cause, LayerError};
pub use provenance::{Origin, Past, Setting};

use error::Fault;

/// What a file is, as far as merging is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As oslo.config reads it.
    Ini {
        /// `key = value` rather than `key=value`.
        whitespace: bool,
    },
    /// YAML 1.1 or 1.2, one document.
    Yaml {
        /// A list goes behind that of the lower layers, rather than in its place.
        extend_lists: bool,
    },
}

impl Format {
    /// With blanks around `=`.
    pub const INI: Self = Self::Ini { whitespace: true };
    /// With lists replaced.
    pub const YAML: Self = Self::Yaml { extend_lists: false };
}

/// One layer of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerText {
    /// Its path, as people know it.
    pub name: String,
    /// What is in it.
    pub rendered: Rendered,
}

/// The merged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What is written, and what people see of it.
    pub rendered: Rendered,
    /// Every setting of the file in its order, and those that were taken away. Values are as people may see them;
    /// empty if the file cannot be shown.
    pub settings: Vec<Setting>,
}

/// Merges layers, the lowest first. Lines and columns are those of the rendered texts.
pub fn merge(format: Format, layers: &[LayerText]) -> Result<Merged, LayerError> {
    let real = layers
        .iter()
        .map(|layer| utf8(layer.rendered.real.expose()).map_err(|fault| LayerError::new(layer, fault)))
        .collect::<Result<Vec<_>, _>>()?;
    let of_layer = |(index, fault): (usize, Fault)| match layers.get(index) {
        Some(layer) => LayerError::new(layer, fault),
        // There is no fault without a layer.
        None => LayerError::nowhere(fault),
    };
    let (text, settings) = merge_texts(format, &real).map_err(of_layer)?;
    if !layers.iter().any(|layer| layer.rendered.uses_secret) {
        let shown = Shown::Text(text.clone());
        return Ok(Merged { rendered: Rendered { real: Sensitive::new(text), shown, uses_secret: false }, settings });
    }
    // Settings come from the shown texts too: even a key may be made of a secret.
    let shown = layers
        .iter()
        .map(|layer| if let Shown::Text(text) = &layer.rendered.shown { Some(text.as_str()) } else { None })
        .collect::<Option<Vec<_>>>()
        .and_then(|shown| merge_texts(format, &shown).ok());
    let (shown, settings) = match shown {
        Some((shown, settings)) => (Shown::Text(shown), settings),
        None => (Shown::Opaque(text.len() as u64), Vec::new()),
    };
    Ok(Merged { rendered: Rendered { real: Sensitive::new(text), shown, uses_secret: true }, settings })
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        Fault::at(&String::from_utf8_lossy(valid), valid.len()..valid.len(), Cause::NotText)
    })
}

/// The merged text and its settings; a fault comes with the number of its layer.
fn merge_texts(format: Format, texts: &[&str]) -> Result<(String, Vec<Setting>), (usize, Fault)> {
    match format {
        Format::Ini { whitespace } => {
            let mut merged = ini::Ini::default();
            for (index, text) in texts.iter().enumerate() {
                merged.overlay(ini::parse(text, index).map_err(|fault| (index, fault))?);
            }
            Ok((merged.write(whitespace), merged.settings()))
        }
        Format::Yaml { extend_lists } => {
            let mut merged = None;
            for (index, text) in texts.iter().enumerate() {
                let upper = yaml::parse(text, index).map_err(|fault| (index, fault))?;
                merged = yaml_merge::overlay(merged, upper, extend_lists);
            }
            Ok((yaml_write::write(merged.as_ref()), yaml_merge::settings(merged.as_ref())))
        }
    }
}
