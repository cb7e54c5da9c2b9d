//! The keys of a role, and of its entries in a site.

use super::change::CHANGE;
use super::fileset::FILESET;
use super::ours::{JOB, NAMES, SERVICE};
use super::procedure::{PROCEDURE, VALUE_PROBE};
use super::site::{NETWORK, VARIABLES, VOLUME};
use crate::parse::leaves::{BOOLEAN, NAME, NUMBER_TEXT, POSITIVE, TEXT};
use crate::parse::shape::Shape::{Anything, List, Map, Object, OneOf};
use crate::parse::shape::{Key, Table, key, refused, required};

/// The document.
pub const ROLE: Table = Table {
    what: "a role",
    keys: &[&[
        required("apiVersion", OneOf(&["mastic/v1"]), "`apiVersion: mastic/v1`"),
        required("kind", OneOf(&["Role"]), "`kind: Role`"),
        required("metadata", Object(&METADATA), "`metadata: {name: NAME}`"),
        required("spec", Object(&SPEC), "What the role brings along."),
    ]],
};

const METADATA: Table = Table {
    what: "metadata",
    keys: &[&[
        required("name", NAME, "The role's name: that of its folder."),
        key("version", TEXT, "The role's own version."),
        key("description", TEXT, "What it is, in one line."),
    ]],
};

const SPEC: Table = Table {
    what: "spec",
    keys: &[&[
        key("vars", Map(&Object(&VARIABLE)), "Variables with their types and defaults: the lowest layer."),
        key("secrets", Map(&Object(&GENERATED)), "Secrets that the site has to have."),
        key("includes", NAMES, "Roles that come along on the same hosts."),
        key("networks", Map(&Object(&NETWORK)), "Networks of the engine."),
        key("volumes", Map(&Object(&VOLUME)), "Named volumes."),
        key("services", Map(&Object(&SERVICE)), "Long-running containers."),
        key("jobs", Map(&Object(&JOB)), "Containers that run to completion."),
        key("provides", Map(&Object(&PROVIDED)), "What other roles reach: `endpoints.NAME` in their templates."),
        key("providers", Map(&Object(&PROVIDER)), "Kinds of objects that this role keeps for others."),
        key("objects", Map(&Object(&OBJECTS)), "Objects that others keep for this role."),
        key("probes", Map(&Object(&VALUE_PROBE)), "Questions whose answers are values, for expressions over members."),
        key("procedures", Map(&Object(&PROCEDURE)), "What is done about a service as a whole, step by step."),
        key(
            "changes",
            Map(&Object(&CHANGE)),
            "What a change means: jobs and rollouts, step by step on the whole site.",
        ),
        key("filesets", Map(&Object(&FILESET)), "Files that are born at run time and are the same on all hosts."),
        refused("host", "preparing the host is not available in this version"),
    ]],
};

/// Types of variables.
pub const TYPES: &[&str] =
    &["string", "integer", "number", "boolean", "port", "duration", "size", "list", "mapping", "address"];

const VARIABLE: Table = Table {
    what: "a variable",
    keys: &[&[
        required("type", OneOf(TYPES), "What it holds."),
        key("default", Anything, "Its value where nobody sets it; expressions in it are rendered."),
        key("help", TEXT, "What it is for."),
        key("required", BOOLEAN, "Whether the site has to set it."),
        key("choices", List(&TEXT), "The only values that it may have."),
        key("minimum", NUMBER_TEXT, "The least number."),
        key("maximum", NUMBER_TEXT, "The largest number."),
        key("pattern", TEXT, "A regular expression that all of its text must match."),
    ]],
};

/// How secrets are made.
pub const GENERATORS: &[&str] =
    &["password", "uuid", "hex", "hmac-md5", "fernet-key", "rsa-key", "ssh-key", "bcrypt-salt"];

const GENERATED: Table = Table {
    what: "a secret of a role",
    keys: &[&[
        key("generate", OneOf(GENERATORS), "How `mastic secrets generate` makes it; `password` by default."),
        key("length", POSITIVE, "Its length, for passwords and hex."),
        key("help", TEXT, "What it is for."),
    ]],
};

const PROVIDED: Table = Table {
    what: "something provided",
    keys: &[&[
        key("service", NAME, "The service that answers; the role's first by default."),
        required("port", crate::parse::leaves::PORT, "Where it listens on each host."),
        key("scheme", TEXT, "First part of `endpoints.NAME.url`; `http` by default."),
        key("frontend", Map(&Anything), "How a load balancer offers it; without it, it is reached directly."),
        key("metrics", Map(&Anything), "Where Prometheus finds metrics: `path`, `port`."),
    ]],
};

const PROVIDER: Table = Table {
    what: "a provider",
    keys: &[&[
        required("in", NAME, "The service in whose container its program runs."),
        required("command", List(&TEXT), "The program; `read`, `apply` or `delete` is added as its last word."),
        key("connection", Map(&Anything), "What the program is told besides the objects; may hold secrets."),
        key("depends_on", NAMES, "Services that have to be ready before it can be asked."),
    ]],
};

const OBJECTS: Table = Table {
    what: "a set of objects",
    keys: &[&[
        required("provider", TEXT, "Who keeps them, as `mariadb/database`."),
        required("items", List(&Map(&Anything)), "The objects; each has a `name`."),
        key("depends_on", NAMES, "Sets of objects and jobs that come before."),
    ]],
};

/// An entry of `spec.roles` in a site.
pub const ENTRY: Table = Table { what: "a role of the site", keys: &[ENTRY_KEYS] };

const ENTRY_KEYS: &[Key] = &[
    required("role", NAME, "Which role."),
    key("name", NAME, "What it is called here; the same role can be there twice under two names."),
    key("hosts", NAMES, "Hosts and groups on which its services run."),
    key("place", Map(&NAMES), "Hosts and groups of single services, instead of `hosts`."),
    key("vars", VARIABLES, "Variables for this role alone."),
    key("services", Map(&Object(&SERVICE)), "Changes to its services."),
    key("jobs", Map(&Object(&JOB)), "Changes to its jobs."),
    key("without", NAMES, "Services, jobs and objects of the role that are left out."),
];
