//! What an engine makes of the settings that it is asked for: the image's part merged in, defaults filled in.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::image::ImageDefaults;
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, Healthcheck, Mount, RestartPolicy};
use crate::port::engine::{Answer, EngineError};

/// What a container needs at least.
const SMALLEST_MEMORY: i64 = 6 << 20;

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
    settings.expose.get_or_insert_default().extend(image.expose.iter().cloned());
    let published: Vec<String> = published.collect();
    settings.expose.get_or_insert_default().extend(published);
    settings.restart.get_or_insert(RestartPolicy::No);
    let mode = networks.keys().next().cloned().unwrap_or_else(|| "bridge".to_owned());
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
        &mut settings.pids_limit,
        &mut settings.oom_score_adj,
    ] {
        number.get_or_insert(0);
    }
    for flag in [
        &mut settings.privileged,
        &mut settings.read_only,
        &mut settings.tty,
        &mut settings.stdin_open,
        &mut settings.oom_kill_disable,
    ] {
        flag.get_or_insert(false);
    }
    for text in [
        &mut settings.cpuset,
        &mut settings.domainname,
        &mut settings.pid,
        &mut settings.uts,
        &mut settings.userns_mode,
        &mut settings.cgroup_parent,
    ] {
        text.get_or_insert_default();
    }
    settings.ipc.get_or_insert_with(|| "private".to_owned());
    settings.cgroup.get_or_insert_with(|| "private".to_owned());
    settings.runtime.get_or_insert_with(|| "runc".to_owned());
    settings.shm_size.get_or_insert(64 << 20);
    for list in [&mut settings.dns, &mut settings.dns_opt, &mut settings.dns_search] {
        list.get_or_insert_default();
    }
    for set in [
        &mut settings.cap_add,
        &mut settings.cap_drop,
        &mut settings.security_opt,
        &mut settings.group_add,
        &mut settings.devices,
        &mut settings.device_cgroup_rules,
        &mut settings.extra_hosts,
        &mut settings.volumes_from,
    ] {
        set.get_or_insert_with(BTreeSet::new);
    }
    settings.gpus.get_or_insert_default();
    settings.blkio_config.get_or_insert_default();
    settings.ports.get_or_insert_default();
    settings.volumes.get_or_insert_default();
    settings.ulimits.get_or_insert_default();
    settings.sysctls.get_or_insert_default();
    settings.storage_opt.get_or_insert_default();
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
    let mut change = change.clone();
    // Where memory and swap together are the engine's own choice, they move with the memory.
    let (memory, swap) = (settings.mem_limit.unwrap_or(0), settings.memswap_limit.unwrap_or(0));
    if let (Some(new), None, true) = (change.mem_limit, change.memswap_limit, swap == memory * 2) {
        change.memswap_limit = Some(new * 2);
    }
    is_possible(&change)?;
    let conflict = |text: &str| Err(EngineError::Conflict(text.to_owned()));
    let is_set = |number: Option<i64>| number.unwrap_or(0) > 0;
    if is_set(change.cpus) && (is_set(settings.cpu_period) || is_set(settings.cpu_quota)) {
        return conflict("Nano CPUs cannot be updated as CPU Period or Quota has already been set");
    }
    if is_set(settings.cpus) && (is_set(change.cpu_period) || is_set(change.cpu_quota)) {
        return conflict("CPU Period or Quota cannot be updated as NanoCPUs has already been set");
    }
    if let Some(new) = change.mem_limit
        && new > swap
        && change.memswap_limit.is_none()
    {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
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

/// Limits that dockerd refuses at creation and at a change.
pub(super) fn is_possible(limits: &ContainerSettings) -> Answer<()> {
    let refused = |text: &str| Err(EngineError::Refused(text.to_owned()));
    let memory = limits.mem_limit.unwrap_or(0);
    let swap = limits.memswap_limit.unwrap_or(0);
    if memory != 0 && memory < SMALLEST_MEMORY {
        return refused("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refused("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return refused("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if memory > 0 && limits.mem_reservation.is_some_and(|reserved| reserved > memory) {
        return refused("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if limits.cpus.unwrap_or(0) > 0 && (limits.cpu_period.unwrap_or(0) > 0 || limits.cpu_quota.unwrap_or(0) > 0) {
        return refused("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    Ok(())
}
