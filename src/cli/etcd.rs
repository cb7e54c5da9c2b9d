//! Reaching etcd: the options that all verbs share, and what they lead to.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::edge::etcd::{Client, EtcdOptions, sites};
use crate::edge::revision::SigningKey;
use crate::model::names::SiteName;
use crate::resolve::compile::CompileRequest;
use crate::resolve::survey::survey;

use super::error::CommandError;

/// Where hosts agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CoordinatorKind {
    /// Within one program, by its state directory
    #[default]
    Local,
    /// In etcd, with an agent on each host
    Etcd,
}

/// Where etcd is, and who we are there.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Agents with etcd")]
pub struct EtcdArguments {
    /// Where hosts agree: within this program, or in etcd
    #[arg(long, global = true, value_enum, default_value_t, env = "MASTIC_COORDINATOR")]
    pub coordinator: CoordinatorKind,
    /// The members of etcd, as https://10.0.0.1:2379,...
    #[arg(long, global = true, value_name = "URL", env = "MASTIC_ETCD_ENDPOINTS", value_delimiter = ',')]
    pub etcd_endpoints: Vec<String>,
    /// The certificate of etcd's authority; without it those of the system
    #[arg(long, global = true, value_name = "FILE", env = "MASTIC_ETCD_CA")]
    pub etcd_ca: Option<PathBuf>,
    /// Our certificate, where etcd asks for one
    #[arg(long, global = true, value_name = "FILE", env = "MASTIC_ETCD_CERT")]
    pub etcd_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, global = true, value_name = "FILE", env = "MASTIC_ETCD_KEY")]
    pub etcd_key: Option<PathBuf>,
    /// Our name, where etcd has users
    #[arg(long, global = true, value_name = "NAME", env = "MASTIC_ETCD_USER")]
    pub etcd_user: Option<String>,
    /// A file with its password in the first line
    #[arg(long, global = true, value_name = "FILE", env = "MASTIC_ETCD_PASSWORD_FILE")]
    pub etcd_password_file: Option<PathBuf>,
    /// The site in etcd, where it has several
    #[arg(long, global = true, value_name = "NAME", env = "MASTIC_SITE", value_parser = site)]
    pub site: Option<SiteName>,
    /// The key that signs what is pushed and asked for
    #[arg(long, global = true, value_name = "FILE", env = "MASTIC_KEY")]
    pub key: Option<PathBuf>,
}

fn site(text: &str) -> Result<SiteName, String> {
    SiteName::new(text).map_err(|error| error.to_string())
}

impl EtcdArguments {
    /// Whether the command is for agents that meet in etcd.
    pub fn is_meant(&self) -> bool {
        self.coordinator == CoordinatorKind::Etcd
    }

    /// A way to it.
    pub fn client(&self) -> Result<Client, CommandError> {
        let client = Client::new(EtcdOptions {
            endpoints: self.etcd_endpoints.clone(),
            authority: self.etcd_ca.clone(),
            certificate: self.etcd_cert.clone(),
            key: self.etcd_key.clone(),
            user: self.etcd_user.clone(),
            password_file: self.etcd_password_file.clone(),
        });
        client.map_err(|error| CommandError::usage(error.to_string()))
    }

    /// The key that signs.
    pub fn signing_key(&self) -> Result<SigningKey, CommandError> {
        let Some(path) = &self.key else {
            return Err(CommandError::usage("no key was named; agents only take what somebody has signed")
                .hinted("give it with --key FILE; `mastic push --generate-key FILE` makes one"));
        };
        Ok(SigningKey::read(path)?)
    }

    /// The site that is meant: as named, as the files say, or the only one that there is.
    pub async fn chosen_site(
        &self,
        request: Option<&CompileRequest>,
        client: &Client,
    ) -> Result<SiteName, CommandError> {
        if let Some(site) = &self.site {
            return Ok(site.clone());
        }
        if let Some(request) = request {
            let files = crate::edge::site_files::DiskSiteFiles::new();
            if let Ok(survey) = survey(request, &files) {
                return Ok(survey.site().clone());
            }
        }
        self.only_site(client).await
    }

    /// The only site that there is.
    pub async fn only_site(&self, client: &Client) -> Result<SiteName, CommandError> {
        match sites(client).await?.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(CommandError::failed("nothing was ever pushed to this etcd")
                .hinted("publish a site with `mastic push`, or name it with --site")),
            several => {
                let names: Vec<&str> = several.iter().map(SiteName::as_str).collect();
                Err(CommandError::usage(format!("etcd has several sites: {}", names.join(", ")))
                    .hinted("name one with --site"))
            }
        }
    }
}
