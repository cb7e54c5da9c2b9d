//! The keys of `kolla`: Kolla's image contract in a service or a job.

use super::container::COMMAND;
use crate::model::certificate::Part;
use crate::parse::leaves::{ABSOLUTE_PATH, BOOLEAN, MODE, NAME, OWNER, SIGNAL, TEXT};
use crate::parse::shape::Shape::{Either, List, Object, OneOf};
use crate::parse::shape::{Table, key, required};

/// What the start program of one of Kolla's images does before the command.
pub const KOLLA: Table = Table {
    what: "kolla",
    keys: &[&[
        key("command", COMMAND, "What is run in the end; the service's `command` by default."),
        key(
            "strategy",
            OneOf(&["COPY_ALWAYS", "COPY_ONCE"]),
            "Whether files are copied at each start of the container (the default) or at its first one only.",
        ),
        key("config_files", List(&Object(&CONFIG_FILE)), "Files that are copied to their places."),
        key("permissions", List(&Object(&PERMISSION)), "Owners and permissions of what is there already."),
        key("directories", List(&Object(&MADE)), "Directories that are made."),
        key(
            "on_change",
            Either(&[OneOf(&["replace", "restart"]), Object(&ON_CHANGE)]),
            "What a change of the files needs: a new container (the default), a restart, or a reload.",
        ),
    ]],
};

const CONFIG_FILE: Table = Table {
    what: "a file of config_files",
    keys: &[&[
        key("source", TEXT, "Path in the site; `*.j2` is rendered. One that starts with `/` lies in the container."),
        key("content", TEXT, "What is written, instead of a source; expressions in it are rendered."),
        key("certificate", NAME, "A certificate of the site instead of a source; that of the host at hand."),
        key("part", OneOf(Part::WORDS), "Which part of the certificate; `bundle` is chain and key in one."),
        required(
            "dest",
            ABSOLUTE_PATH,
            "Where it is copied to; with a slash at the end the directory that it is put into.",
        ),
        key("owner", OWNER, "`user` or `user:group`, by their names in the image."),
        key("perm", MODE, "Permissions of the copy."),
        key("optional", BOOLEAN, "Whether the source may be missing."),
        key("preserve_properties", BOOLEAN, "Whether owner and permissions are those of the source."),
        key("merge", BOOLEAN, "Whether a directory at the destination keeps what else is in it."),
        key("template", BOOLEAN, "Whether the source is rendered, whatever it is called."),
        key(
            "format",
            OneOf(&["ini", "yaml"]),
            "How it is laid over others: key by key. Else it is one file as a whole.",
        ),
    ]],
};

const PERMISSION: Table = Table {
    what: "an item of permissions",
    keys: &[&[
        required("path", ABSOLUTE_PATH, "A path in the container, or a pattern."),
        required("owner", OWNER, "`user` or `user:group`, by their names in the image."),
        key("perm", MODE, "Permissions; they stay as they are by default."),
        key("recurse", BOOLEAN, "Whether all that lies below is meant too."),
        key("exclude", List(&TEXT), "Regular expressions; a path below that all of them match is left alone."),
    ]],
};

const MADE: Table = Table {
    what: "an item of directories",
    keys: &[&[
        required("path", ABSOLUTE_PATH, "A path in the container."),
        required("owner", OWNER, "`user` or `user:group`, by their names in the image."),
        required("perm", MODE, "Permissions."),
    ]],
};

const ON_CHANGE: Table = Table {
    what: "on_change",
    keys: &[&[
        key("exec", COMMAND, "Reload by this command in the container; `kolla_set_configs` copies the files again."),
        key("signal", SIGNAL, "Reload by this signal, after the command."),
        key("validate", COMMAND, "Run in the container first; a failure puts the old files back."),
    ]],
};
