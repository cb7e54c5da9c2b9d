//! Why etcd could not be asked.

/// It names the member and the cause, and never a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// No member answered; what each of them did is told.
    #[error("no member of etcd answers: {0}")]
    Unreachable(String),
    /// A member answered, and said no.
    #[error("{endpoint}: etcd refuses: {message}")]
    Refused {
        /// Which member.
        endpoint: String,
        /// Its number of the reason, as gRPC counts.
        code: i64,
        /// In its words.
        message: String,
    },
    /// What it said makes no sense to us.
    #[error("{endpoint}: this is not what etcd 3.4 or later answers: {why}")]
    Strange {
        /// Which member.
        endpoint: String,
        /// Why.
        why: String,
    },
}

impl EtcdError {
    /// Whether another try, or another member, may fare better.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}
