//! Where what lies. All of a site is below `/mastic/SITE/`, so that a role of etcd can be given exactly that.
//!
//! | key | holds | written by |
//! |---|---|---|
//! | `peers/slots` | all slots of the site, in one record: budgets of hosts cut across services | whoever takes or gives back one |
//! | `peers/reports/HOST` | a host's word about itself, under its lease | its agent |
//! | `peers/facts/HOST` | what a host's machine is; it stays when the host is silent | its agent |
//! | `peers/records/NAME` | what the hosts agree on besides | whoever has read the last one |
//! | `agents/HOST` | which agent looks after the host, under its lease | that agent |
//! | `status/HOST` | its status, under a lease | its agent |
//! | `head` | the signed revision that is wanted | `mastic push` |
//! | `history/N` | that one and those before it | `mastic push` |
//! | `blobs/SHA256` | their files | `mastic push` |
//! | `requests/HOST/ID` | what people ask of a host, signed | a workstation |
//! | `answers/ID/HOST/N` | what it answers | its agent |

use crate::model::names::{HostName, SiteName};

/// What all keys of ours begin with.
const ROOT: &str = "/mastic/";

/// The keys of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Of a site.
    pub fn of(site: &SiteName) -> Self {
        Self { prefix: format!("{ROOT}{site}/") }
    }

    /// What the hosts have to know of each other.
    pub fn peers(&self) -> String {
        format!("{}peers/", self.prefix)
    }

    /// All slots.
    pub fn slots(&self) -> String {
        format!("{}peers/slots", self.prefix)
    }

    /// The words of all hosts.
    pub fn reports(&self) -> String {
        format!("{}peers/reports/", self.prefix)
    }

    /// The word of one.
    pub fn report(&self, host: &HostName) -> String {
        format!("{}{host}", self.reports())
    }

    /// What the machines of all hosts are.
    pub fn machines(&self) -> String {
        format!("{}peers/facts/", self.prefix)
    }

    /// What the machine of one is.
    pub fn machine(&self, host: &HostName) -> String {
        format!("{}{host}", self.machines())
    }

    /// What is agreed on under a name.
    pub fn record(&self, name: &str) -> String {
        format!("{}peers/records/{name}", self.prefix)
    }

    /// Which agent looks after a host.
    pub fn agent(&self, host: &HostName) -> String {
        format!("{}agents/{host}", self.prefix)
    }

    /// The status of all hosts.
    pub fn statuses(&self) -> String {
        format!("{}status/", self.prefix)
    }

    /// The status of one.
    pub fn status(&self, host: &HostName) -> String {
        format!("{}{host}", self.statuses())
    }

    /// What is wanted.
    pub fn head(&self) -> String {
        format!("{}head", self.prefix)
    }

    /// What is or was wanted.
    pub fn histories(&self) -> String {
        format!("{}history/", self.prefix)
    }

    /// One of it.
    pub fn history(&self, generation: u64) -> String {
        format!("{}{generation}", self.histories())
    }

    /// The files of revisions.
    pub fn blobs(&self) -> String {
        format!("{}blobs/", self.prefix)
    }

    /// One of them.
    pub fn blob(&self, sha256: &str) -> String {
        format!("{}{sha256}", self.blobs())
    }

    /// What people ask of a host.
    pub fn requests(&self, host: &HostName) -> String {
        format!("{}requests/{host}/", self.prefix)
    }

    /// What hosts answer to one question.
    pub fn answers(&self, id: &str) -> String {
        format!("{}answers/{id}/", self.prefix)
    }

    /// The names of all sites that something was pushed of. No site is called so: names begin with a letter or digit.
    pub fn sites() -> String {
        format!("{ROOT}.sites/")
    }
}
