//! The keys of `image.yaml` and `users.yaml`, as tables.

use crate::parse::leaves::{ABSOLUTE_PATH, BOOLEAN, COUNT, MODE, NAME, TEXT};
use crate::parse::shape::Shape::{Either, List, Map, Object, OneOf};
use crate::parse::shape::{Table, key, required};

/// From where the software comes.
pub const INSTALL_TYPES: &[&str] = &["distribution", "source"];

/// `image.yaml`.
pub const IMAGE: Table = Table {
    what: "an image",
    keys: &[&[
        key("description", TEXT, "One line, for `--list`."),
        key("parent", NAME, "The image that `{{ parent }}` stands for; `base` by default."),
        key("profiles", List(&NAME), "Names by which `--profile` selects."),
        key("user", Either(&[NAME, Object(&USER)]), "Who the service runs as."),
        key("packages", List(&TEXT), "Packages of the distribution."),
        key("pip_packages", List(&TEXT), "Packages of Python, by pip."),
        key(
            "directories",
            List(&Either(&[ABSOLUTE_PATH, Object(&DIRECTORY)])),
            "Directories that are made and given to the user.",
        ),
        key("install_types", List(&OneOf(INSTALL_TYPES)), "What `install_type` may be."),
        key("source", Object(&SOURCE), "Where a Python service comes from, apart from the distribution."),
        key("inputs", Map(&Object(&INPUT)), "Files of the context that do not lie in the folder."),
    ]],
};

const USER: Table = Table {
    what: "a user",
    keys: &[&[
        required("name", NAME, "Its name."),
        key("uid", COUNT, "Its number; that of users.yaml by default."),
        key("gid", COUNT, "The number of its group; that of users.yaml by default."),
        key("home", ABSOLUTE_PATH, "Its home; /var/lib/NAME by default."),
        key("shell", ABSOLUTE_PATH, "Its shell; /usr/sbin/nologin by default."),
        key("groups", List(&NAME), "Further groups, named in users.yaml."),
    ]],
};

const DIRECTORY: Table = Table {
    what: "a directory",
    keys: &[&[required("path", ABSOLUTE_PATH, "Its path."), key("mode", MODE, "Permissions; \"0755\" by default.")]],
};

const SOURCE: Table = Table {
    what: "a source",
    keys: &[&[
        key("package", TEXT, "The package's name for pip; the image's name by default."),
        key("git", TEXT, "URL of a repository."),
        key("reference", TEXT, "Branch, tag or commit of `git`."),
        key("url", TEXT, "URL of an archive."),
        key("sha256", TEXT, "Hash of the archive."),
        key("pip", TEXT, "A requirement, such as `keystone==22.0.2`."),
    ]],
};

const INPUT: Table = Table {
    what: "an input",
    keys: &[&[
        key("when", BOOLEAN, "Whether it is there at all; true by default."),
        key("program", NAME, "A program beside the running mastic."),
        key("file", TEXT, "A file of the machine that builds, relative to the site."),
        key("debootstrap", Object(&DEBOOTSTRAP), "A root directory of packages, as a tar archive."),
    ]],
};

const DEBOOTSTRAP: Table = Table {
    what: "a bootstrap",
    keys: &[&[
        required("suite", NAME, "The release, such as `bookworm`."),
        required("mirror", TEXT, "Where packages come from."),
        key("variant", NAME, "What it begins with; `minbase` by default."),
        key("include", List(&NAME), "Further packages."),
        key("components", List(&NAME), "Parts of the mirror; `main` by default."),
        key("keyring", TEXT, "The keyring by which the mirror is checked."),
    ]],
};

/// `users.yaml`.
pub const USERS: Table = Table {
    what: "the table of users",
    keys: &[&[required("users", Map(&Object(&NUMBERS)), "Numbers of users and their groups by name.")]],
};

const NUMBERS: Table = Table {
    what: "a user",
    keys: &[&[required("uid", COUNT, "Its number."), required("gid", COUNT, "The number of its group.")]],
};
