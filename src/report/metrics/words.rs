//! The closed sets that labels take their values from.

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As in the label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// A part of a pass.
    Phase {
        /// Asking the engine and the files.
        Observe = "observe",
        /// Reading, resolving and rendering the site.
        Render = "render",
        /// Comparing, and choosing the next steps.
        Plan = "plan",
        /// Carrying them out.
        Execute = "execute",
        /// Looking whether it worked: gates and probes.
        Verify = "verify",
    }
}

words! {
    /// Where a pass failed.
    ReconcileError {
        /// The engine or the files could not be asked.
        Observe = "observe",
        /// The site could not be accepted.
        Site = "site",
        /// A step failed.
        Execute = "execute",
        /// Memory could not be kept.
        Store = "store",
        /// The coordinator could not be asked.
        Coordinator = "coordinator",
        /// It took too long.
        Timeout = "timeout",
    }
}

words! {
    /// What made a pass necessary.
    Trigger {
        /// An edit of the site's files.
        File = "file",
        /// An event of the engine.
        Event = "event",
        /// The periodic look.
        Resync = "resync",
        /// A person.
        Command = "command",
        /// The start of the agent.
        Start = "start",
    }
}

words! {
    /// Why a change was taken back.
    RollbackReason {
        /// The process ended.
        Exited = "Exited",
        /// The health check failed.
        Unhealthy = "Unhealthy",
        /// It was not ready in time.
        DeadlineExceeded = "DeadlineExceeded",
        /// It could not be started.
        StartFailed = "StartFailed",
        /// The new files were not valid.
        ValidationFailed = "ValidationFailed",
        /// It could not be told of its new files.
        ReloadFailed = "ReloadFailed",
        /// Anything else.
        Other = "Other",
    }
}

words! {
    /// Why a pull failed.
    PullFailure {
        /// The registry refused, does not know the image, or cannot be reached by the engine.
        Registry = "registry",
        /// The engine cannot be reached.
        Unreachable = "unreachable",
        /// It took too long.
        Timeout = "timeout",
        /// Anything else: the disk, the engine.
        Other = "other",
    }
}
