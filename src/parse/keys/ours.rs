//! The keys of services and jobs that Mastic adds to those of Compose.

use super::container::{COMMAND, CONTAINER, IDENTITY, LIFECYCLE, NO_LIFECYCLE, PAIRS, REFUSED};
use super::kolla::KOLLA;
use crate::model::certificate::Part;
use crate::parse::leaves::{
    ABSOLUTE_PATH, BOOLEAN, CRON, DURATION, FILE_NAME, MODE, NAME, OWNER, PORT, POSITIVE, SIGNAL, STATUS, TEXT,
    TIMEZONE,
};
use crate::parse::shape::Shape::{Anything, Either, List, Map, Object, OneOf};
use crate::parse::shape::{Key, Shape, Table, key, refused, required};

/// A list of names, or one.
pub const NAMES: Shape = Either(&[NAME, List(&NAME)]);

/// A service.
pub const SERVICE: Table =
    Table { what: "a service", keys: &[IDENTITY, CONTAINER, LIFECYCLE, COMMON, SERVICE_ONLY, REFUSED] };

/// A job.
pub const JOB: Table = Table { what: "a job", keys: &[IDENTITY, CONTAINER, NO_LIFECYCLE, COMMON, JOB_ONLY, REFUSED] };

/// What lies under every container.
pub const DEFAULTS: Table = Table { what: "defaults.container", keys: &[CONTAINER, LIFECYCLE, NOT_DEFAULT, REFUSED] };

const NOT_DEFAULT: &[Key] = &[
    refused("image", "each service names its own"),
    refused("container_name", "each container has a name of its own"),
];

const COMMON: &[Key] = &[
    key("hosts", NAMES, "Hosts and groups on which it runs; may be left out where the site has one host."),
    key("files", List(&Object(&FILE)), "Files that Mastic writes and mounts."),
    key(
        "kolla",
        Object(&KOLLA),
        "What the start program of one of Kolla's images, or of ours, does before the command.",
    ),
    key(
        "depends_on",
        Either(&[List(&NAME), Map(&Object(&DEPENDENCY))]),
        "What its first start and its upgrade wait for; healing never does. With `restart: true` it is restarted after the other was updated or restarted by a person.",
    ),
    key(
        "expose_secrets",
        BOOLEAN,
        "Whether secrets may be in environment, command, labels and health check, where everybody with access to the engine reads them.",
    ),
];

const SERVICE_ONLY: &[Key] = &[
    key("ready", Object(&READY), "When a changed instance counts as ready, beyond running and healthy."),
    key("rollout", Object(&ROLLOUT), "How a change proceeds."),
    key("reload", Object(&RELOAD), "How the process takes in files with `on_change: reload`."),
    key(
        "unhealthy",
        Either(&[OneOf(&["report", "restart"]), Object(&UNHEALTHY)]),
        "What an unhealthy container means; `report` by default.",
    ),
    key("drift", Object(&DRIFT), "What is left alone when somebody changes it by hand."),
    key(
        "variants",
        Map(&Object(&VARIANT)),
        "The same service with a patch each; only a procedure of its role chooses one.",
    ),
    key(
        "hold_unless",
        TEXT,
        "An expression over `peers`: a dead instance that was ready before is not started while this is not known to be true. Nothing else ever keeps one from being started; a service on one host never waits.",
    ),
];

const VARIANT: Table = Table {
    what: "a variant",
    keys: &[&[
        key("environment", PAIRS, "Environment on top of that of the service."),
        key("command", COMMAND, "Instead of that of the service."),
    ]],
};

const JOB_ONLY: &[Key] = &[
    key(
        "run",
        OneOf(&["one", "each", "once"]),
        "On one of its hosts (the default) or on each, again when its inputs change; `once` never again.",
    ),
    key("like", NAME, "A service whose container settings it has, apart from what it sets itself."),
    key("inputs", Anything, "Whatever else makes it run again when it changes."),
    key("done_when", Object(&DONE_WHEN), "How to find out whether it has been done when there is no record."),
    key(
        "recheck",
        Object(&RECHECK),
        "How to find out, from time to time, whether what it did is still so; where it is not, it runs again.",
    ),
    key("timeout", DURATION, "How long it may take; 1h by default."),
    key("schedule", Object(&SCHEDULE), "By the clock instead of by its inputs."),
];

const FILE: Table = Table {
    what: "a file",
    keys: &[&[
        key("source", TEXT, "Path in the site; `*.j2` is rendered, everything else is copied."),
        key("content", TEXT, "What is written, instead of a source; expressions in it are rendered."),
        key("certificate", NAME, "A certificate of the site instead of a source; that of the host at hand."),
        key("part", OneOf(Part::WORDS), "Which part of the certificate; `bundle` is chain and key in one."),
        required(
            "target",
            ABSOLUTE_PATH,
            "Path in the container; with a slash at the end the directory that it is put into.",
        ),
        key("name", FILE_NAME, "Its name in that directory; by default that of the source without `.j2`."),
        key("mode", MODE, "Permissions; \"0644\" by default."),
        key("owner", OWNER, "User by number, or by name in the image; root by default."),
        key("group", OWNER, "Group by number, or by name in the image; root by default."),
        key("template", BOOLEAN, "Whether the source is rendered, whatever it is called."),
        key(
            "on_change",
            Either(&[OneOf(&["replace", "restart", "reload", "nothing"]), Object(&ON_CHANGE)]),
            "What a change needs: a new container (the default), a restart, a reload, or nothing.",
        ),
        key("validate", COMMAND, "Run in the container before a reload; a failure puts the old files back."),
        key(
            "format",
            OneOf(&["ini", "yaml"]),
            "How the site's overrides are laid over a file of a role: key by key. Without it they replace it.",
        ),
    ]],
};

const ON_CHANGE: Table = Table {
    what: "on_change",
    keys: &[&[
        key("signal", SIGNAL, "Reload by this signal."),
        key("exec", COMMAND, "Reload by this command in the container."),
    ]],
};

const DEPENDENCY: Table = Table {
    what: "a dependency",
    keys: &[&[
        key(
            "condition",
            OneOf(&["service_started", "service_healthy", "service_completed_successfully"]),
            "What is waited for: a service that runs, one that is ready (the default), or a job that is done.",
        ),
        key("need", OneOf(&["any", "quorum", "all", "same-host"]), "How many of its instances; any by default."),
        key("for", OneOf(&["start"]), "What waits; first start and upgrade always do."),
        key("required", BOOLEAN, "Whether a missing one is an obstacle; true by default."),
        key("restart", BOOLEAN, "Whether this one is restarted after the other was replaced."),
    ]],
};

const HTTP: Table = Table {
    what: "an http probe",
    keys: &[&[
        required("port", PORT, "Port inside the container."),
        key("path", TEXT, "Path; `/` by default."),
        key("host", TEXT, "Name or address that is asked; the container itself by default."),
        key("status", STATUS, "The one status that is a yes; 200 to 399 by default."),
    ]],
};

const TCP: Table = Table {
    what: "a tcp probe",
    keys: &[&[
        required("port", PORT, "Port inside the container."),
        key("host", TEXT, "Name or address that is asked; the container itself by default."),
    ]],
};

const PROBE: &[Key] = &[
    key("http", Object(&HTTP), "A GET request."),
    key("tcp", Object(&TCP), "A connection that is accepted."),
    key("exec", COMMAND, "A command in the container; 0 is yes."),
];

const READY: Table = Table {
    what: "ready",
    keys: &[
        PROBE,
        &[
            key("every", DURATION, "How often it is asked while a change waits for it; 1s by default."),
            key("timeout", DURATION, "For one answer; 3s by default."),
            key("min_ready", DURATION, "How long it must stay ready; the same as `rollout.min_ready`."),
            key("deadline", DURATION, "Within which it must become ready; the same as `rollout.deadline`."),
        ],
    ],
};

const ROLLOUT: Table = Table {
    what: "rollout",
    keys: &[&[
        key("max_unavailable", POSITIVE, "How many instances may be down at once; 1 by default."),
        key("min_ready", DURATION, "How long an instance must stay ready before it counts; 0 by default."),
        key("deadline", DURATION, "Within which it must become ready; 5m by default."),
        key(
            "on_failure",
            OneOf(&["rollback", "halt", "rollback-all"]),
            "What a failed change means; `rollback` by default.",
        ),
        key("canary", BOOLEAN, "Whether the first instance must be ready before others are touched; yes by default."),
        key("pause_after", DURATION, "How long the others wait after the first instance became ready; 0 by default."),
        key("quorum", POSITIVE, "How many instances must stay ready, whatever the budget allows."),
        key("waves", List(&List(&TEXT)), "Hosts or groups, wave by wave; each is done before the next begins."),
    ]],
};

const RELOAD: Table = Table {
    what: "reload",
    keys: &[&[
        key("validate", COMMAND, "Run in the container first; a failure puts the old files back."),
        key("exec", COMMAND, "Run in the container."),
        key("signal", SIGNAL, "Sent to its first process."),
    ]],
};

const UNHEALTHY: Table = Table {
    what: "unhealthy",
    keys: &[&[
        required("action", OneOf(&["report", "restart"]), "Only say so (the default), or restart."),
        key("after", DURATION, "How long it must have been unhealthy."),
    ]],
};

const DRIFT: Table =
    Table { what: "drift", keys: &[&[key("ignore", List(&TEXT), "Keys whose live value is left alone.")]] };

const DONE_WHEN: Table = Table {
    what: "done_when",
    keys: &[
        PROBE,
        &[
            key("service", NAME, "The running service that is asked; with `http`, `tcp` or `exec`."),
            key("command", COMMAND, "Run in a container like the job's; 0 is done."),
        ],
    ],
};

const RECHECK: Table = Table {
    what: "recheck",
    keys: &[&[
        required(
            "command",
            COMMAND,
            "Run in a container like the job's; 0 is still done, 75 that it cannot be told now.",
        ),
        key("every", DURATION, "How often; 15m by default."),
    ]],
};

const SCHEDULE: Table = Table {
    what: "a schedule",
    keys: &[&[
        required("cron", CRON, "Minute, hour, day, month, weekday."),
        key("tz", TIMEZONE, "Time zone; UTC by default."),
        key(
            "missed",
            OneOf(&["skip", "run"]),
            "What becomes of times that passed while nobody watched; `skip` by default.",
        ),
        key("overlap", OneOf(&["forbid"]), "A run is never begun while the last one is under way."),
    ]],
};
