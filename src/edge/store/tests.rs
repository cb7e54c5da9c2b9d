#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use indexmap::IndexMap;

use super::*;
use crate::model::desired::SyncPolicy;
use crate::model::names::{HostName, SiteName};
use crate::model::time::Timestamp;
use crate::report::event::Severity;

fn desired(generation: u64) -> HostDesired {
    HostDesired {
        filesets: Vec::new(),
        changes: Vec::new(),
        waits: crate::model::facts::Waits::default(),
        site: SiteName::new("demo").unwrap(),
        host: HostName::new("here").unwrap(),
        generation,
        source_digest: format!("{generation:064x}"),
        services: IndexMap::new(),
        jobs: IndexMap::new(),
        networks: std::collections::BTreeMap::new(),
        volumes: std::collections::BTreeMap::new(),
        registries: std::collections::BTreeMap::new(),
        sync: SyncPolicy::default(),
        placement: std::collections::BTreeMap::new(),
        budgets: Vec::new(),
        behaviours: std::collections::BTreeMap::new(),
        procedures: Vec::new(),
        secrets: Vec::new(),
    }
}

fn revision(generation: u64) -> Revision {
    Revision {
        generation,
        accepted_at: Timestamp(i64::try_from(generation).unwrap() * 1000),
        user: "ada".to_owned(),
        source_digest: format!("{generation:064x}"),
        cause: "edit".to_owned(),
    }
}

fn memory(generation: u64) -> HostMemory {
    HostMemory { generation, ..HostMemory::default() }
}

fn modes(directory: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        found.push((entry.file_name().into_string().unwrap(), mode));
        if entry.path().is_dir() {
            found.extend(modes(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn an_empty_place_is_an_empty_store_and_stays_untouched() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let store = DiskStore::open(&state);
    assert_eq!(store.load_memory().unwrap(), HostMemory::default());
    assert_eq!(store.recover_memory().unwrap(), RecoveredMemory::default());
    assert_eq!(store.load_accepted().unwrap(), None);
    assert_eq!(store.revisions().unwrap(), []);
    assert_eq!(store.load_revision(1).unwrap(), None);
    assert_eq!(store.events(10).unwrap(), []);
    assert!(!state.exists());
}

#[test]
fn keeps_everything_for_us_alone() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let store = DiskStore::open(&state);
    store.save_memory(&memory(7)).unwrap();
    store.save_accepted(&desired(7), &revision(7), &BTreeSet::new()).unwrap();
    let event = Event {
        at: Timestamp(1),
        generation: 7,
        severity: Severity::Warning,
        reason: "GateFailed".to_owned(),
        subject: "web".to_owned(),
        message: "exited with 1".to_owned(),
    };
    store.append_event(&event).unwrap();
    let key = store.site_key().unwrap();
    let again = DiskStore::open(&state);
    assert_eq!(again.load_memory().unwrap(), memory(7));
    assert_eq!(again.load_accepted().unwrap(), Some(desired(7)));
    assert_eq!(again.events(10).unwrap(), [event]);
    assert_eq!((again.site_key().unwrap(), key.len()), (key, 32));
    assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let modes: Vec<_> = modes(&state).iter().map(|(name, mode)| format!("{mode:o} {name}")).collect();
    insta::assert_snapshot!(modes.join("\n"), @"
    600 7.json
    600 accepted.json
    600 events.jsonl
    600 index.json
    600 memory.json
    700 revisions
    600 site.key
    ");
}

#[test]
fn keeps_ten_revisions_and_lists_them_without_an_index_too() {
    let state = tempfile::tempdir().unwrap();
    let store = DiskStore::open(state.path());
    for generation in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13] {
        store.save_accepted(&desired(generation), &revision(generation), &BTreeSet::new()).unwrap();
    }
    let expected: Vec<_> = [3, 4, 5, 6, 7, 8, 9, 10, 12, 13].map(revision).into();
    assert_eq!(store.revisions().unwrap(), expected);
    assert_eq!(store.load_revision(12).unwrap(), Some(desired(12)));
    assert_eq!(store.load_revision(2).unwrap(), None);
    store.save_accepted(&desired(14), &revision(14), &BTreeSet::from([1, 3, 14])).unwrap();
    assert_eq!(store.revisions().unwrap().len(), 11, "the newest ten, and the one that is in use");
    assert_eq!(store.load_revision(3).unwrap(), Some(desired(3)));
    store.save_accepted(&desired(14), &revision(14), &BTreeSet::new()).unwrap();
    let expected: Vec<_> = [4, 5, 6, 7, 8, 9, 10, 12, 13, 14].map(revision).into();
    assert_eq!(store.revisions().unwrap(), expected);
    let index = state.path().join("revisions/index.json");
    fs::write(&index, "{").unwrap();
    assert_eq!(store.revisions().unwrap(), expected);
    fs::remove_file(&index).unwrap();
    assert_eq!(store.revisions().unwrap(), expected);
}

#[test]
fn what_a_crash_left_unlisted_is_replaced_or_forgotten() {
    let state = tempfile::tempdir().unwrap();
    let store = DiskStore::open(state.path());
    store.save_accepted(&desired(1), &revision(1), &BTreeSet::new()).unwrap();
    fs::write(state.path().join("revisions/2.json"), "{").unwrap();
    fs::write(state.path().join("revisions/9.json"), "{").unwrap();
    store.save_accepted(&desired(2), &revision(2), &BTreeSet::new()).unwrap();
    assert_eq!(store.load_revision(2).unwrap(), Some(desired(2)));
    assert_eq!(store.revision_files().unwrap(), [1, 2]);
}

#[test]
fn unchanged_memory_is_not_written_again() {
    let state = tempfile::tempdir().unwrap();
    let store = DiskStore::open(state.path());
    store.save_memory(&memory(1)).unwrap();
    let inode = || state.path().join("memory.json").metadata().unwrap().ino();
    let before = inode();
    store.save_memory(&memory(1)).unwrap();
    assert_eq!(inode(), before);
    store.save_memory(&memory(2)).unwrap();
    assert_ne!(inode(), before);
}

#[test]
fn a_corrupt_memory_is_an_error_and_is_put_aside_on_demand() {
    let state = tempfile::tempdir().unwrap();
    let store = DiskStore::open(state.path());
    let path = state.path().join("memory.json");
    for number in 1..=10 {
        fs::write(&path, format!("{{\"generation\": \"s3cret{number}\"")).unwrap();
        let error = store.load_memory().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}: is corrupt: ", path.display())) && !error.contains("s3cret"),
            "{error}"
        );
        let recovered = store.recover_memory().unwrap();
        assert_eq!(recovered.memory, HostMemory::default());
        let aside = state.path().join(format!("memory.json.corrupt-{}", number.min(9)));
        assert!(fs::read_to_string(&aside).unwrap().contains(&format!("s3cret{number}")));
        let lost = recovered.lost.unwrap().to_string();
        assert!(lost.contains(&format!("it lies in {} now", aside.display())) && !lost.contains("s3cret"), "{lost}");
        assert_eq!(store.load_memory().unwrap(), HostMemory::default());
    }
    fs::write(&path, "").unwrap();
    let error = store.load_memory().unwrap_err();
    assert_eq!(error.reason, "is corrupt: ends too early at 1:0");
}

#[test]
fn other_corrupt_files_name_themselves_and_stay() {
    let state = tempfile::tempdir().unwrap();
    let store = DiskStore::open(state.path());
    fs::write(state.path().join("accepted.json"), "]").unwrap();
    fs::write(state.path().join("site.key"), "abcd\n").unwrap();
    let error = store.load_accepted().unwrap_err().to_string();
    assert_eq!(error, format!("{}/accepted.json: is corrupt: is no JSON at 1:1", state.path().display()));
    let error = store.site_key().unwrap_err().to_string();
    assert_eq!(error, format!("{}/site.key: is corrupt: it should hold 64 hex digits", state.path().display()));
    assert_eq!(fs::read_to_string(state.path().join("site.key")).unwrap(), "abcd\n");
}

#[test]
fn a_place_that_takes_nothing_is_told_in_the_systems_words() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    fs::write(&state, "a file").unwrap();
    let store = DiskStore::open(&state);
    let error = store.save_memory(&memory(1)).unwrap_err();
    assert_eq!(error.path, format!("{}/memory.json", state.display()));
    assert!(["Not a directory", "File exists"].contains(&error.reason.as_str()), "{error}");
}
