//! `mastic history`: the desired states that were accepted on this host.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use crate::edge::store::DiskStore;
use crate::model::time::{Timestamp, rfc3339};
use crate::port::store::Store as _;

use super::args::Global;
use super::ask::something_is_kept;
use super::error::{CommandError, Exit};
use super::output;

/// Options of `history`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  mastic history\n  mastic history -o json | jq '.[-1].generation'")]
pub struct Options {}

/// One of them. The names in its JSON are stable.
#[derive(Debug, Serialize)]
struct Entry {
    generation: u64,
    #[serde(with = "rfc3339")]
    accepted_at: Timestamp,
    user: String,
    source_digest: String,
    cause: String,
    in_force: bool,
}

/// Tells them, oldest first.
pub fn run(global: &Global, _: &Options) -> Result<Exit, CommandError> {
    let state = global.place().state;
    something_is_kept(&state)?;
    // Hosts of one site count the same generations; each keeps those that it has seen.
    let homes = global.place().homes()?;
    let home = homes.iter().find(|home| home.state.join("accepted.json").exists());
    let store = DiskStore::open(home.map_or(&state, |home| &home.state));
    let now = store.load_accepted()?.map_or(0, |desired| desired.generation);
    let entries: Vec<Entry> = store
        .revisions()?
        .into_iter()
        .map(|revision| Entry {
            in_force: revision.generation == now,
            generation: revision.generation,
            accepted_at: revision.accepted_at,
            user: revision.user,
            source_digest: revision.source_digest,
            cause: revision.cause,
        })
        .collect();
    output::show(global, &entries, || text(&entries))?;
    Ok(Exit::Done)
}

fn text(entries: &[Entry]) -> String {
    let by = entries.iter().map(|entry| entry.user.chars().count()).max().unwrap_or(0).max("BY".len());
    let mut text = format!("  GENERATION  ACCEPTED              {:<by$}  SOURCE        CAUSE\n", "BY");
    for entry in entries {
        let mark = if entry.in_force { '*' } else { ' ' };
        let source = entry.source_digest.get(..12).unwrap_or(&entry.source_digest);
        let accepted = entry.accepted_at.to_string();
        let _ = writeln!(
            text,
            "{mark} {:<10}  {accepted:<20}  {:<by$}  {source:<12}  {}",
            entry.generation, entry.user, entry.cause
        );
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_one_in_force_is_marked() {
        let entry = |generation, user: &str, in_force| Entry {
            generation,
            accepted_at: Timestamp(1_700_000_000_000),
            user: user.to_owned(),
            source_digest: "0123456789abcdef".to_owned(),
            cause: "edit".to_owned(),
            in_force,
        };
        insta::assert_snapshot!(text(&[entry(1, "ann", false), entry(2, "agent", true)]), @r"
          GENERATION  ACCEPTED              BY     SOURCE        CAUSE
          1           2023-11-14T22:13:20Z  ann    0123456789ab  edit
        * 2           2023-11-14T22:13:20Z  agent  0123456789ab  edit
        ");
    }
}
