//! What the containers of an image do: simulated programs.
//!
//! A program reads files only by the paths that its container sees, so wrong mounts and wrong content are found.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::image::ImageDefaults;
use crate::model::time::Span;

/// Content that every simulated program takes as broken.
pub const BAD: &[u8] = b"bad";

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// How long it lives.
    pub life: Life,
    /// What its health check says; only asked where the container has one.
    pub health: Course,
    /// What it does with its stop signal.
    pub on_stop: OnStop,
    /// Files that it reads at its start and when told by SIGHUP or `reload`; with bad content it ends with code 1.
    pub reads: Vec<String>,
    /// When it answers over the network.
    pub ready_after: Span,
    /// It writes to the engine's disk at its start, and ends with code 1 where that is full.
    pub writes: bool,
    /// At its end it leaves one more file beside those that were put into its container.
    pub makes: bool,
    /// What commands in its container answer; `validate`, `check`, `reload`, `true`, `false` and `sleep` are known anyway.
    pub commands: BTreeMap<String, Command>,
}

/// How long a process lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Until it is stopped.
    Forever,
    /// It ends by itself.
    Ends {
        /// After its start.
        after: Span,
        /// With this code.
        code: i64,
    },
    /// The engine cannot start it: the program does not exist.
    CannotStart,
}

/// What a health check says over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Healthy from then on.
    Healthy {
        /// After the start.
        after: Span,
    },
    /// Unhealthy from then on.
    Unhealthy {
        /// After the start.
        after: Span,
    },
    /// Healthy, unhealthy, healthy ...
    Flaps {
        /// How often it turns.
        every: Span,
    },
}

/// What a process does with its stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// It ends.
    Ends {
        /// After the signal.
        after: Span,
        /// With this code.
        code: i64,
    },
    /// Nothing: it has to be killed.
    Ignores,
}

/// What a command in a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// It answers.
    Answers {
        /// How long it takes.
        after: Span,
        /// Exit code.
        code: i64,
        /// What it writes.
        output: String,
    },
    /// It never ends.
    Hangs,
    /// 1 if one of the mounted files of ours has bad content, else 0.
    Validates,
    /// 0 if the program would answer over the network, else 1.
    Checks,
    /// The program reads its files again.
    Reloads,
    /// A load balancer leads clients to servers, or away: `NAME=ready` and `NAME=drain`. It prints how servers are.
    Balances {
        /// How long the clients of a server stay once it gets no new ones.
        stay: Span,
    },
}

impl Program {
    /// Runs for ever; healthy and answering after so long.
    pub fn healthy_after(after: Span) -> Self {
        Self {
            life: Life::Forever,
            health: Course::Healthy { after },
            on_stop: OnStop::Ends { after: Span(20), code: 0 },
            reads: Vec::new(),
            ready_after: after,
            writes: false,
            makes: false,
            commands: BTreeMap::new(),
        }
    }

    /// Ends by itself: a job, or a service that crashes.
    pub fn ends(after: Span, code: i64) -> Self {
        Self { life: Life::Ends { after, code }, ..Self::healthy_after(Span(50)) }
    }

    /// Ends well, and leaves one more file.
    pub fn makes(after: Span) -> Self {
        Self { makes: true, ..Self::ends(after, 0) }
    }

    /// Runs, and never answers.
    pub fn never_healthy(after: Span) -> Self {
        Self { health: Course::Unhealthy { after }, ready_after: Span(u64::MAX / 4), ..Self::healthy_after(Span(50)) }
    }

    /// Turns from healthy to unhealthy and back.
    pub fn flaps(every: Span) -> Self {
        Self { health: Course::Flaps { every }, ..Self::healthy_after(every) }
    }

    /// The engine cannot start it.
    pub fn missing() -> Self {
        Self { life: Life::CannotStart, ..Self::healthy_after(Span::ZERO) }
    }

    /// The same, but it ignores its stop signal.
    #[must_use]
    pub fn deaf(self) -> Self {
        Self { on_stop: OnStop::Ignores, ..self }
    }

    /// The same, but it needs room on the disk.
    #[must_use]
    pub fn writing(self) -> Self {
        Self { writes: true, ..self }
    }

    /// The same, but it reads a file.
    #[must_use]
    pub fn reading(mut self, path: impl Into<String>) -> Self {
        self.reads.push(path.into());
        self
    }
}

/// A simulated image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimImage {
    /// What it sets.
    pub defaults: ImageDefaults,
    /// What its containers do.
    pub program: Program,
    /// What they do with another command, by its words joined with spaces.
    pub programs: BTreeMap<String, Program>,
    /// Files in it, such as `/etc/passwd`.
    pub files: BTreeMap<String, Bytes>,
    /// Bytes.
    pub size: u64,
}

impl SimImage {
    /// An image whose containers all do this.
    pub fn of(program: Program) -> Self {
        Self {
            defaults: ImageDefaults { command: vec!["serve".to_owned()], ..ImageDefaults::default() },
            program,
            programs: BTreeMap::new(),
            files: BTreeMap::new(),
            size: 10_000_000,
        }
    }

    /// What a container with these words does.
    pub fn program_of(&self, words: &[String]) -> &Program {
        self.programs.get(&words.join(" ")).unwrap_or(&self.program)
    }
}
