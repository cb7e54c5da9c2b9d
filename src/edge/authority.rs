//! The site's own certificate authority: what it signs, and what is left of what it has signed.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::model::secret::Sensitive;
use crate::model::time::{Span, Timestamp};

/// How long the authority is good: longer than anybody lets a site stand unchanged.
const AUTHORITY_DAYS: u64 = 3650;
/// Clocks of hosts differ.
const LEEWAY: Span = Span::seconds(300);
/// Characters that a common name may have.
const COMMON_NAME: usize = 64;

/// Why a certificate could not be made or read. It holds nothing of a key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The library refused.
    #[error("cannot make the certificate: {0}")]
    Make(String),
    /// The authority in the store is of no use.
    #[error("the authority in the store of secrets cannot be read: {0}")]
    Authority(String),
    /// No certificate.
    #[error("this is no certificate")]
    Unreadable,
}

/// A certificate with its key, both PEM.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: Sensitive,
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// From when it is good.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// DNS names and addresses, sorted.
    pub names: Vec<String>,
    /// Serial number in hex.
    pub serial: String,
}

fn make(error: rcgen::Error) -> CertificateError {
    CertificateError::Make(error.to_string())
}

fn params(
    names: &[String],
    common_name: &str,
    now: Timestamp,
    lifetime: Span,
) -> Result<CertificateParams, CertificateError> {
    let time = |at: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1000))
            .map_err(|error| CertificateError::Make(error.to_string()))
    };
    let mut params = CertificateParams::new(names.to_vec()).map_err(make)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name.chars().take(COMMON_NAME).collect::<String>());
    params.not_before = time(Timestamp(now.0 - i64::try_from(LEEWAY.0).unwrap_or(0)))?;
    params.not_after = time(now.plus(lifetime))?;
    Ok(params)
}

/// A new authority.
pub fn new_authority(site: &str, now: Timestamp) -> Result<Issued, CertificateError> {
    let key = KeyPair::generate().map_err(make)?;
    let lifetime = Span::seconds(AUTHORITY_DAYS * 24 * 60 * 60);
    let mut params = params(&[], &format!("{site} internal authority"), now, lifetime)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(make)?.pem();
    Ok(Issued { certificate, key: Sensitive::new(key.serialize_pem()) })
}

/// A certificate for servers and clients, signed by the authority.
pub fn issue(authority: &Issued, names: &[String], now: Timestamp, lifetime: Span) -> Result<Issued, CertificateError> {
    let broken = |error: rcgen::Error| CertificateError::Authority(error.to_string());
    let signing = String::from_utf8_lossy(authority.key.expose()).into_owned();
    let signing =
        KeyPair::from_pem(&signing).map_err(|_| CertificateError::Authority("its key is no key".to_owned()))?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signing).map_err(broken)?;
    let key = KeyPair::generate().map_err(make)?;
    let mut params = params(names, names.first().map_or("", String::as_str), now, lifetime)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer).map_err(make)?.pem();
    Ok(Issued { certificate, key: Sensitive::new(key.serialize_pem()) })
}

/// Reads a certificate.
pub fn known(pem: &str) -> Result<Known, CertificateError> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| CertificateError::Unreadable)?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| CertificateError::Unreadable)?;
    let alternative = certificate.subject_alternative_name().map_err(|_| CertificateError::Unreadable)?;
    let mut names: Vec<String> = alternative
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match *bytes {
                [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
                bytes => <[u8; 16]>::try_from(bytes).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
            },
            _ => None,
        })
        .collect();
    names.sort();
    let at = |time: x509_parser::time::ASN1Time| Timestamp(time.timestamp().saturating_mul(1000));
    let validity = certificate.validity();
    let serial = hex::encode(certificate.raw_serial());
    Ok(Known { from: at(validity.not_before), until: at(validity.not_after), names, serial })
}

/// Whether the authority has signed it.
pub fn is_signed_by(pem: &str, authority: &str) -> bool {
    let parsed = |text: &str| x509_parser::pem::parse_x509_pem(text.as_bytes()).ok().map(|(_, pem)| pem.contents);
    let (Some(certificate), Some(authority)) = (parsed(pem), parsed(authority)) else { return false };
    let (Ok((_, certificate)), Ok((_, authority))) =
        (X509Certificate::from_der(&certificate), X509Certificate::from_der(&authority))
    else {
        return false;
    };
    certificate.verify_signature(Some(authority.public_key())).is_ok()
}
