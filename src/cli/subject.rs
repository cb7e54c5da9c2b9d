//! Which instance a command is about, where a site has several: `SERVICE`, or `HOST/SERVICE`.

use crate::edge::site_files::DiskSiteFiles;
use crate::edge::store::DiskStore;
use crate::model::desired::HostDesired;
use crate::port::store::Store as _;
use crate::resolve::compile::compile;

use super::args::Global;
use super::error::CommandError;
use super::world::Place;

/// One service or job on one host.
pub struct Subject {
    /// Options with the host alone.
    pub global: Global,
    /// Where the host's state is.
    pub home: Place,
    /// Service or job.
    pub name: String,
}

impl Subject {
    /// Finds it. An error where it is on several hosts and none is named.
    pub fn find(global: &Global, text: &str) -> Result<Self, CommandError> {
        let mut global = global.clone();
        let name = match text.split_once('/') {
            Some((host, name)) => {
                global.hosts = vec![host.to_owned()];
                name
            }
            None => text,
        };
        let place = global.place();
        let mut homes = place.homes()?;
        if let [_, _, ..] = homes.as_slice() {
            homes.retain(|home| has(home, name));
        }
        match homes.as_slice() {
            [home] => {
                if let Some(host) = home.selected.first().filter(|_| home.state != place.state) {
                    global.hosts = vec![host.clone()];
                }
                Ok(Self { home: home.clone(), name: name.to_owned(), global })
            }
            [] => Err(CommandError::usage(format!("there is no service or job `{name}` on any host"))),
            [first, ..] => {
                let hosts: Vec<&str> =
                    homes.iter().filter_map(|home| home.selected.first()).map(String::as_str).collect();
                let first = first.selected.first().map_or("HOST", String::as_str);
                Err(CommandError::usage(format!("`{name}` is on {}", hosts.join(", ")))
                    .hinted(format!("say which one is meant: `{first}/{name}`")))
            }
        }
    }
}

fn has(home: &Place, name: &str) -> bool {
    let knows = |desired: &HostDesired| desired.services.contains_key(name) || desired.jobs.contains_key(name);
    if let Ok(Some(accepted)) = DiskStore::open(&home.state).load_accepted() {
        return knows(&accepted);
    }
    let compiled = home.request.as_ref().map(|request| compile(request, &DiskSiteFiles::new()));
    compiled.is_some_and(|compiled| compiled.is_ok_and(|compiled| knows(&compiled.desired)))
}
