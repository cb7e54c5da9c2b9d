//! What wakes the loop.

use crate::observe::observed::EngineEvent;

use super::command::Request;

/// One thing that happened outside.
#[derive(Debug)]
pub enum Input {
    /// The site's files may have changed.
    Edit,
    /// Somebody asked to read the site anew, whatever the files look like (SIGHUP).
    Reload,
    /// The engine said something.
    Engine(EngineEvent),
    /// The stream of events is there (again): something may have been missed.
    EventsConnected,
    /// The stream of events broke: why.
    EventsLost(String),
    /// Files that are mounted into containers may have changed: the directory, or all.
    Files(Option<String>),
    /// Somebody asks for something.
    Request(Box<Request>),
    /// The loop is to end; the containers stay.
    Shutdown,
}
