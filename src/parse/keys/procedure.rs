//! The keys of a role's probes and procedures.

use super::container::COMMAND;
use super::ours::NAMES;
use crate::parse::leaves::{BOOLEAN, DURATION, NAME, POSITIVE, TEXT};
use crate::parse::shape::Shape::{List, Object, OneOf};
use crate::parse::shape::{Table, key, refused, required};

/// A question whose answer is a value.
pub const VALUE_PROBE: Table = Table {
    what: "a probe",
    keys: &[&[
        key(
            "exec",
            Object(&EXEC),
            "A command in the running container; it prints JSON, and 0 is the code of an answer.",
        ),
        key(
            "run",
            Object(&ONE_OFF),
            "A command in a container like that of a service that does not run; only for procedures.",
        ),
        key("while", OneOf(&["stopped"]), "With `run`: the service is stopped, which is so in any case."),
        key("every", DURATION, "With `exec`: how often it is asked; 5s by default."),
        key("timeout", DURATION, "For one answer; 5s by default, with `run` 5m."),
    ]],
};

pub(super) const EXEC: Table = Table {
    what: "a command in a running container",
    keys: &[&[
        required("in", NAME, "The service of this role in whose container it is run."),
        required("command", COMMAND, "What is run there."),
    ]],
};

const ONE_OFF: Table = Table {
    what: "a command in a container like that of a service",
    keys: &[&[
        required("like", NAME, "The service of this role whose container it is like."),
        required("command", COMMAND, "What is run; files and start program are those of the service."),
        key("network_mode", OneOf(&["none", "host", "bridge"]), "Another network than that of the service."),
    ]],
};

/// A procedure.
pub const PROCEDURE: Table = Table {
    what: "a procedure",
    keys: &[&[
        key("auto", Object(&AUTO), "When it begins by itself; without it, `mastic recover` begins it."),
        key("need", Object(&NEED), "What must hold before one is chosen; all hosts have to be there in any case."),
        key("refuse", Object(&REFUSE), "How it is told that this does not hold."),
        key("fence", NAMES, "Services of this role that are left alone meanwhile, besides the one that it is about."),
        required("steps", List(&Object(&STEP)), "What is done, in this order."),
    ]],
};

const AUTO: Table = Table {
    what: "auto",
    keys: &[&[
        required(
            "when",
            TEXT,
            "An expression over `peers`; it begins while this is true, and stops nothing while it is not.",
        ),
        key("for", DURATION, "For how long it must have been true; 60s by default."),
        refused("once_per", "once_per is not available in this version; `when` has to tell that it was done"),
    ]],
};

const NEED: Table = Table {
    what: "need",
    keys: &[&[
        key("hosts", OneOf(&["all"]), "Who has to be there: always all."),
        key("same", Object(&SAME), "What has to be the same of all members."),
        refused("identity", "the identity of hosts is not known in this version"),
    ]],
};

const SAME: Table = Table {
    what: "same",
    keys: &[&[
        required("value", TEXT, "An expression over a member, as `datadir.uuid`."),
        key("among", TEXT, "An expression over a member: only of these; of all by default."),
    ]],
};

const REFUSE: Table = Table {
    what: "refuse",
    keys: &[&[
        required("reason", TEXT, "The reason of the condition, in CamelCase."),
        key("override", TEXT, "What a person may do then, for people."),
    ]],
};

const STEP: Table = Table {
    what: "a step",
    keys: &[&[
        key("stop", NAME, "Stop a service, until it runs nowhere there."),
        key(
            "grace",
            DURATION,
            "With `stop`: how long it may take until it is killed; nothing is run in it before, because it serves nobody.",
        ),
        key("probe", NAME, "Ask a probe of the kind `run`, until its value is known."),
        key("choose", NAME, "Choose a host and give the choice a name, for `at`."),
        key("from", NAME, "With `choose`: the service whose hosts can be chosen."),
        key("among", TEXT, "With `choose`: an expression that is true of those that can be chosen."),
        key("by", List(&TEXT), "With `choose`: `max VALUE`, `min VALUE`, `ordinal`; the first counts the most."),
        key(
            "run",
            Object(&ONE_OFF),
            "Run a command in a container like that of the service, until it has ended well; after a crash it may be run again.",
        ),
        key("start", NAME, "Start a service, until it is ready."),
        key("variant", NAME, "With `start`: which variant; `none` by default."),
        key("parallel", POSITIVE, "With `start`: how many at a time; all by default."),
        key("wipe", NAME, "Make volumes of a service anew, empty; what was in them is lost."),
        key("volumes", NAMES, "With `wipe`: which."),
        key("probe_with", NAME, "With `wipe`: the probe of the kind `run` that `until` asks."),
        key("confirm", BOOLEAN, "With `wipe`: `true`, because what was in them is lost."),
        key(
            "until",
            TEXT,
            "With `wipe`: an expression that is true of a member with empty volumes; with `start`: `ready`.",
        ),
        key(
            "at",
            TEXT,
            "Where: `all` (the default), the name of a choice, `others`, or `args.host`: the one that a person named.",
        ),
        key("timeout", DURATION, "With `run`: how long it may take; 5m by default."),
    ]],
};
