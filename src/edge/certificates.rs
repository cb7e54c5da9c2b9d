//! Certificates in the store of secrets: which are due, and making them.

use crate::model::certificate::{AUTHORITY, stored};
use crate::model::names::HostName;
use crate::model::secret::Sensitive;
use crate::model::time::Timestamp;
use crate::parse::secret_store::Store;
use crate::resolve::certificates::WantedCertificate;

use super::authority::{self, CertificateError, Issued, Known};
use super::secret_store::{SecretStore, SecretStoreError};

/// Why certificates could not be seen to.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The store.
    #[error(transparent)]
    Store(#[from] SecretStoreError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Nobody can sign.
    #[error("the site has no authority yet: `mastic certs init` makes it")]
    NoAuthority,
}

/// Why a certificate is to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// There is none.
    Missing,
    /// It is no certificate, or its key is not there.
    Broken,
    /// Another authority has signed it.
    OtherAuthority,
    /// It is for other names.
    OtherNames,
    /// It ends soon, or has ended.
    Ends,
    /// Somebody asked for it.
    Asked,
}

impl Due {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Broken => "broken",
            Self::OtherAuthority => "signed by another authority",
            Self::OtherNames => "for other names",
            Self::Ends => "near its end",
            Self::Asked => "asked for",
        }
    }
}

fn text(store: &Store, name: &str) -> Option<String> {
    store.get(name).map(|value| String::from_utf8_lossy(value.expose()).into_owned())
}

/// The authority in a store.
pub fn authority_of(store: &Store) -> Option<Issued> {
    let key = store.get(&format!("{AUTHORITY}.key"))?.clone();
    Some(Issued { certificate: text(store, &format!("{AUTHORITY}.cert"))?, key })
}

/// What there is of a certificate, and why it is to be made anew, if it is.
pub fn look(store: &Store, wanted: &WantedCertificate, now: Timestamp) -> (Option<Known>, Option<Due>) {
    let name = stored(&wanted.name, wanted.host.as_str());
    let Some(certificate) = text(store, &format!("{name}.cert")) else { return (None, Some(Due::Missing)) };
    let Ok(known) = authority::known(&certificate) else { return (None, Some(Due::Broken)) };
    let mut names = wanted.names.clone();
    names.sort();
    let signed = authority_of(store).is_some_and(|own| authority::is_signed_by(&certificate, &own.certificate));
    let due = if store.get(&format!("{name}.key")).is_none() {
        Some(Due::Broken)
    } else if !signed {
        Some(Due::OtherAuthority)
    } else if known.names != names {
        Some(Due::OtherNames)
    } else if now.plus(wanted.renew_before) >= known.until {
        Some(Due::Ends)
    } else {
        None
    };
    (Some(known), due)
}

/// Makes the authority where there is none. Whether it did.
pub fn init(store: &mut SecretStore, site: &str, now: Timestamp) -> Result<bool, CertificatesError> {
    if authority_of(&store.read()?).is_some() {
        return Ok(false);
    }
    let made = authority::new_authority(site, now)?;
    store.set(&entries(AUTHORITY, made))?;
    Ok(true)
}

/// Makes what is due and what `asked` names, for one host or for all; returns which, and why.
pub fn keep(
    store: &mut SecretStore,
    wanted: &[WantedCertificate],
    host: Option<&HostName>,
    asked: impl Fn(&WantedCertificate) -> bool,
    now: Timestamp,
) -> Result<Vec<(String, Due)>, CertificatesError> {
    let known = store.read()?;
    let mut made = Vec::new();
    let mut values = Vec::new();
    for wanted in wanted.iter().filter(|wanted| host.is_none_or(|host| wanted.host == *host)) {
        let due = if asked(wanted) { Some(Due::Asked) } else { look(&known, wanted, now).1 };
        let Some(due) = due else { continue };
        let authority = authority_of(&known).ok_or(CertificatesError::NoAuthority)?;
        let issued = authority::issue(&authority, &wanted.names, now, wanted.lifetime)?;
        values.extend(entries(&stored(&wanted.name, wanted.host.as_str()), issued));
        made.push((format!("{}/{}", wanted.name, wanted.host), due));
    }
    if !values.is_empty() {
        store.set(&values)?;
    }
    Ok(made)
}

fn entries(name: &str, issued: Issued) -> [(String, Sensitive); 2] {
    [(format!("{name}.cert"), Sensitive::new(issued.certificate)), (format!("{name}.key"), issued.key)]
}
