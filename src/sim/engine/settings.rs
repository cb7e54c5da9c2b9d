//! What an engine makes of the settings that it is asked for: the image's part merged in, defaults filled in.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::image::ImageDefaults;
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, Healthcheck, Logging, Mount, RestartPolicy};
use crate::port::engine::{Answer, EngineError};

/// Settings as an inspect call shows them.
pub(super) fn effective(
    asked: &ContainerSettings,
    image: &ImageDefaults,
    networks: &BTreeMap<String, Attachment>,
) -> ContainerSettings {
    let mut settings = asked.clone();
    // An entry point of its own also drops the image's command.
    if settings.entrypoint.is_none() {
        settings.entrypoint = Some(image.entrypoint.clone());
        settings.command.get_or_insert_with(|| image.command.clone());
    }
    settings.command.get_or_insert_default();
    settings.environment = Some(merged(&image.environment, settings.environment.as_ref()));
    settings.labels = Some(merged(&image.labels, settings.labels.as_ref()));
    settings.user.get_or_insert_with(|| image.user.clone());
    settings.working_dir.get_or_insert_with(|| image.working_dir.clone());
    if settings.stop_signal.is_none() {
        settings.stop_signal.clone_from(&image.stop_signal);
    }
    settings.healthcheck = health(settings.healthcheck.take(), image.healthcheck.as_ref());
    let published = settings.ports.iter().flatten().map(|port| format!("{}/{}", port.target, port.protocol));
    let exposed: Vec<String> = image.expose.iter().cloned().chain(published).collect();
    settings.expose.get_or_insert_default().extend(exposed);
    settings.restart.get_or_insert(RestartPolicy::No);
    settings.privileged.get_or_insert(false);
    settings.read_only.get_or_insert(false);
    settings.tty.get_or_insert(false);
    settings.stdin_open.get_or_insert(false);
    let mode = networks.keys().next().cloned().unwrap_or_else(|| "default".to_owned());
    settings.network_mode.get_or_insert(mode);
    let logging = settings.logging.get_or_insert_default();
    if logging.driver.is_empty() {
        "json-file".clone_into(&mut logging.driver);
    }
    // Twice the memory is what memory and swap together default to.
    if let (Some(memory), None) = (settings.mem_limit, settings.memswap_limit)
        && memory > 0
    {
        settings.memswap_limit = Some(memory * 2);
    }
    neutral(&mut settings);
    settings
}

/// What an inspect call shows of what nobody asked for.
fn neutral(settings: &mut ContainerSettings) {
    for number in [
        &mut settings.cpus,
        &mut settings.cpu_shares,
        &mut settings.cpu_quota,
        &mut settings.cpu_period,
        &mut settings.cpu_rt_runtime,
        &mut settings.cpu_rt_period,
        &mut settings.mem_limit,
        &mut settings.mem_reservation,
        &mut settings.memswap_limit,
        &mut settings.oom_score_adj,
    ] {
        number.get_or_insert(0);
    }
    settings.cpuset.get_or_insert_default();
    for set in [
        &mut settings.cap_add,
        &mut settings.cap_drop,
        &mut settings.security_opt,
        &mut settings.group_add,
        &mut settings.devices,
        &mut settings.device_cgroup_rules,
        &mut settings.extra_hosts,
    ] {
        set.get_or_insert_with(BTreeSet::new);
    }
    settings.ports.get_or_insert_default();
    settings.volumes.get_or_insert_default();
    settings.ulimits.get_or_insert_default();
    settings.sysctls.get_or_insert_default();
    let _: &mut Logging = settings.logging.get_or_insert_default();
}

fn merged(of_image: &BTreeMap<String, String>, own: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut all = of_image.clone();
    all.extend(own.cloned().unwrap_or_default());
    all
}

/// A check of its own takes what it does not set from the image's.
fn health(own: Option<Healthcheck>, of_image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (Some(own), Some(of_image)) = (own.clone(), of_image) else { return own.or_else(|| of_image.cloned()) };
    Some(Healthcheck {
        test: if own.test.is_empty() { of_image.test.clone() } else { own.test },
        interval: own.interval.or(of_image.interval),
        timeout: own.timeout.or(of_image.timeout),
        retries: own.retries.or(of_image.retries),
        start_period: own.start_period.or(of_image.start_period),
        start_interval: own.start_interval.or(of_image.start_interval),
    })
}

/// Targets of the volumes that nobody named: of the settings, and of the image where nothing else is mounted there.
pub(super) fn anonymous_targets(settings: &ContainerSettings, of_image: &[String]) -> Vec<String> {
    let empty = BTreeMap::new();
    let mounts = settings.volumes.as_ref().unwrap_or(&empty);
    let own = mounts.iter().filter(|(_, mount)| matches!(mount, Mount::Volume { source: None, .. }));
    let mut targets: Vec<String> = own.map(|(target, _)| target.clone()).collect();
    targets.extend(of_image.iter().filter(|target| !mounts.contains_key(*target)).cloned());
    targets
}

/// Changes limits of a live container as dockerd does.
pub(super) fn update(settings: &mut ContainerSettings, change: &ContainerSettings) -> Answer<()> {
    let swap = settings.memswap_limit.unwrap_or(0);
    if let Some(memory) = change.mem_limit
        && memory > swap
        && swap != -1
        && change.memswap_limit.is_none()
    {
        return Err(EngineError::Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                .to_owned(),
        ));
    }
    macro_rules! take {
        ($($field:ident),*) => { $( if change.$field.is_some() { settings.$field.clone_from(&change.$field); } )* };
    }
    take!(
        cpus,
        cpu_shares,
        cpu_quota,
        cpu_period,
        cpu_rt_runtime,
        cpu_rt_period,
        cpuset,
        mem_limit,
        mem_reservation,
        memswap_limit,
        pids_limit,
        blkio_config,
        restart
    );
    Ok(())
}
