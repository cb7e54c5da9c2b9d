//! A way to an engine that can be cut, wholly or for its events only, and that writes down what is asked.

use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a test does in the middle of a call: once the engine has it, and before it has answered.
pub type Middle = Box<dyn FnMut(&str) + Send>;

/// Hands calls on to an engine's socket while it is not cut.
pub struct Proxy {
    path: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    engine: PathBuf,
    state: Mutex<State>,
    middle: Mutex<Option<Middle>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    events_are_cut: bool,
    streams: Vec<UnixStream>,
    events: Vec<UnixStream>,
    calls: Vec<String>,
}

impl Proxy {
    /// To the engine of all tests, listening in a directory.
    #[track_caller]
    pub fn new(directory: &Path) -> Self {
        Self::to(directory, Path::new(&engine_socket()))
    }

    /// To the engine at a socket.
    #[track_caller]
    pub fn to(directory: &Path, engine: &Path) -> Self {
        let path = directory.join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let shared = Arc::new(Shared { engine: engine.to_owned(), state: Mutex::default(), middle: Mutex::default() });
        let proxy = Self { path, shared: shared.clone() };
        thread::spawn(move || {
            for ours in listener.incoming().flatten() {
                if shared.state.lock().unwrap().is_cut {
                    continue;
                }
                // An engine that is away refuses us, and so we do.
                let Ok(theirs) = UnixStream::connect(&shared.engine) else { continue };
                let both = [ours.try_clone().unwrap(), theirs.try_clone().unwrap()];
                shared.state.lock().unwrap().streams.extend(both);
                let (mut answers, mut back) = (theirs.try_clone().unwrap(), ours.try_clone().unwrap());
                thread::spawn(move || {
                    let _bytes = copy(&mut answers, &mut back);
                    let _ended = back.shutdown(Shutdown::Both);
                });
                let shared = shared.clone();
                thread::spawn(move || {
                    let _ended = shared.ask(ours, &theirs);
                    let _ended = theirs.shutdown(Shutdown::Write);
                });
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
        let mut state = self.shared.state.lock().unwrap();
        state.is_cut = true;
        end(&mut state.streams);
    }

    /// Ends all streams of events and hands on no question for them; all else goes through.
    pub fn cut_events(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.events_are_cut = true;
        end(&mut state.events);
    }

    /// Hands everything on again.
    pub fn mend(&self) {
        let mut state = self.shared.state.lock().unwrap();
        (state.is_cut, state.events_are_cut) = (false, false);
    }

    /// Does something in the middle of each call that changes something; it is told which.
    pub fn in_the_middle(&self, middle: impl FnMut(&str) + Send + 'static) {
        *self.shared.middle.lock().unwrap() = Some(Box::new(middle));
    }

    /// Ends that.
    pub fn undisturbed(&self) {
        *self.shared.middle.lock().unwrap() = None;
    }

    /// What was asked since it was asked for the last time, such as `GET /containers/json`; without events.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state.lock().unwrap().calls)
    }

    /// Of those, what changes something.
    pub fn take_changes(&self) -> Vec<String> {
        self.take_calls().into_iter().filter(|call| changes(call)).collect()
    }
}

fn end(streams: &mut Vec<UnixStream>) {
    for stream in streams.drain(..) {
        let _ended = stream.shutdown(Shutdown::Both);
    }
}

fn changes(call: &str) -> bool {
    !(call.starts_with("GET ") || call.starts_with("HEAD "))
}

impl Shared {
    /// Hands requests on, one after the other, for as long as the connection lasts.
    fn ask(&self, ours: UnixStream, mut theirs: &UnixStream) -> std::io::Result<()> {
        let mut requests = BufReader::new(ours);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if requests.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let call = call(&head);
            let header = |name: &str| {
                head.lines().find_map(|line| {
                    line.split_once(':')
                        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.trim())
                })
            };
            {
                let mut state = self.state.lock().unwrap();
                if call != "GET /events" {
                    state.calls.push(call.clone());
                } else if state.events_are_cut {
                    return theirs.shutdown(Shutdown::Both);
                } else {
                    state.events.push(theirs.try_clone()?);
                }
            }
            theirs.write_all(head.as_bytes())?;
            let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            copy(&mut requests.by_ref().take(length), &mut theirs)?;
            if let Some(middle) = self.middle.lock().unwrap().as_mut().filter(|_| changes(&call)) {
                middle(&call);
            }
            // From here on it is no HTTP any more, or has no end that is told beforehand.
            if header("upgrade").is_some() || header("transfer-encoding").is_some() {
                copy(&mut requests, &mut theirs)?;
                return Ok(());
            }
        }
    }
}

/// `GET /containers/json` of `GET /v1.41/containers/json?all=true HTTP/1.1`.
fn call(head: &str) -> String {
    let mut words = head.split(' ');
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = url.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(path);
    format!("{method} {path}")
}

/// The engine's own socket.
pub fn engine_socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}
