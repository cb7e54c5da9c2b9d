//! What can go wrong, and with which exit code: those of Kolla's own program.

use thiserror::Error;

/// Why the start program ends without running the command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The contract cannot be used as it is written.
    #[error("{file}: {why}")]
    Invalid {
        /// The file of the contract.
        file: String,
        /// What is wrong, with the key.
        why: String,
    },
    /// The contract names something that this program or this image does not know.
    #[error("{file}: {why}")]
    Unknown {
        /// The file of the contract.
        file: String,
        /// What is wrong, with the key.
        why: String,
    },
    /// The environment does not say when files are copied.
    #[error("KOLLA_CONFIG_STRATEGY is {0}; set it to COPY_ALWAYS or COPY_ONCE")]
    Strategy(String),
    /// What is to be copied does not exist.
    #[error("`{0}` is to be copied and does not exist; `optional: true` allows that")]
    MissingSource(String),
    /// `--check`: the container runs another command.
    #[error("the command differs: `{running}` runs, and the file says `{wanted}`")]
    CommandDiffers {
        /// What was run.
        running: String,
        /// What the file says.
        wanted: String,
    },
    /// `--check`: files differ.
    #[error("these files are not as they should be: {}", .0.join(", "))]
    FilesDiffer(Vec<String>),
    /// `--check`: files are in place that the contract does not name any more.
    #[error("these files are in place, and the contract does not name them any more: {}", .0.join(", "))]
    Leftover(Vec<String>),
    /// Something that this user may not do.
    #[error("cannot {what} as user {user}: {why}")]
    NotAllowed {
        /// What was tried.
        what: String,
        /// The user's number.
        user: u32,
        /// What the system says, or what to do.
        why: String,
    },
    /// The system refused something.
    #[error("cannot {what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        why: String,
    },
}

impl Problem {
    /// 1 for what is written wrong or differs, 2 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid { .. }
            | Self::Strategy(_)
            | Self::MissingSource(_)
            | Self::CommandDiffers { .. }
            | Self::FilesDiffer(_)
            | Self::Leftover(_) => 1,
            Self::Unknown { .. } | Self::NotAllowed { .. } | Self::System { .. } => 2,
        }
    }
}
