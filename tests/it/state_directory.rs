//! The state directory on a disk that is full, read-only, or has lost something: what is there stays, what fails says
//! so in the system's words, and all goes on by itself afterwards. The disks are small ones in memory, mounted by the
//! test, which needs root as the engine's tests do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mastic::edge::coordinator::LocalCoordinator;
use mastic::edge::files::DiskFiles;
use mastic::edge::lock::{LockError, StateLock};
use mastic::edge::store::DiskStore;
use mastic::model::desired::Rollout;
use mastic::model::file::ObservedFile;
use mastic::model::memory::HostMemory;
use mastic::model::names::{HostName, ServiceName};
use mastic::model::peers::{Ask, Standing};
use mastic::model::time::Timestamp;
use mastic::port::coordinator::Coordinator;
use mastic::port::files::{FileToWrite, Files, ObserveFiles};
use mastic::port::store::Store;
use mastic::report::event::{Event, Severity};

use crate::support::Disk;

const KEY: &str = "web/1:abc";

/// For the slot of `web` on the only host.
fn ask(generation: u64) -> Ask {
    let host = HostName::new("here").unwrap();
    Ask {
        members: vec![host.clone()],
        host,
        service: ServiceName::new("web").unwrap(),
        generation,
        wanted_since: generation,
        goes_back: false,
        standing: Standing::Counts,
        rollout: Rollout::default(),
        budgets: Vec::new(),
    }
}

fn file(path: &str, content: &str) -> FileToWrite {
    FileToWrite { path: path.to_owned(), content: content.as_bytes().to_vec(), mode: 0o640, uid: 0, gid: 0 }
}

fn memory(generation: u64) -> HostMemory {
    HostMemory { generation, ..HostMemory::default() }
}

fn event(number: i64) -> Event {
    Event {
        at: Timestamp(number),
        generation: 1,
        severity: Severity::Normal,
        reason: "Started".to_owned(),
        subject: "web".to_owned(),
        message: "started".repeat(100),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn observed(files: &DiskFiles) -> BTreeMap<String, ObservedFile> {
    files.observe(KEY).await.unwrap()
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_lost_and_what_needs_no_space_goes_on() {
    let disk = Disk::new();
    let state = disk.path().join("state");
    let store = DiskStore::open(&state);
    let files = DiskFiles::open(&state).unwrap();
    let coordinator = LocalCoordinator::new(&state, HostName::new("here").unwrap());
    store.save_memory(&memory(1)).unwrap();
    store.append_event(&event(1)).unwrap();
    coordinator.acquire(&ask(1), Timestamp(1)).await.unwrap();
    files.write(KEY, &[file("fixed/0", "f"), file("live/0/name", "old")]).await.unwrap();
    let before = observed(&files).await;
    let names_before = names(&state);

    let filling = disk.fill();
    let error = store.save_memory(&memory(2)).unwrap_err();
    assert_eq!(error.reason, "No space left on device");
    assert_eq!(error.path, format!("{}/memory.json", state.display()));
    for number in 2..40 {
        // What is left of the last page takes some.
        if let Err(error) = store.append_event(&event(number)) {
            assert_eq!(error.reason, "No space left on device");
        }
    }
    let denied = coordinator.acquire(&ask(2), Timestamp(2)).await.unwrap_err().to_string();
    assert!(denied.ends_with("slots.json: No space left on device"), "{denied}");
    for wanted in [file("live/0/name", "new"), file("live/1/name", "new")] {
        let error = files.write(KEY, &[file("fixed/0", "f"), wanted]).await.unwrap_err();
        assert_eq!(error.reason, "No space left on device", "{error}");
    }
    let error = files.write("web/1:def", &[file("fixed/0", "f")]).await.unwrap_err();
    assert_eq!(error.reason, "No space left on device", "{error}");

    assert_eq!(store.load_memory().unwrap(), memory(1));
    assert_eq!(coordinator.slots().await.unwrap()[0].generation, 1);
    assert_eq!(observed(&files).await, before);
    assert_eq!(files.keys().await.unwrap(), [KEY]);
    assert_eq!(names(&state), names_before, "nothing half-made is left");
    assert_eq!(names(&state.join("files/web")), ["1:abc"]);

    // Healing that needs no space, and what is right already.
    let name = files.host_path(KEY, "live/0/name");
    fs::set_permissions(&name, fs::Permissions::from_mode(0o777)).unwrap();
    files.write(KEY, &[file("fixed/0", "f"), file("live/0/name", "old")]).await.unwrap();
    assert_eq!(observed(&files).await, before);
    store.save_memory(&memory(1)).unwrap();
    coordinator.acquire(&ask(1), Timestamp(3)).await.unwrap();
    let _lock = StateLock::take(&state, "agent").unwrap();
    assert!(matches!(StateLock::take(&state, "apply"), Err(LockError::Busy { .. })));

    fs::remove_file(filling).unwrap();
    store.save_memory(&memory(2)).unwrap();
    assert_eq!(store.load_memory().unwrap(), memory(2));
    store.append_event(&event(100)).unwrap();
    let events = store.events(1000).unwrap();
    assert_eq!((events[0].at, events[events.len() - 1].at), (Timestamp(1), Timestamp(100)));
    files.write(KEY, &[file("fixed/0", "f"), file("live/0/name", "new")]).await.unwrap();
    assert_ne!(observed(&files).await, before);
}

#[tokio::test]
async fn a_read_only_state_directory_is_read_and_refuses_in_words() {
    let disk = Disk::new();
    let state = disk.path().join("state");
    let store = DiskStore::open(&state);
    let files = DiskFiles::open(&state).unwrap();
    let web = ServiceName::new("web").unwrap();
    let coordinator = LocalCoordinator::new(&state, HostName::new("here").unwrap());
    let key = store.site_key().unwrap();
    store.save_memory(&memory(1)).unwrap();
    coordinator.acquire(&ask(1), Timestamp(1)).await.unwrap();
    files.write(KEY, &[file("live/0/name", "old")]).await.unwrap();
    let before = observed(&files).await;

    disk.make_read_only();
    assert_eq!(store.load_memory().unwrap(), memory(1));
    assert_eq!(store.recover_memory().unwrap().lost, None);
    assert_eq!(store.site_key().unwrap(), key);
    assert_eq!(observed(&files).await, before);
    files.clean().await.unwrap();
    files.write(KEY, &[file("live/0/name", "old")]).await.unwrap();
    store.save_memory(&memory(1)).unwrap();
    coordinator.acquire(&ask(1), Timestamp(2)).await.unwrap();

    assert_eq!(store.save_memory(&memory(2)).unwrap_err().reason, "Read-only file system");
    assert_eq!(store.append_event(&event(1)).unwrap_err().reason, "Read-only file system");
    let error = files.write(KEY, &[file("live/0/name", "new")]).await.unwrap_err();
    assert_eq!(error.reason, "Read-only file system");
    assert_eq!(files.remove(KEY).await.unwrap_err().reason, "Read-only file system");
    let denied = coordinator.release(&web).await.unwrap_err().to_string();
    assert!(denied.ends_with("slots.json: Read-only file system"), "{denied}");
    // There is no lock file yet, and none can be made: the directory itself is locked.
    let lock = StateLock::take(&state, "agent").unwrap();
    let busy = StateLock::take(&state, "apply").unwrap_err().to_string();
    assert!(busy.ends_with("/lock is locked by another process"), "{busy}");
    drop(lock);

    disk.make_writable();
    store.save_memory(&memory(2)).unwrap();
    files.write(KEY, &[file("live/0/name", "new")]).await.unwrap();
    coordinator.release(&web).await.unwrap();
}

#[tokio::test]
async fn a_corrupt_memory_costs_only_itself() {
    let disk = Disk::new();
    let state = disk.path().join("state");
    let store = DiskStore::open(&state);
    store.save_memory(&memory(1)).unwrap();
    store.append_event(&event(1)).unwrap();
    let key = store.site_key().unwrap();
    let path = state.join("memory.json");
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() / 2]).unwrap();

    let error = store.load_memory().unwrap_err();
    assert!(error.reason.starts_with("is corrupt: ends too early at "), "{error}");
    disk.make_read_only();
    let recovered = store.recover_memory().unwrap();
    assert_eq!(recovered.memory, HostMemory::default());
    let lost = recovered.lost.unwrap().reason;
    assert!(lost.ends_with("; and it cannot be put aside: Read-only file system"), "{lost}");

    disk.make_writable();
    let lost = store.recover_memory().unwrap().lost.unwrap().reason;
    assert!(lost.ends_with(&format!("; it lies in {}.corrupt-1 now", path.display())), "{lost}");
    assert_eq!(fs::read(state.join("memory.json.corrupt-1")).unwrap(), content[..content.len() / 2]);
    assert_eq!(store.load_memory().unwrap(), HostMemory::default());
    store.save_memory(&memory(7)).unwrap();
    assert_eq!(store.recover_memory().unwrap().memory, memory(7));
    assert_eq!((store.events(10).unwrap(), store.site_key().unwrap()), (vec![event(1)], key));
}
