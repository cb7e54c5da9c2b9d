//! Steps become calls of the ports. There are no decisions here: a step holds every detail.
//!
//! In: a step. Out: what it brought to light, or why it failed and whose fault that is. Each step may be repeated.

mod fileset;
mod one_off;
mod stopped;

pub use self::stopped::value;

use std::collections::BTreeMap;

use crate::model::desired::{Hook, Hooks, JobDesired, RegistryLogin};
use crate::model::file::FileSpec;
use crate::model::fileset::Contents;
use crate::model::image::Accounts;
use crate::model::job::{CANNOT_TELL, DoneWhen};
use crate::model::labels;
use crate::model::names::{HostName, SiteName};
use crate::model::probe::Probe;
use crate::model::settings::{ContainerSettings, Mount, RestartPolicy};
use crate::observe::accounts::{parse_group, parse_passwd};
use crate::observe::observed::ObservedImage;
use crate::plan::files::{key, owner_ids};
use crate::plan::step::{CreateStep, EXEC_LIMIT, FilesOf, Step};
use crate::port::engine::{Blame, CreateContainer, Engine, EngineError, LimitChange, PullProgress};
use crate::port::files::{FileToWrite, Files, FilesError};
use crate::port::prober::Prober;

/// Lines of a failed container's log that are kept.
const LOG_LINES: usize = 200;

/// What a step is done with.
pub struct Hands<'a> {
    /// The engine.
    pub engine: &'a dyn Engine,
    /// The files.
    pub files: &'a dyn Files,
    /// Probes.
    pub prober: &'a dyn Prober,
    /// Site, for labels.
    pub site: &'a SiteName,
    /// Host, for labels.
    pub host: &'a HostName,
    /// Logins by registry.
    pub registries: &'a BTreeMap<String, RegistryLogin>,
    /// Images as seen, for numbers of users and groups.
    pub images: &'a BTreeMap<String, std::sync::Arc<ObservedImage>>,
    /// Called with the progress of pulls.
    pub progress: &'a (dyn Fn(PullProgress) + Send + Sync),
}

/// What a step brought to light.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Plain,
    /// A container was made.
    Created {
        /// Its id.
        id: String,
    },
    /// An image's accounts.
    Accounts(Accounts),
    /// The last lines of a container.
    Log(String),
    /// What was asked of a service that does not run.
    Value(serde_json::Value),
    /// The files of a fileset.
    Fileset(Contents),
    /// The answer of `done_when`, and what was said.
    Answered(bool, String),
    /// A job's result.
    Ended {
        /// Exit code; none where it was stopped by its time-out.
        exit_code: Option<i64>,
        /// Last lines.
        log: String,
    },
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In CamelCase, bounded, for metrics and conditions.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Whether the same spec would fail again.
    pub spec_at_fault: bool,
    /// Whether the engine could not be asked at all.
    pub engine_lost: bool,
    /// Whether files failed their validation before the process was told anything.
    pub unread: bool,
}

impl Failure {
    fn engine(reason: &'static str, error: &EngineError) -> Self {
        Self {
            reason,
            message: error.to_string(),
            spec_at_fault: error.blame() == Blame::Spec,
            engine_lost: matches!(error, EngineError::Unreachable(_)),
            unread: false,
        }
    }

    fn files(error: &FilesError) -> Self {
        Self {
            reason: "WriteFailed",
            message: error.to_string(),
            spec_at_fault: false,
            engine_lost: false,
            unread: false,
        }
    }

    fn spec(reason: &'static str, message: String) -> Self {
        Self { reason, message, spec_at_fault: true, engine_lost: false, unread: false }
    }
}

fn because(reason: &'static str) -> impl Fn(EngineError) -> Failure {
    move |error| Failure::engine(reason, &error)
}

/// Does a step.
pub async fn execute(step: &Step, hands: &Hands<'_>) -> Result<Done, Failure> {
    let engine = hands.engine;
    match step {
        Step::Pull { image, .. } => {
            let login = image.registry().and_then(|registry| hands.registries.get(registry));
            engine.pull(image, login, hands.progress).await.map_err(|error| {
                let failure = Failure::engine("ImagePullFailed", &error);
                // A registry's own words often leave out what was asked for.
                Failure { message: format!("{image}: {}", failure.message), ..failure }
            })?;
        }
        Step::LookUpAccounts { image_id, helper } => return look_up_accounts(hands, image_id, helper).await,
        Step::WriteFiles { key, instance, image_id } => write_files(hands, key, instance, image_id).await?,
        Step::Create(create) => {
            let request = creation(hands, create);
            let id = engine.create_container(&request).await.map_err(because("CreateFailed"))?;
            return Ok(Done::Created { id });
        }
        Step::Start { id, hooks, .. } => start(engine, id, hooks).await?,
        Step::Unpause { id } => engine.unpause_container(id).await.map_err(because("StartFailed"))?,
        Step::MoveAside { id, to } => {
            // A stopped container with `always` would come back with the engine, beside the new one.
            let settings = ContainerSettings { restart: Some(RestartPolicy::No), ..ContainerSettings::default() };
            engine.update_container(id, &LimitChange { settings }).await.map_err(because("UpdateFailed"))?;
            engine.rename_container(id, to).await.map_err(because("RenameFailed"))?;
        }
        Step::Stop { id, grace, hooks } => stop(engine, id, *grace, hooks).await?,
        Step::Rename { id, to } => engine.rename_container(id, to).await.map_err(because("RenameFailed"))?,
        Step::Remove { id } => engine.remove_container(id, false).await.map_err(because("RemoveFailed"))?,
        Step::Update { id, settings } => {
            let change = LimitChange { settings: settings.as_ref().clone() };
            engine.update_container(id, &change).await.map_err(because("UpdateFailed"))?;
        }
        Step::Connect { id, network, attachment, reattach } => {
            if *reattach {
                engine.disconnect_network(network, id).await.map_err(because("DetachFailed"))?;
            }
            engine.connect_network(network, id, attachment).await.map_err(because("AttachFailed"))?;
        }
        Step::Disconnect { id, network } => {
            engine.disconnect_network(network, id).await.map_err(because("DetachFailed"))?;
        }
        Step::Reload { id, reload, .. } => reload_process(engine, id, reload).await?,
        Step::Restart { id, grace, hooks, .. } => {
            stop(engine, id, *grace, hooks).await?;
            start(engine, id, hooks).await?;
        }
        Step::Quarantine { id, .. } => {
            let log = match id {
                // What it said last helps, but a rollback does not wait for it.
                Some(id) => engine.log_tail(id, LOG_LINES).await.unwrap_or_default(),
                None => String::new(),
            };
            return Ok(Done::Log(log));
        }
        Step::CreateNetwork { name, spec } => {
            engine.create_network(name, spec, &ours(hands)).await.map_err(because("CreateNetworkFailed"))?;
        }
        Step::RemoveNetwork { name } => engine.remove_network(name).await.map_err(because("RemoveNetworkFailed"))?,
        Step::CreateVolume { name, spec } => {
            engine.create_volume(name, spec, &ours(hands)).await.map_err(because("CreateVolumeFailed"))?;
        }
        Step::AskDone { question, container_id, job, image_id, again } => {
            return ask_done(hands, question, container_id.as_deref(), job, image_id, *again).await;
        }
        Step::AskStopped { create, timeout, gives_value, .. } => {
            return stopped::ask(hands, create, *timeout, *gives_value).await;
        }
        Step::MakeFileset { create, path, files, timeout, .. } => {
            return fileset::make(hands, create, path, files, *timeout).await;
        }
        Step::TakeFileset { id, path, .. } => return fileset::take(engine, id, path).await,
        Step::Wipe { volumes, .. } => return stopped::wipe(hands, volumes).await,
        Step::Collect { id, timed_out, .. } => return collect(engine, id, *timed_out).await,
    }
    Ok(Done::Plain)
}

fn ours(hands: &Hands<'_>) -> labels::Labels {
    [(labels::SITE.to_owned(), hands.site.to_string()), (labels::HOST.to_owned(), hands.host.to_string())].into()
}

async fn start(engine: &dyn Engine, id: &str, hooks: &Hooks) -> Result<(), Failure> {
    engine.start_container(id).await.map_err(because("StartFailed"))?;
    for hook in &hooks.post_start {
        let outcome = engine.exec(id, hook, EXEC_LIMIT).await.map_err(because("HookFailed"))?;
        if outcome.exit_code != 0 {
            let message = format!("post_start `{}` ended with {}", hook.command.join(" "), outcome.exit_code);
            return Err(Failure::spec("HookFailed", message));
        }
    }
    Ok(())
}

async fn stop(engine: &dyn Engine, id: &str, grace: Option<i64>, hooks: &Hooks) -> Result<(), Failure> {
    for hook in &hooks.pre_stop {
        // A hook that fails must not keep a container from being stopped.
        if let Err(error) = engine.exec(id, hook, EXEC_LIMIT).await {
            tracing::warn!(container = id, %error, "pre_stop failed");
        }
    }
    engine.stop_container(id, grace).await.map_err(because("StopFailed"))
}

fn creation(hands: &Hands<'_>, create: &CreateStep) -> CreateContainer {
    let mut settings = create.settings.clone();
    for mount in settings.volumes.iter_mut().flatten().map(|(_, mount)| mount) {
        if let Mount::Managed { path } = mount {
            *mount = Mount::Bind {
                source: hands.files.host_path(&create.files_key, path),
                read_only: true,
                propagation: None,
                create_host_path: false,
            };
        }
    }
    CreateContainer {
        name: create.name.clone(),
        image_id: create.image_id.clone(),
        image: create.image.clone(),
        settings,
        networks: create.networks.clone(),
        labels: create.labels.clone(),
        carried_volumes: create.carried_volumes.clone(),
    }
}

async fn look_up_accounts(hands: &Hands<'_>, image_id: &str, helper: &str) -> Result<Done, Failure> {
    let engine = hands.engine;
    let reference = crate::model::image::ImageRef::new("mastic-accounts")
        .map_err(|error| Failure::spec("LookUpFailed", error.to_string()))?;
    let request = CreateContainer {
        name: helper.to_owned(),
        image_id: image_id.to_owned(),
        image: reference,
        settings: ContainerSettings {
            entrypoint: Some(vec!["/never-started".to_owned()]),
            ..ContainerSettings::default()
        },
        networks: BTreeMap::new(),
        labels: ours(hands),
        carried_volumes: BTreeMap::new(),
    };
    engine.remove_container(helper, true).await.map_err(because("LookUpFailed"))?;
    let id = engine.create_container(&request).await.map_err(because("LookUpFailed"))?;
    let mut texts = Vec::new();
    for path in ["/etc/passwd", "/etc/group"] {
        match engine.read_file(&id, path).await {
            Ok(bytes) => texts.push(String::from_utf8_lossy(&bytes).into_owned()),
            // Only an image without the file has no accounts: a helper that somebody took away tells nothing.
            Err(EngineError::NotFound(_)) if engine.inspect_container(&id).await.is_ok() => texts.push(String::new()),
            Err(error) => {
                // The next pass removes it as a stray.
                return Err(Failure::engine("LookUpFailed", &error));
            }
        }
    }
    engine.remove_container(&id, true).await.map_err(because("LookUpFailed"))?;
    Ok(Done::Accounts(Accounts { users: parse_passwd(&texts[0]), groups: parse_group(&texts[1]) }))
}

async fn write_files(hands: &Hands<'_>, key: &str, instance: &FilesOf, image_id: &str) -> Result<(), Failure> {
    let files = to_write(hands, instance.files(), image_id)?;
    hands.files.write(key, &files).await.map_err(|error| Failure::files(&error))
}

fn to_write(hands: &Hands<'_>, specs: &[FileSpec], image_id: &str) -> Result<Vec<FileToWrite>, Failure> {
    let image = hands.images.get(image_id).map(AsRef::as_ref);
    let mut files = Vec::new();
    for file in specs {
        let Some((uid, gid)) = owner_ids(file, image) else {
            let message = format!("the owner of {} is not known in the image", file.target);
            return Err(Failure::spec("UnknownOwner", message));
        };
        files.push(FileToWrite {
            path: file.path.clone(),
            content: file.content.expose().to_vec(),
            mode: file.mode,
            uid,
            gid,
        });
    }
    Ok(files)
}

async fn reload_process(engine: &dyn Engine, id: &str, reload: &crate::model::file::Reload) -> Result<(), Failure> {
    let command = |command: &[String]| Hook { command: command.to_vec(), ..Hook::default() };
    if let Some(validate) = &reload.validate {
        let outcome = engine.exec(id, &command(validate), EXEC_LIMIT).await.map_err(because("ValidateFailed"))?;
        if outcome.exit_code != 0 {
            let message =
                format!("`{}` ended with {}: {}", validate.join(" "), outcome.exit_code, last_line(&outcome.output));
            return Err(Failure { unread: true, ..Failure::spec("ValidationFailed", message) });
        }
    }
    if let Some(exec) = &reload.exec {
        let outcome = engine.exec(id, &command(exec), EXEC_LIMIT).await.map_err(because("ReloadFailed"))?;
        if outcome.exit_code != 0 {
            let message =
                format!("`{}` ended with {}: {}", exec.join(" "), outcome.exit_code, last_line(&outcome.output));
            return Err(Failure::spec("ReloadFailed", message));
        }
    }
    if let Some(signal) = &reload.signal {
        engine.signal_container(id, signal).await.map_err(because("ReloadFailed"))?;
    }
    Ok(())
}

fn last_line(output: &str) -> &str {
    output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
}

async fn ask_done(
    hands: &Hands<'_>,
    question: &DoneWhen,
    container_id: Option<&str>,
    job: &JobDesired,
    image_id: &str,
    again: bool,
) -> Result<Done, Failure> {
    let engine = hands.engine;
    match (question, container_id) {
        (DoneWhen::Service { probe, .. }, Some(id)) => {
            let done = match probe {
                Probe::Exec { command } => {
                    let hook = Hook { command: command.clone(), ..Hook::default() };
                    engine.exec(id, &hook, EXEC_LIMIT).await.map_err(because("AskFailed"))?.exit_code == 0
                }
                Probe::Http { host, port, path, status } => {
                    let host = host.as_deref().unwrap_or("127.0.0.1");
                    hands.prober.http(host, *port, path, *status, EXEC_LIMIT).await.ready
                }
                Probe::Tcp { host, port } => {
                    hands.prober.tcp(host.as_deref().unwrap_or("127.0.0.1"), *port, EXEC_LIMIT).await.ready
                }
            };
            Ok(Done::Answered(done, String::new()))
        }
        (DoneWhen::Service { .. }, None) => Ok(Done::Answered(false, String::new())),
        (DoneWhen::Container { command }, _) => {
            let name = format!("{}.ask", job.container_name);
            engine.remove_container(&name, true).await.map_err(because("AskFailed"))?;
            let create = CreateStep {
                name: name.clone(),
                image: job.image.clone(),
                image_id: image_id.to_owned(),
                settings: ContainerSettings {
                    command: Some(command.clone()),
                    restart: Some(RestartPolicy::No),
                    healthcheck: None,
                    ..job.settings.clone()
                },
                networks: job
                    .networks
                    .iter()
                    .map(|(name, attachment)| (name.to_string(), attachment.clone()))
                    .collect(),
                labels: ours(hands),
                files_key: key(job.container_name.as_str(), &job.input_hash),
                carried_volumes: BTreeMap::new(),
            };
            let id = engine.create_container(&creation(hands, &create)).await.map_err(because("AskFailed"))?;
            engine.start_container(&id).await.map_err(because("AskFailed"))?;
            let code = tokio::time::timeout(job.timeout.duration(), engine.wait_container(&id)).await;
            let said = engine.log_tail(&id, LOG_LINES).await.unwrap_or_default();
            engine.remove_container(&id, true).await.map_err(because("AskFailed"))?;
            match code {
                Ok(code) => match code.map_err(because("AskFailed"))? {
                    CANNOT_TELL if again => {
                        Err(one_off::failed("AskFailed", format!("it cannot be told now: {}", last_line(&said))))
                    }
                    code => Ok(Done::Answered(code == 0, last_line(&said).to_owned())),
                },
                Err(_) => Err(Failure::spec("AskFailed", format!("`done_when` took longer than {}", job.timeout))),
            }
        }
    }
}

async fn collect(engine: &dyn Engine, id: &str, timed_out: bool) -> Result<Done, Failure> {
    if timed_out {
        engine.stop_container(id, None).await.map_err(because("StopFailed"))?;
    }
    let log = engine.log_tail(id, LOG_LINES).await.unwrap_or_default();
    let container = engine.inspect_container(id).await.map_err(because("InspectFailed"))?;
    let exit_code = (!timed_out).then_some(container.state.exit_code);
    Ok(Done::Ended { exit_code, log })
}
