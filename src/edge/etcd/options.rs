//! Where etcd is, whom it trusts, and who we are.

use std::fs;
use std::path::{Path, PathBuf};

use http::Uri;
use rustls::ClientConfig;

use crate::edge::docker::{Certificates, tls_config};
use crate::edge::system_words;
use crate::model::secret::Sensitive;

/// How to reach etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdOptions {
    /// Its members, as `https://10.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// The certificate of its authority; none trusts the system's.
    pub authority: Option<PathBuf>,
    /// Our certificate, where etcd asks for one.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Our name, where etcd has users.
    pub user: Option<String>,
    /// The file with its password.
    pub password_file: Option<PathBuf>,
}

/// What of it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No member was named.
    #[error("no endpoint of etcd was named; give its members with --etcd-endpoints https://10.0.0.1:2379,...")]
    NoEndpoint,
    /// Not an address.
    #[error("`{0}` is no endpoint of etcd: it must be https://HOST:PORT, or http://HOST:PORT without TLS, and no more")]
    Endpoint(String),
    /// A password on the network for everybody to read.
    #[error("`{0}` is without TLS beyond this machine, and a user's password would go over it: use https://")]
    Unprotected(String),
    /// Half a login or half a certificate.
    #[error("{0} makes no sense without {1}")]
    Half(&'static str, &'static str),
    /// A file cannot be used.
    #[error("{0}")]
    File(String),
}

/// A user and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// User.
    pub user: String,
    /// Password.
    pub password: Sensitive,
}

impl EtcdOptions {
    /// The members' addresses without a slash at the end.
    pub fn members(&self) -> Result<Vec<String>, OptionsError> {
        let members = self.endpoints.iter().map(|written| member(written)).collect::<Result<Vec<_>, _>>()?;
        if members.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        if self.user.is_some()
            && let Some(open) = members.iter().find(|member| member.starts_with("http://") && !is_near(member))
        {
            return Err(OptionsError::Unprotected(open.clone()));
        }
        Ok(members)
    }

    /// The login, read anew: whoever changes the password changes the file.
    pub fn login(&self) -> Result<Option<Login>, OptionsError> {
        match (&self.user, &self.password_file) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(OptionsError::Half("--etcd-user", "--etcd-password-file")),
            (None, Some(_)) => Err(OptionsError::Half("--etcd-password-file", "--etcd-user")),
            (Some(user), Some(path)) => {
                Ok(Some(Login { user: user.clone(), password: Sensitive::new(line_of(path)?) }))
            }
        }
    }

    /// What TLS needs.
    pub(super) fn tls(&self) -> Result<ClientConfig, OptionsError> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => return Err(OptionsError::Half("--etcd-cert", "--etcd-key")),
            (None, Some(_)) => return Err(OptionsError::Half("--etcd-key", "--etcd-cert")),
            _ => {}
        }
        let certificates = Certificates {
            authority: self.authority.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
        };
        tls_config(&certificates).map_err(|error| OptionsError::File(error.to_string()))
    }
}

fn line_of(path: &Path) -> Result<Vec<u8>, OptionsError> {
    let unusable = |why: &str| OptionsError::File(format!("{}: {why}", path.display()));
    let content = fs::read(path).map_err(|error| unusable(&system_words(&error)))?;
    let line = content.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    if line.is_empty() { Err(unusable("it holds no password in its first line")) } else { Ok(line.to_vec()) }
}

fn member(written: &str) -> Result<String, OptionsError> {
    let wrong = || OptionsError::Endpoint(written.to_owned());
    let uri: Uri = written.trim().parse().map_err(|_| wrong())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(wrong)?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong());
    }
    let port = authority.port_u16().unwrap_or(2379);
    Ok(format!("{scheme}://{}:{port}", authority.host()))
}

fn is_near(member: &str) -> bool {
    let host = member.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn of(endpoints: &[&str]) -> EtcdOptions {
        EtcdOptions { endpoints: endpoints.iter().map(|one| (*one).to_owned()).collect(), ..EtcdOptions::default() }
    }

    #[test]
    fn endpoints_are_members_and_no_more() {
        let members = of(&["https://a:1/", "http://127.0.0.1", "https://[fd00::1]:2379"]).members().unwrap();
        assert_eq!(members, ["https://a:1", "http://127.0.0.1:2379", "https://[fd00::1]:2379"]);
        for wrong in ["a:2379", "ftp://a", "https://", "https://u:p@a:1", "https://a/v3", "https://a?x", ""] {
            assert_eq!(of(&[wrong]).members(), Err(OptionsError::Endpoint(wrong.to_owned())), "{wrong}");
        }
        assert_eq!(of(&[]).members(), Err(OptionsError::NoEndpoint));
    }

    #[test]
    fn a_password_goes_over_no_open_network() {
        let with = |endpoint: &str| EtcdOptions { user: Some("u".to_owned()), ..of(&[endpoint]) }.members();
        assert!(matches!(with("http://10.0.0.1:2379"), Err(OptionsError::Unprotected(_))));
        assert!(with("https://10.0.0.1:2379").is_ok() && with("http://localhost:1").is_ok());
        assert!(with("http://[::1]:1").is_ok());
    }

    #[test]
    fn the_password_is_the_first_line_of_a_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("password");
        fs::write(&path, "secret word\n").unwrap();
        let options =
            EtcdOptions { user: Some("u".to_owned()), password_file: Some(path.clone()), ..EtcdOptions::default() };
        assert_eq!(options.login().unwrap().unwrap().password.expose(), b"secret word");
        fs::write(&path, "\n").unwrap();
        assert!(options.login().unwrap_err().to_string().ends_with("it holds no password in its first line"));
        let half = EtcdOptions { user: None, ..options };
        assert_eq!(half.login(), Err(OptionsError::Half("--etcd-password-file", "--etcd-user")));
        let half = EtcdOptions { certificate: Some(path), ..EtcdOptions::default() };
        assert_eq!(half.tls().unwrap_err(), OptionsError::Half("--etcd-cert", "--etcd-key"));
    }
}
