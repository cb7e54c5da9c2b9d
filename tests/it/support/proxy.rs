//! A way to the engine that can be cut.

use std::io::copy;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Hands connections on to the engine's socket while it is not cut.
pub struct Proxy {
    path: PathBuf,
    is_cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Proxy {
    /// Listens in a directory.
    #[track_caller]
    pub fn new(directory: &Path) -> Self {
        let path = directory.join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let proxy = Self { path, is_cut: Arc::default(), streams: Arc::default() };
        let (is_cut, streams) = (proxy.is_cut.clone(), proxy.streams.clone());
        thread::spawn(move || {
            for ours in listener.incoming().flatten() {
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let theirs = UnixStream::connect(engine_socket()).unwrap();
                let both = [ours.try_clone().unwrap(), theirs.try_clone().unwrap()];
                streams.lock().unwrap().extend(both);
                pump(ours.try_clone().unwrap(), theirs.try_clone().unwrap());
                pump(theirs, ours);
            }
        });
        proxy
    }

    /// As `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Ends all connections and takes no more.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn pump(mut from: UnixStream, mut to: UnixStream) {
    thread::spawn(move || {
        let _bytes = copy(&mut from, &mut to);
        let _ended = to.shutdown(Shutdown::Write);
    });
}

/// The engine's own socket.
pub fn engine_socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}
