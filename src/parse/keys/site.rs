//! The keys of a site outside its services and jobs.

use super::container::PAIRS;
use super::fileset::FILESET;
use super::ours::{DEFAULTS, JOB, NAMES, SERVICE};
use super::role::GENERATORS;
use super::ssh::SSH;
use crate::model::window::{Window, WindowKind};
use crate::parse::leaves::{ADDRESS, BOOLEAN, CIDR, COUNT, DURATION, ENGINE, NAME, PERCENT, POSITIVE, TEXT};
use crate::parse::shape::Shape::{Anything, Either, List, Map, Object, OneOf};
use crate::parse::shape::{ScalarShape, Shape, Table, key, refused, required};

/// The document.
pub const SITE: Table = Table {
    what: "a site",
    keys: &[&[
        required("apiVersion", OneOf(&["mastic/v1"]), "`apiVersion: mastic/v1`"),
        required("kind", OneOf(&["Site"]), "`kind: Site`"),
        required("metadata", Object(&METADATA), "`metadata: {name: NAME}`"),
        required("spec", Object(&SPEC), "What the site declares."),
    ]],
};

const METADATA: Table = Table {
    what: "metadata",
    keys: &[&[
        required("name", NAME, "The site's name; containers carry it as a label."),
        key("labels", Map(&TEXT), "For people."),
        key("annotations", Map(&TEXT), "For people."),
    ]],
};

/// What a site declares.
pub const SPEC: Table = Table {
    what: "spec",
    keys: &[&[
        key("hosts", Map(&Object(&HOST)), "Machines with an engine; `ctl[1:3]` stands for ctl1, ctl2, ctl3."),
        key("groups", Map(&Object(&GROUP)), "Named sets of hosts."),
        key("vars", VARIABLES, "Variables for all hosts."),
        key("defaults", Object(&DEFAULTS_TABLE), "What lies under every container."),
        key("networks", Map(&Object(&NETWORK)), "Networks of the engine, and networks of addresses (with `cidr`)."),
        key("volumes", Map(&Object(&VOLUME)), "Named volumes."),
        key("secrets", Map(&Object(&SECRET)), "Secrets: from files, from the environment, or made for the store."),
        key("secret_store", Object(&SECRET_STORE), "An encrypted file with secrets, whose names need no declaration."),
        key(
            "certificates",
            Map(&Object(&CERTIFICATE)),
            "Certificates of the site's own authority; `mastic certs` makes them.",
        ),
        key("configs", Map(&Object(&CONFIG)), "Contents that several services see as files."),
        key("services", Map(&Object(&SERVICE)), "Long-running containers."),
        key("jobs", Map(&Object(&JOB)), "Containers that run to completion."),
        key("filesets", Map(&Object(&FILESET)), "Files that are born at run time and are the same on all hosts."),
        key("budgets", Map(&Object(&BUDGET)), "How many hosts of a group may be worked on at once, by group."),
        key("sync", Object(&SYNC), "What may happen without a person."),
        key("images", Object(&IMAGES), "Registries."),
        key(
            "roles",
            List(&Object(&super::role::ENTRY)),
            "Products: services, jobs and files that are declared elsewhere.",
        ),
        key("overrides", TEXT, "Directory of configuration that is laid over that of roles; `config` by default."),
        key(
            "endpoints",
            Map(&Object(&ENDPOINT)),
            "Addresses under which services are reached: `internal`, `external`.",
        ),
    ]],
};

/// Variables: names and whatever they hold.
pub const VARIABLES: Shape = Map(&Anything);

const HOST: Table = Table {
    what: "a host",
    keys: &[&[
        key("connection", Object(&CONNECTION), "How its engine is reached; `{local: {}}` by default."),
        key("groups", NAMES, "Groups that it belongs to."),
        key("vars", VARIABLES, "Variables of this host."),
        key("address", TEXT, "Address or name under which it is known to others."),
        key("addresses", Map(&ADDRESS), "Its address in each network of addresses: `host.address.NETWORK`."),
        key("ordinal", POSITIVE, "Its number, `host.ordinal`; else the one it was given, or the next that never was."),
    ]],
};

const CONNECTION: Table = Table {
    what: "a connection",
    keys: &[&[
        key("local", Object(&LOCAL), "The engine of this machine, as the environment names it."),
        key("docker", Object(&DOCKER), "An engine by its address."),
        key("ssh", Object(&SSH), "The engine of another machine, by its sshd."),
    ]],
};

const LOCAL: Table = Table { what: "a local connection", keys: &[&[]] };

const DOCKER: Table = Table {
    what: "a connection to an engine",
    keys: &[&[
        required("host", ENGINE, "`unix:///PATH` or `tcp://HOST:PORT`."),
        key("tls", Object(&TLS), "Certificates for `tcp`."),
    ]],
};

const TLS: Table = Table {
    what: "tls",
    keys: &[&[
        required("ca", TEXT, "Path of the authority's certificate, relative to the site."),
        required("cert", TEXT, "Path of our certificate."),
        required("key", TEXT, "Path of our key."),
    ]],
};

const GROUP: Table = Table {
    what: "a group",
    keys: &[&[
        key("hosts", NAMES, "Hosts that belong to it."),
        key("groups", NAMES, "Groups whose hosts belong to it; this group is their parent."),
        key("vars", VARIABLES, "Variables of its hosts."),
        refused("select", "groups by expression are not available in this version; name the hosts"),
    ]],
};

const DEFAULTS_TABLE: Table = Table {
    what: "defaults",
    keys: &[&[
        key("container", Object(&DEFAULTS), "The lowest layer of every service and job."),
        key("connection", Object(&CONNECTION), "The connection of hosts that name none."),
    ]],
};

/// A network.
pub const NETWORK: Table = Table {
    what: "a network",
    keys: &[&[
        key("cidr", CIDR, "Makes it a network of addresses, in which hosts have theirs; nothing of the engine."),
        key("name", NAME, "What the engine calls it; its key by default."),
        key("external", Either(&[BOOLEAN, Object(&EXTERNAL)]), "Whether somebody else makes it."),
        key("driver", TEXT, "`bridge` by default."),
        key("driver_opts", Map(&TEXT), "For the driver."),
        key("internal", BOOLEAN, "Whether it has no way out."),
        key("attachable", BOOLEAN, "Whether other containers may join."),
        key("enable_ipv6", BOOLEAN, "Whether it has IPv6."),
        key("enable_ipv4", OneOf(&["true"]), "Always on."),
        key("ipam", Object(&IPAM), "Its subnets."),
        key("labels", PAIRS, "Labels; those below `mastic.` are ours."),
    ]],
};

const EXTERNAL: Table =
    Table { what: "external", keys: &[&[refused("name", "write `external: true` and `name: NAME` beside it")]] };

const IPAM: Table = Table {
    what: "ipam",
    keys: &[&[
        key("driver", OneOf(&["default"]), "The engine's own."),
        key("config", List(&Object(&POOL)), "Subnets."),
        refused("options", "drivers other than the engine's own are not managed here"),
    ]],
};

const POOL: Table = Table {
    what: "a subnet",
    keys: &[&[
        required("subnet", CIDR, "The subnet."),
        key("ip_range", CIDR, "The part of it from which containers get addresses."),
        key("gateway", ADDRESS, "Its gateway."),
        key("aux_addresses", Map(&ADDRESS), "Addresses that are taken."),
    ]],
};

/// A volume.
pub const VOLUME: Table = Table {
    what: "a volume",
    keys: &[&[
        key("name", NAME, "What the engine calls it; its key by default."),
        key("external", Either(&[BOOLEAN, Object(&EXTERNAL)]), "Whether somebody else makes it."),
        key("driver", TEXT, "`local` by default."),
        key("driver_opts", Map(&TEXT), "For the driver."),
        key("labels", PAIRS, "Labels; those below `mastic.` are ours."),
    ]],
};

const SECRET: Table = Table {
    what: "a secret",
    keys: &[&[
        key("file", TEXT, "Path of the file that holds it, relative to the site."),
        key("environment", TEXT, "Variable of Mastic's own environment that holds it."),
        key("generate", OneOf(GENERATORS), "It is in the store, and `mastic secrets generate` makes it."),
        key("length", POSITIVE, "Its length where it is made: characters of `password` and `hex`, bits of `rsa-key`."),
        key("help", TEXT, "What it is for."),
        refused("external", "there is no store of secrets in a plain engine; use `file` or `environment`"),
        refused("name", "a secret is known by its key"),
        refused("labels", "a secret is no object of the engine here"),
        refused("driver", "there is no store of secrets in a plain engine; use `file` or `environment`"),
        refused("driver_opts", "there is no store of secrets in a plain engine; use `file` or `environment`"),
        refused("template_driver", "name the file *.j2 under `files` instead"),
    ]],
};

const SECRET_STORE: Table = Table {
    what: "a store of secrets",
    keys: &[&[
        required("file", TEXT, "Path of the age file, relative to the site; it may lie in a repository."),
        required(
            "identity",
            Either(&[TEXT, Object(&CREDENTIAL)]),
            "Path of the age identity that opens it, relative to the site; or a credential of systemd.",
        ),
        key("recipients", List(&TEXT), "More age recipients (`age1...`) for whom it is encrypted."),
    ]],
};

const CERTIFICATE: Table = Table {
    what: "a certificate",
    keys: &[&[
        key("ca", OneOf(&["internal"]), "Who signs it: the site's own authority."),
        key("hosts", NAMES, "Hosts and groups that get one of their own; all hosts by default."),
        key("names", List(&TEXT), "Names and addresses that it is for, besides those of the host."),
        key("days", POSITIVE, "How long it is good; 365 by default."),
        key(
            "renew_before",
            DURATION,
            "How long before its end it is made anew; a third of its time, at most `30d`, by default.",
        ),
    ]],
};

const CREDENTIAL: Table = Table {
    what: "a credential",
    keys: &[&[required("credential", NAME, "Its name: the file of that name in $CREDENTIALS_DIRECTORY.")]],
};

const CONFIG: Table = Table {
    what: "a config",
    keys: &[&[
        key("file", TEXT, "Path of the file that holds it, relative to the site."),
        key("content", TEXT, "What it holds; expressions in it are rendered."),
        key("environment", TEXT, "Variable of Mastic's own environment that holds it."),
        refused("external", "there is no store of configs in a plain engine; use `file` or `content`"),
        refused("name", "a config is known by its key"),
        refused("labels", "a config is no object of the engine here"),
        refused("template_driver", "name the file *.j2 under `files` instead"),
    ]],
};

const ENDPOINT: Table = Table {
    what: "an endpoint",
    keys: &[&[
        key("vip", ADDRESS, "The address that moves with the load balancer."),
        key(
            "network",
            NAME,
            "The network of addresses on which it lies; services listen on their hosts' address there.",
        ),
        key("fqdn", TEXT, "The name under which it is known, used in URLs instead of the address."),
    ]],
};

const BUDGET: Table = Table {
    what: "a budget of hosts",
    keys: &[&[required(
        "max_unavailable_hosts",
        POSITIVE,
        "How many of its hosts may be down, or have something taken down, at once.",
    )]],
};

const SYNC: Table = Table {
    what: "sync",
    keys: &[&[
        key("edits", OneOf(&["auto", "approve"]), "Whether an edit waits for `mastic approve`; `auto` by default."),
        key(
            "heal",
            OneOf(&["auto", "report"]),
            "Whether drift and dead containers are only reported; `auto` by default.",
        ),
        key("removals", Object(&REMOVALS), "How much may vanish at once."),
        key("windows", List(&Object(&WINDOW)), "When edits are taken; without any, always."),
    ]],
};

const WINDOW: Table = Table {
    what: "a window",
    keys: &[&[
        key("allow", WINDOW_TIME, "Edits are taken then, and outside of all such windows they wait."),
        key("deny", WINDOW_TIME, "Edits wait then, whatever else allows them."),
        key("for", List(&OneOf(&["edits"])), "What it is about: `[edits]`, also by default. Healing never waits."),
    ]],
};

/// `Mon-Thu 09:00-16:00 Europe/Berlin`.
const WINDOW_TIME: Shape = Shape::Scalar(&ScalarShape {
    name: "a window, as `Mon-Thu 09:00-16:00 Europe/Berlin`",
    check: |scalar| Window::parse(WindowKind::Allow, &scalar.text).map(drop),
    schema: r#"{"type": "string", "minLength": 1}"#,
    private: false,
});

const REMOVALS: Table = Table {
    what: "removals",
    keys: &[&[
        key("max", COUNT, "Up to so many removals need nobody; 3 by default."),
        key("max_percent", PERCENT, "Or up to this share of the instances; 50 by default."),
        key(
            "protect_volumes",
            BOOLEAN,
            "Whether the removal of a service with named volumes always waits; true by default.",
        ),
    ]],
};

/// Images.
pub const IMAGES: Table = Table {
    what: "images",
    keys: &[&[
        key("auth", Map(&Object(&LOGIN)), "Login by registry, as `reg.example:5000`; `docker.io` is Docker Hub."),
        key(
            "registry",
            TEXT,
            "Where the images of roles lie, as `reg.example:5000`; without it those of the engine are meant.",
        ),
        key("namespace", TEXT, "First part of the names of roles' images; `mastic` by default."),
        key("tag", TEXT, "Tag of roles' images; `latest` by default."),
        refused(
            "mirrors",
            "an engine calls what it has pulled after where it came from, so that an image of a mirror is another one; mirrors are set up in the engine's daemon.json, or make the mirror the `registry`",
        ),
        refused("ca", "a registry's authority goes into /etc/docker/certs.d/REGISTRY/ca.crt of the engine"),
        key(
            "lock",
            TEXT,
            "A file, `images.lock`, that says which content each image has; `mastic images lock` and `mastic build --push` write it.",
        ),
        key("build", VARIABLES, "Variables of the templates of `mastic build`."),
    ]],
};

const LOGIN: Table = Table {
    what: "a login",
    keys: &[&[
        required("username", TEXT, "User."),
        required("password", Either(&[Object(&PASSWORD), REFUSED_PASSWORD]), "`{secret: NAME}`"),
    ]],
};

const REFUSED_PASSWORD: Shape = Shape::Scalar(&crate::parse::shape::ScalarShape {
    name: "`{secret: NAME}`",
    check: |_| {
        Err("a password does not stand in the site; write `{secret: NAME}` and declare NAME under `spec.secrets`"
            .to_owned())
    },
    schema: r#"{"not": {}}"#,
    private: true,
});

const PASSWORD: Table =
    Table { what: "a password", keys: &[&[required("secret", NAME, "Its name under `spec.secrets`.")]] };
