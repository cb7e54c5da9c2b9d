//! The keys of filesets.

use super::container::COMMAND;
use super::ours::NAMES;
use crate::parse::leaves::{ABSOLUTE_PATH, DURATION, MODE, NAME, OWNER};
use crate::parse::shape::Shape::{Object, OneOf};
use crate::parse::shape::{Table, key, required};

/// Files that are born at run time and are the same on all hosts.
pub const FILESET: Table = Table {
    what: "a fileset",
    keys: &[&[
        required(
            "path",
            ABSOLUTE_PATH,
            "The directory in which what makes it leaves the files, and in which services see them, read-only.",
        ),
        required("services", NAMES, "Services and jobs that see it; none of them starts before it is there."),
        key(
            "like",
            NAME,
            "The service whose container those that make it are like; the first of `services` by default.",
        ),
        required("create", Object(&CREATE), "What makes it, once, where no host has a copy."),
        key("update", Object(&UPDATE), "What makes new files of those that are there, once all hosts have these."),
        key("owner", OWNER, "User by number, or by name in the image; root by default."),
        key("group", OWNER, "Group by number, or by name in the image; root by default."),
        key("mode", MODE, "Permissions of each file; \"0600\" by default."),
        key(
            "on_change",
            OneOf(&["nothing", "reload", "restart"]),
            "What a process needs that has other files now: the service's `reload`, a restart, or nothing (the default).",
        ),
    ]],
};

const CREATE: Table = Table {
    what: "create",
    keys: &[&[
        required("command", COMMAND, "Program and arguments; files and start program are those of the service."),
        key("timeout", DURATION, "How long it may take; 5m by default."),
    ]],
};

const UPDATE: Table = Table {
    what: "update",
    keys: &[&[
        required(
            "command",
            COMMAND,
            "Program and arguments; it finds the files as they are and leaves them as they are to be.",
        ),
        required("every", DURATION, "How long after the last time."),
        key("timeout", DURATION, "How long it may take; 5m by default."),
    ]],
};
