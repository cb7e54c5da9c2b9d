//! Where the settings of a file come from that was put together from layers.

use serde_json::{Value as Json, json};

use crate::parse::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::suggest::did_you_mean;
use crate::port::site_files::SiteFiles;
use crate::render::layers::{Origin, Setting};

use super::compile::{CompileRequest, compile};
use super::layered::LayeredFile;

/// What a path begins with that means a layered file: `config/SERVICE/FILE/SECTION/KEY`.
pub const PREFIX: &str = "config/";

/// One file, or those of its settings that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigExplanation {
    file: LayeredFile,
    wanted: Vec<String>,
}

/// Explains `config/SERVICE/FILE` and what is inside of it. With `config/` alone it tells which files there are.
pub fn explain_config(
    request: &CompileRequest,
    files: &dyn SiteFiles,
    path: &str,
) -> Result<ConfigExplanation, Diagnostics> {
    let compiled = compile(request, files)?;
    let parts: Vec<&str> =
        path.strip_prefix(PREFIX).unwrap_or(path).split('/').filter(|part| !part.is_empty()).collect();
    let name = |file: &LayeredFile| format!("{PREFIX}{}/{}", file.subject, file.file);
    let known: Vec<String> = compiled.layered.iter().map(name).collect();
    let found = compiled
        .layered
        .iter()
        .find(|file| parts.first() == Some(&file.subject.as_str()) && parts.get(1) == Some(&file.file.as_str()));
    let fail = |error: Diagnostic| Diagnostics::new(compiled.sources.clone(), vec![error]);
    let Some(file) = found else {
        let asked = format!("{PREFIX}{}", parts.iter().take(2).copied().collect::<Vec<_>>().join("/"));
        let error = Diagnostic::general("E001", format!("no file of a role is `{asked}`"));
        let error = error.maybe_help(did_you_mean(&asked, known.iter().map(String::as_str)));
        return Err(fail(if known.is_empty() {
            error.help("no role of this site has files of `format: ini` or `yaml`")
        } else {
            error.help(format!("there are {}", known.join(", ")))
        }));
    };
    let wanted: Vec<String> = parts.get(2..).unwrap_or_default().iter().map(|part| (*part).to_owned()).collect();
    let explanation = ConfigExplanation { file: file.clone(), wanted };
    if explanation.settings().next().is_none() && !explanation.wanted.is_empty() {
        let asked = explanation.wanted.join("/");
        let known: Vec<String> = file.settings.iter().map(|setting| setting.path.join("/")).collect();
        let error = Diagnostic::general("E001", format!("`{}` has no setting `{asked}`", name(file)));
        return Err(fail(error.maybe_help(did_you_mean(&asked, known.iter().map(String::as_str)))));
    }
    Ok(explanation)
}

impl ConfigExplanation {
    /// All of a file.
    pub fn of(file: &LayeredFile) -> Self {
        Self { file: file.clone(), wanted: Vec::new() }
    }

    fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.file.settings.iter().filter(|setting| setting.path.starts_with(&self.wanted))
    }

    fn place(&self, origin: &Origin) -> String {
        let layer = self.file.layers.get(origin.layer).map_or("", String::as_str);
        format!("{layer}:{}", origin.line)
    }

    /// For machines.
    pub fn to_json(&self) -> Json {
        let settings = self.settings().map(|setting| {
            json!({
                "path": setting.path,
                "values": setting.values,
                "deleted": setting.deleted(),
                "from": self.place(&setting.origin),
                "overridden": setting.replaced.iter()
                    .map(|past| json!({"values": past.values, "from": self.place(&past.origin)})).collect::<Vec<_>>(),
            })
        });
        json!({
            "service": self.file.subject,
            "file": self.file.file,
            "layers": self.file.layers,
            "settings": settings.collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let show = |values: &[String]| values.join(", ");
        let mut text = String::new();
        if self.wanted.is_empty() {
            text.push_str(&format!(
                "{} of {}, of these layers, the lowest first:\n",
                self.file.file, self.file.subject
            ));
            for layer in &self.file.layers {
                text.push_str(&format!("  {layer}\n"));
            }
            text.push('\n');
        }
        for setting in self.settings() {
            let value =
                if setting.deleted() { "taken away".to_owned() } else { format!("= {}", show(&setting.values)) };
            text.push_str(&format!("{setting} {value}\n  from {}\n", self.place(&setting.origin)));
            for past in setting.replaced.iter().rev() {
                text.push_str(&format!("  over {} from {}\n", show(&past.values), self.place(&past.origin)));
            }
        }
        text
    }
}
