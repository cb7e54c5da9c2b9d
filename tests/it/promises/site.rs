//! Random sites, random edits of them, and the images that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use mastic::model::desired::{
    Dependency, DependencyTarget, Hook, Hooks, HostDesired, InstanceDesired, JobDesired, Need, Rollout, SyncPolicy,
    Unhealthy,
};
use mastic::model::file::{FileSpec, OnChange, Owner, Reload, Shown};
use mastic::model::image::{ImageRef, PullPolicy};
use mastic::model::job::{DEFAULT_TIMEOUT, JobRun};
use mastic::model::names::{ContainerName, HostName, JobName, NetworkName, ServiceName, SiteName, VolumeName};
use mastic::model::network::{Attachment, NetworkSpec, VolumeSpec};
use mastic::model::probe::{Probe, Readiness};
use mastic::model::secret::Sensitive;
use mastic::model::settings::{ContainerSettings, Healthcheck, Mount, RestartPolicy};
use mastic::model::time::Span;
use mastic::render::seal::{seal_instance, seal_job};
use mastic::sim::program::{Program, SimImage};
use mastic::sim::world::SimWorld;
use rand::Rng;
use rand::rngs::StdRng;

/// Where simulated hosts keep their key; hashes only have to be stable.
const KEY: &[u8] = b"key";
/// In one file of each site.
pub const SECRET: &str = "s3cr3t-Pa55w0rd/with+signs";
const NAMES: [&str; 5] = ["alpha", "beta", "gamma", "delta", "epsilon"];
/// Ready soon.
const GOOD: [&str; 3] = ["app:1", "app:2", "registry.example:5000/app:3"];
/// Fails its gate, each in its own way.
const BAD: [&str; 4] = ["crash:1", "sick:1", "broken:1", "crash-late:1"];

pub fn site_name() -> SiteName {
    SiteName::new("demo").unwrap()
}

pub fn host_name() -> HostName {
    HostName::new("here").unwrap()
}

/// Publishes all images.
pub fn publish(world: &SimWorld, random: &mut StdRng) {
    for (number, reference) in GOOD.iter().enumerate() {
        let ready = Span(random.random_range(20..900));
        let program = Program::healthy_after(ready).reading("/etc/app.conf").reading("/etc/app.d/live.conf");
        let mut image = image(program);
        image.defaults.environment.insert("VERSION".to_owned(), number.to_string());
        if number != 1 {
            image.defaults.volumes.push("/var/lib/app".to_owned());
        }
        world.publish(reference, 1, image);
    }
    world.publish("crash:1", 1, image(Program::ends(Span(40), 3)));
    world.publish("crash-late:1", 1, image(Program::ends(Span(1500), 1)));
    world.publish("sick:1", 1, image(Program::never_healthy(Span(800))));
    world.publish("broken:1", 1, image(Program::missing()));
    world.publish("job:1", 1, image(Program::ends(Span(random.random_range(20..3000)), 0)));
}

pub fn image(program: Program) -> SimImage {
    let mut image = SimImage::of(program);
    image.files.insert("/etc/passwd".to_owned(), Bytes::from_static(b"root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:\n"));
    image.files.insert("/etc/group".to_owned(), Bytes::from_static(b"root:x:0:\napp:x:1001:\n"));
    image
}

/// A site on one host.
pub fn random_site(random: &mut StdRng) -> HostDesired {
    let mut desired = HostDesired {
        changes: Vec::new(),
        filesets: Vec::new(),
        waits: mastic::model::facts::Waits::default(),
        site: site_name(),
        host: host_name(),
        generation: 0,
        source_digest: "0".repeat(64),
        services: IndexMap::new(),
        jobs: IndexMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        registries: BTreeMap::new(),
        placement: BTreeMap::new(),
        budgets: Vec::new(),
        behaviours: BTreeMap::new(),
        procedures: Vec::new(),
        secrets: Vec::default(),
        sync: SyncPolicy { protect_volumes: false, ..SyncPolicy::default() },
    };
    for name in ["front", "back"] {
        if random.random_bool(0.6) {
            desired.networks.insert(NetworkName::new(name).unwrap(), NetworkSpec::default());
        }
    }
    for name in NAMES.iter().take(random.random_range(1..=3)) {
        let service = random_service(random, name, &desired);
        insert(&mut desired, service);
    }
    if random.random_bool(0.4) {
        let job = random_job(random, &desired);
        desired.jobs.insert(job.job.clone(), Arc::new(job));
    }
    desired
}

fn insert(desired: &mut HostDesired, mut service: InstanceDesired) {
    mount(&mut service);
    for mount in service.settings.volumes.iter().flat_map(BTreeMap::values) {
        if let Mount::Volume { source: Some(name), .. } = mount {
            desired.volumes.insert(VolumeName::new(name.clone()).unwrap(), VolumeSpec::default());
        }
    }
    seal_instance(&mut service, KEY);
    desired.services.insert(service.service.clone(), Arc::new(service));
}

/// Mounts of the files, as resolving a site makes them.
fn mount(service: &mut InstanceDesired) {
    let volumes = service.settings.volumes.get_or_insert_default();
    volumes.retain(|_, mount| !matches!(mount, Mount::Managed { .. }));
    let mut fixed = 0;
    for file in &mut service.files {
        if file.on_change.is_live() {
            let name = file.target.rsplit('/').next().unwrap().to_owned();
            file.path = format!("live/0/{name}");
            volumes.insert("/etc/app.d".to_owned(), Mount::Managed { path: "live/0".to_owned() });
        } else {
            file.path = format!("fixed/{fixed}");
            volumes.insert(file.target.clone(), Mount::Managed { path: file.path.clone() });
            fixed += 1;
        }
    }
    if volumes.is_empty() {
        service.settings.volumes = None;
    }
}

fn random_service(random: &mut StdRng, name: &str, site: &HostDesired) -> InstanceDesired {
    let mut service = InstanceDesired {
        steps: Vec::new(),
        filesets: Vec::new(),
        service: ServiceName::new(name).unwrap(),
        role: None,
        container_name: ContainerName::new(if random.random_bool(0.8) { name.to_owned() } else { format!("c_{name}") })
            .unwrap(),
        image: ImageRef::new(GOOD[random.random_range(0..GOOD.len())]).unwrap(),
        pull_policy: if random.random_bool(0.2) { PullPolicy::Always } else { PullPolicy::Missing },
        settings: ContainerSettings {
            restart: Some(if random.random() { RestartPolicy::UnlessStopped } else { RestartPolicy::Always }),
            ..ContainerSettings::default()
        },
        networks: BTreeMap::new(),
        files: Vec::new(),
        reload: Reload::default(),
        ready: None,
        rollout: Rollout {
            min_ready: Span(random.random_range(0..3000)),
            deadline: Span::seconds(random.random_range(20..60)),
            ..Rollout::default()
        },
        depends_on: BTreeMap::new(),
        unhealthy: Unhealthy::Report,
        drift_ignore: BTreeSet::new(),
        hooks: Hooks::default(),
        sensitive: BTreeSet::new(),
        create_hash: String::new(),
        input_hash: String::new(),
    };
    for name in site.networks.keys() {
        if random.random() {
            let aliases = if random.random() { vec!["other".to_owned()] } else { Vec::new() };
            service.networks.insert(name.clone(), Attachment { aliases, ..Attachment::default() });
        }
    }
    if random.random_bool(0.5) {
        service.settings.healthcheck = Some(Healthcheck {
            test: vec!["CMD".to_owned(), "check".to_owned()],
            interval: Some(1_000_000_000),
            ..Healthcheck::default()
        });
    }
    if random.random_bool(0.4) {
        let probe = match random.random_range(0..3) {
            0 => Probe::Exec { command: vec!["check".to_owned()] },
            1 => Probe::Http { host: None, port: 80, path: "/".to_owned(), status: None },
            _ => Probe::Tcp { host: None, port: 80 },
        };
        service.ready = Some(Readiness { probe, every: Span(500), timeout: Span::seconds(1) });
    }
    if random.random_bool(0.3)
        && let Some(other) = site.services.keys().next()
    {
        let on = if random.random() { DependencyTarget::Ready } else { DependencyTarget::Started };
        let dependency = Dependency { on, need: Need::Any, required: true, restart: false };
        service.depends_on.insert(other.to_string(), dependency);
    }
    if random.random_bool(0.2) {
        let hook = Hook { command: vec!["true".to_owned()], ..Hook::default() };
        service.hooks = Hooks { post_start: vec![hook.clone()], pre_stop: vec![hook] };
    }
    if random.random_bool(0.3) {
        let named = Mount::Volume { source: Some(format!("data-{name}")), read_only: false, nocopy: false };
        service.settings.volumes.get_or_insert_default().insert("/data".to_owned(), named);
    }
    if random.random_bool(0.2) {
        let unnamed = Mount::Volume { source: None, read_only: false, nocopy: false };
        service.settings.volumes.get_or_insert_default().insert("/cache".to_owned(), unnamed);
    }
    for _ in 0..random.random_range(0..6) {
        change_something(random, &mut service);
    }
    service
}

fn file(random: &mut StdRng, target: &str, on_change: OnChange) -> FileSpec {
    let named = random.random_bool(0.2);
    let owner = |id: u32| if named { Owner::Name("app".to_owned()) } else { Owner::Id(id) };
    let text = format!("number = {}\npassword = ", random.random_range(0..1_000_000));
    FileSpec {
        target: target.to_owned(),
        source: Some("app.conf.j2".to_owned()),
        content: Sensitive::new(format!("{text}{SECRET}\n")),
        shown: Shown::Text(format!("{text}«secret:password»\n")),
        mode: [0o600, 0o640, 0o644][random.random_range(0..3)],
        owner: owner([0, 1000][random.random_range(0..2)]),
        group: owner([0, 1001][random.random_range(0..2)]),
        on_change,
        path: String::new(),
        fileset: None,
    }
}

/// One aspect of a service, changed to something that works as well.
pub fn change_something(random: &mut StdRng, service: &mut InstanceDesired) {
    let settings = &mut service.settings;
    match random.random_range(0..14) {
        0 => service.image = ImageRef::new(GOOD[random.random_range(0..GOOD.len())]).unwrap(),
        1 => {
            let value = random.random_range(0..9).to_string();
            settings.environment = Some(BTreeMap::from([("LEVEL".to_owned(), value)]));
        }
        2 => settings.environment = None,
        3 => {
            let value = random.random_range(0..9).to_string();
            settings.labels = Some(BTreeMap::from([("tier".to_owned(), value)]));
        }
        4 => settings.mem_limit = random.random_bool(0.7).then(|| random.random_range(10..99) << 20),
        5 => settings.cpus = random.random_bool(0.7).then(|| random.random_range(1..9) * 100_000_000),
        6 => settings.cpu_shares = random.random_bool(0.7).then(|| random.random_range(2..999)),
        7 => settings.pids_limit = random.random_bool(0.7).then(|| random.random_range(20..99)),
        8 => {
            settings.restart = Some(if random.random() { RestartPolicy::UnlessStopped } else { RestartPolicy::Always });
        }
        9 => settings.stop_grace_period = random.random_bool(0.7).then(|| random.random_range(1..20)),
        10 => {
            service.files.retain(|file| file.target != "/etc/app.conf");
            if random.random_bool(0.8) {
                let file = file(random, "/etc/app.conf", OnChange::Replace);
                service.files.push(file);
            }
        }
        11 | 12 => {
            service.files.retain(|file| file.target != "/etc/app.d/live.conf");
            if random.random_bool(0.8) {
                let class = [OnChange::Reload, OnChange::Restart, OnChange::Nothing][random.random_range(0..3)];
                let file = file(random, "/etc/app.d/live.conf", class);
                service.files.push(file);
                service.reload = Reload {
                    validate: random.random_bool(0.7).then(|| vec!["validate".to_owned()]),
                    exec: random.random_bool(0.3).then(|| vec!["reload".to_owned()]),
                    signal: random.random_bool(0.7).then(|| "SIGHUP".to_owned()),
                };
                if service.reload.exec.is_none() {
                    service.reload.signal = Some("SIGHUP".to_owned());
                }
            }
        }
        _ => settings.read_only = Some(random.random()),
    }
}

fn random_job(random: &mut StdRng, site: &HostDesired) -> JobDesired {
    let mut job = JobDesired {
        step: None,
        filesets: Vec::new(),
        job: JobName::new("migrate").unwrap(),
        role: None,
        container_name: ContainerName::new("migrate").unwrap(),
        image: ImageRef::new("job:1").unwrap(),
        pull_policy: PullPolicy::Missing,
        settings: ContainerSettings { restart: Some(RestartPolicy::No), ..ContainerSettings::default() },
        networks: BTreeMap::new(),
        files: Vec::new(),
        run: [JobRun::One, JobRun::Each, JobRun::Once][random.random_range(0..3)],
        depends_on: BTreeMap::new(),
        done_when: None,
        timeout: DEFAULT_TIMEOUT,
        schedule: None,
        input_hash: String::new(),
    };
    if random.random()
        && let Some(other) = site.services.keys().next()
    {
        let dependency = Dependency { on: DependencyTarget::Ready, need: Need::Any, required: true, restart: false };
        job.depends_on.insert(other.to_string(), dependency);
    }
    seal_job(&mut job, None, KEY);
    job
}

/// What an edit did.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Services that are gone.
    pub removed: Vec<String>,
}

/// Edits a site so that it still works.
pub fn good_edit(random: &mut StdRng, desired: &mut HostDesired) -> Edit {
    let mut edit = Edit::default();
    let unused: Vec<&str> = NAMES.iter().copied().filter(|name| !desired.services.contains_key(*name)).collect();
    match random.random_range(0..10) {
        0 if !unused.is_empty() => {
            let service = random_service(random, unused[0], desired);
            insert(desired, service);
        }
        1 if desired.services.len() > 1 => {
            let names: Vec<ServiceName> = desired.services.keys().cloned().collect();
            let name = names[random.random_range(0..names.len())].clone();
            let needed = desired.services.values().any(|other| other.depends_on.contains_key(name.as_str()))
                || desired.jobs.values().any(|job| job.depends_on.contains_key(name.as_str()));
            if !needed {
                desired.services.shift_remove(&name);
                edit.removed.push(name.to_string());
            }
        }
        2 if !desired.jobs.is_empty() => {
            for job in desired.jobs.values_mut() {
                let job = Arc::make_mut(job);
                let value = random.random_range(0..99).to_string();
                job.settings.environment = Some(BTreeMap::from([("RUN".to_owned(), value)]));
                seal_job(job, None, KEY);
            }
        }
        _ => {
            let mut service = pick(random, desired);
            for _ in 0..random.random_range(1..4) {
                change_something(random, &mut service);
            }
            insert(desired, service);
        }
    }
    edit
}

fn pick(random: &mut StdRng, desired: &HostDesired) -> InstanceDesired {
    let number = random.random_range(0..desired.services.len());
    InstanceDesired::clone(&desired.services[number])
}

/// Edits one service so that it cannot become ready; its name.
pub fn bad_edit(random: &mut StdRng, desired: &mut HostDesired) -> ServiceName {
    let mut service = pick(random, desired);
    let kind = random.random_range(0..7);
    match kind {
        0..4 => {
            service.image = ImageRef::new(BAD[kind]).unwrap();
            service.rollout.min_ready = Span(3000);
            // Without a check nobody could tell that it is sick.
            service.settings.healthcheck =
                Some(Healthcheck { test: vec!["CMD".to_owned(), "check".to_owned()], ..Healthcheck::default() });
        }
        4 => {
            // The engine refuses so little memory.
            service.settings.mem_limit = Some(1 << 20);
        }
        5 => {
            service.files.retain(|file| file.target != "/etc/app.conf");
            let mut broken = file(random, "/etc/app.conf", OnChange::Replace);
            broken.content = Sensitive::new(format!("bad {}", random.random_range(0..1000)));
            service.files.push(broken);
        }
        _ => {
            service.files.retain(|file| file.target != "/etc/app.d/live.conf");
            let mut broken = file(random, "/etc/app.d/live.conf", OnChange::Reload);
            broken.content = Sensitive::new(format!("bad {}", random.random_range(0..1000)));
            service.files.push(broken);
            service.reload = Reload {
                validate: random.random_bool(0.5).then(|| vec!["validate".to_owned()]),
                exec: None,
                signal: Some("SIGHUP".to_owned()),
            };
        }
    }
    let name = service.service.clone();
    insert(desired, service);
    name
}

/// A site with one of everything, always the same.
pub fn fixed_site() -> HostDesired {
    use rand::SeedableRng as _;
    let mut random = StdRng::seed_from_u64(1);
    let mut desired = HostDesired { networks: BTreeMap::new(), ..random_site(&mut random) };
    desired.services.clear();
    desired.jobs.clear();
    desired.volumes.clear();
    desired.networks.insert(NetworkName::new("front").unwrap(), NetworkSpec::default());
    for name in ["alpha", "beta"] {
        let mut service = random_service(&mut random, name, &desired);
        let plain = ContainerSettings { restart: Some(RestartPolicy::UnlessStopped), ..ContainerSettings::default() };
        service.container_name = ContainerName::new(name).unwrap();
        service.image = ImageRef::new("app:1").unwrap();
        service.pull_policy = PullPolicy::Missing;
        service.settings = plain;
        service.networks = BTreeMap::from([(NetworkName::new("front").unwrap(), Attachment::default())]);
        service.files.clear();
        service.ready = None;
        service.depends_on.clear();
        service.hooks = Hooks::default();
        service.rollout = Rollout { min_ready: Span(1000), deadline: Span::seconds(20), ..Rollout::default() };
        if name == "alpha" {
            let check = Healthcheck { test: vec!["CMD".to_owned(), "check".to_owned()], ..Healthcheck::default() };
            service.settings.healthcheck = Some(check);
            let named = Mount::Volume { source: Some("data-alpha".to_owned()), read_only: false, nocopy: false };
            service.settings.volumes = Some(BTreeMap::from([("/data".to_owned(), named)]));
            service.files.push(file(&mut random, "/etc/app.conf", OnChange::Replace));
            service.files.push(file(&mut random, "/etc/app.d/live.conf", OnChange::Reload));
            service.reload =
                Reload { validate: Some(vec!["validate".to_owned()]), exec: None, signal: Some("SIGHUP".to_owned()) };
        }
        insert(&mut desired, service);
    }
    let mut job = random_job(&mut random, &desired);
    job.run = JobRun::One;
    job.depends_on.clear();
    seal_job(&mut job, None, KEY);
    desired.jobs.insert(job.job.clone(), Arc::new(job));
    desired
}

/// Edits one service.
pub fn edit(desired: &mut HostDesired, name: &str, change: impl FnOnce(&mut InstanceDesired)) {
    let mut service = InstanceDesired::clone(&desired.services[name]);
    change(&mut service);
    insert(desired, service);
}

/// Gives the job other inputs.
pub fn run_job_again(desired: &mut HostDesired) {
    change_job(desired, |job| {
        job.settings.environment = Some(BTreeMap::from([("RUN".to_owned(), "again".to_owned())]));
    });
}

/// Edits the jobs.
pub fn change_job(desired: &mut HostDesired, change: impl Fn(&mut JobDesired)) {
    for job in desired.jobs.values_mut() {
        let job = Arc::make_mut(job);
        change(job);
        seal_job(job, None, KEY);
    }
}
