//! Certificates that the site declares: for which hosts and names, and what of them goes into files.

use std::net::IpAddr;

use crate::model::certificate::{AUTHORITY, Part, stored};
use crate::model::file::Shown;
use crate::model::names::HostName;
use crate::model::secret::Sensitive;
use crate::model::time::Span;
use crate::parse::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::parse::node::Node;
use crate::parse::read::Reader;
use crate::parse::scalars;
use crate::parse::source::Place;
use crate::port::site_files::SiteFiles;
use crate::render::template::Rendered;

use super::compile::{CompileRequest, HostCompiler};
use super::hosts::choose;
use super::tree::{Tree, read};

const DAY: u64 = 24 * 60 * 60;

/// A certificate that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedCertificate {
    /// Its name in the site.
    pub name: String,
    /// The host that it is for.
    pub host: HostName,
    /// DNS names and addresses, the host's own first.
    pub names: Vec<String>,
    /// How long it is good.
    pub lifetime: Span,
    /// How long before its end it is made anew.
    pub renew_before: Span,
}

/// What a site says of its certificates.
#[derive(Clone, Debug)]
pub struct CertificateSurvey {
    /// The site's name.
    pub site: String,
    /// The host that this is, where that can be told.
    pub here: Option<HostName>,
    /// All certificates, host by host.
    pub wanted: Vec<WantedCertificate>,
}

/// Looks at the site, and at no secret.
pub fn survey(request: &CompileRequest, files: &dyn SiteFiles) -> Result<CertificateSurvey, Diagnostics> {
    let tree = read(request, files)?;
    let mut errors = tree.errors.clone();
    let wanted = wanted(&tree, &mut errors);
    if errors.iter().any(|error| error.severity == Severity::Error) {
        return Err(Diagnostics::new(tree.sources, errors));
    }
    let here = choose(&tree.site, request.host.as_deref(), &request.hostname).ok();
    Ok(CertificateSurvey { site: tree.site.name.to_string(), here, wanted })
}

/// What the site declares.
pub(super) fn wanted(tree: &Tree, errors: &mut Vec<Diagnostic>) -> Vec<WantedCertificate> {
    let mut all = Vec::new();
    let mut reader = Reader::default();
    for (name, entry) in tree.site.spec.get("certificates").into_iter().flat_map(Node::entries) {
        let node = &entry.value;
        let days = reader.integer(node, "days").and_then(|days| u64::try_from(days).ok()).unwrap_or(365);
        let lifetime = Span::seconds(days.saturating_mul(DAY));
        let usual = Span::seconds((days * DAY / 3).min(30 * DAY));
        let renew_before = reader.scalar(node, "renew_before", scalars::duration).unwrap_or(usual);
        if renew_before >= lifetime {
            let message =
                format!("the certificate `{name}` would be made anew all the time: it is good for {days} days");
            errors.push(Diagnostic::error("V002", entry.key_place, message).help("`renew_before` is to be shorter"));
            continue;
        }
        let hosts = match node.get("hosts") {
            Some(_) => {
                tree.groups.placement(&tree.site, node, entry.key_place, &format!("the certificate `{name}`"), errors)
            }
            None => tree.site.hosts.keys().cloned().collect(),
        };
        for host in hosts {
            let mut names = vec![host.to_string()];
            if let Some(known) = tree.site.hosts.get(&host) {
                names.extend(known.address.clone());
                names.extend(known.addresses.values().map(IpAddr::to_string));
            }
            names.extend(
                node.get("names")
                    .map(Node::items)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(Node::as_text)
                    .map(str::to_owned),
            );
            let mut seen = std::collections::BTreeSet::new();
            names.retain(|name| seen.insert(name.clone()));
            all.push(WantedCertificate { name: name.to_owned(), host, names, lifetime, renew_before });
        }
    }
    errors.append(&mut reader.errors);
    all
}

impl HostCompiler<'_> {
    /// A part of this host's certificate of a name, as it lies in the store.
    pub(super) fn certificate(&mut self, name: &str, part: Part, place: Place) -> Option<Rendered> {
        let declared: Vec<WantedCertificate> = wanted(self.tree, &mut Vec::new());
        if !declared.iter().any(|wanted| wanted.name == name && wanted.host == self.host) {
            if declared.iter().any(|wanted| wanted.name == name) {
                let message = format!("the certificate `{name}` is not for the host `{}`", self.host);
                self.errors.push(Diagnostic::error("R001", place, message).help("add the host to its `hosts`"));
            } else {
                let known: Vec<&str> = declared.iter().map(|wanted| wanted.name.as_str()).collect();
                let help = crate::parse::suggest::did_you_mean(name, known);
                let error = Diagnostic::error("R001", place, format!("no certificate is called `{name}`"));
                self.errors.push(error.maybe_help(help).help("declare it under `spec.certificates`"));
            }
            return None;
        }
        let own = stored(name, self.host.as_str());
        let (certificate, key, authority) = (format!("{own}.cert"), format!("{own}.key"), format!("{AUTHORITY}.cert"));
        let pieces = match part {
            Part::Certificate => vec![certificate],
            Part::Key => vec![key],
            Part::Chain => vec![certificate, authority],
            Part::Authority => vec![authority],
            Part::Bundle => vec![certificate, authority, key],
        };
        let mut content = Vec::new();
        for piece in pieces {
            let Some(text) = self.secrets.get(&piece) else {
                // A store that cannot be opened has been told of already.
                let message = format!("the certificate `{name}` for `{}` is not in the store of secrets", self.host);
                self.errors.push(Diagnostic::error("S002", place, message).help("`mastic certs issue` makes it"));
                return None;
            };
            content.extend_from_slice(text.expose());
        }
        let shown = if part.is_secret() {
            Shown::Opaque(content.len() as u64)
        } else {
            Shown::Text(String::from_utf8_lossy(&content).into_owned())
        };
        Some(Rendered { real: Sensitive::new(content), shown, uses_secret: part.is_secret() })
    }
}
