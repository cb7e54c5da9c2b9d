//! Resource limits and the restart policy: what can be set at creation and changed later, and how it is read back.
//!
//! In: settings. Out: the fields of the API, and the opposite.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerUpdateBody, HostConfig, ResourcesBlkioWeightDevice, RestartPolicy as ApiPolicy, RestartPolicyNameEnum,
    ThrottleDevice,
};

use crate::model::settings::{BlockIo, ContainerSettings, RestartPolicy};
use crate::port::engine::EngineError;

/// Puts the limits into what a container is created from.
pub(super) fn write(settings: &ContainerSettings, host: &mut HostConfig) -> Result<(), EngineError> {
    host.nano_cpus = settings.cpus;
    host.cpu_shares = settings.cpu_shares;
    host.cpu_quota = settings.cpu_quota;
    host.cpu_period = settings.cpu_period;
    host.cpu_realtime_runtime = settings.cpu_rt_runtime;
    host.cpu_realtime_period = settings.cpu_rt_period;
    host.cpuset_cpus.clone_from(&settings.cpuset);
    host.memory = settings.mem_limit;
    host.memory_reservation = settings.mem_reservation;
    host.memory_swap = settings.memswap_limit;
    host.memory_swappiness = settings.mem_swappiness;
    host.pids_limit = settings.pids_limit;
    host.oom_kill_disable = settings.oom_kill_disable;
    host.restart_policy = settings.restart.as_ref().map(policy);
    if let Some(blkio) = &settings.blkio_config {
        host.blkio_weight = Some(weight(blkio.weight)?);
        let weights = blkio.weight_device.iter().map(|(path, value)| {
            Ok(ResourcesBlkioWeightDevice { path: Some(path.clone()), weight: Some(usize::from(weight(*value)?)) })
        });
        host.blkio_weight_device = some(weights.collect::<Result<Vec<_>, EngineError>>()?);
        host.blkio_device_read_bps = some(throttles(&blkio.device_read_bps));
        host.blkio_device_read_iops = some(throttles(&blkio.device_read_iops));
        host.blkio_device_write_bps = some(throttles(&blkio.device_write_bps));
        host.blkio_device_write_iops = some(throttles(&blkio.device_write_iops));
    }
    Ok(())
}

/// The same for a live container.
pub(super) fn update(settings: &ContainerSettings) -> Result<ContainerUpdateBody, EngineError> {
    let mut host = HostConfig::default();
    write(settings, &mut host)?;
    Ok(ContainerUpdateBody {
        nano_cpus: host.nano_cpus,
        cpu_shares: host.cpu_shares,
        cpu_quota: host.cpu_quota,
        cpu_period: host.cpu_period,
        cpu_realtime_runtime: host.cpu_realtime_runtime,
        cpu_realtime_period: host.cpu_realtime_period,
        cpuset_cpus: host.cpuset_cpus,
        memory: host.memory,
        memory_reservation: host.memory_reservation,
        memory_swap: host.memory_swap,
        pids_limit: host.pids_limit,
        blkio_weight: host.blkio_weight,
        restart_policy: host.restart_policy,
        ..ContainerUpdateBody::default()
    })
}

/// Reads the limits back. Zero stands for "no limit" as the engine has it.
pub(super) fn read(host: &HostConfig, settings: &mut ContainerSettings) {
    let number = |value: Option<i64>| Some(value.unwrap_or_default());
    settings.cpus = number(host.nano_cpus);
    settings.cpu_shares = number(host.cpu_shares);
    settings.cpu_quota = number(host.cpu_quota);
    settings.cpu_period = number(host.cpu_period);
    settings.cpu_rt_runtime = number(host.cpu_realtime_runtime);
    settings.cpu_rt_period = number(host.cpu_realtime_period);
    settings.cpuset = Some(host.cpuset_cpus.clone().unwrap_or_default());
    settings.mem_limit = number(host.memory);
    settings.mem_reservation = number(host.memory_reservation);
    settings.memswap_limit = number(host.memory_swap);
    // -1 is podman's and an older Docker's way to say that it was not set.
    settings.mem_swappiness = host.memory_swappiness.filter(|value| *value >= 0);
    settings.pids_limit = number(host.pids_limit);
    settings.oom_kill_disable = Some(host.oom_kill_disable.unwrap_or_default());
    settings.restart = Some(read_policy(host.restart_policy.as_ref()));
    settings.blkio_config = Some(BlockIo {
        weight: i64::from(host.blkio_weight.unwrap_or_default()),
        weight_device: host
            .blkio_weight_device
            .iter()
            .flatten()
            .filter_map(|entry| Some((entry.path.clone()?, i64::try_from(entry.weight?).ok()?)))
            .collect(),
        device_read_bps: read_throttles(host.blkio_device_read_bps.as_ref()),
        device_read_iops: read_throttles(host.blkio_device_read_iops.as_ref()),
        device_write_bps: read_throttles(host.blkio_device_write_bps.as_ref()),
        device_write_iops: read_throttles(host.blkio_device_write_iops.as_ref()),
    });
}

fn weight(value: i64) -> Result<u16, EngineError> {
    u16::try_from(value).map_err(|_| EngineError::Refused(format!("blkio_config: {value} is no weight")))
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn throttles(rates: &BTreeMap<String, i64>) -> Vec<ThrottleDevice> {
    rates.iter().map(|(path, rate)| ThrottleDevice { path: Some(path.clone()), rate: Some(*rate) }).collect()
}

fn read_throttles(list: Option<&Vec<ThrottleDevice>>) -> BTreeMap<String, i64> {
    list.into_iter().flatten().filter_map(|entry| Some((entry.path.clone()?, entry.rate?))).collect()
}

fn policy(policy: &RestartPolicy) -> ApiPolicy {
    let (name, count) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure(count) => (RestartPolicyNameEnum::ON_FAILURE, Some(*count)),
    };
    ApiPolicy { name: Some(name), maximum_retry_count: count }
}

fn read_policy(policy: Option<&ApiPolicy>) -> RestartPolicy {
    match policy.and_then(|policy| policy.name) {
        Some(RestartPolicyNameEnum::ALWAYS) => RestartPolicy::Always,
        Some(RestartPolicyNameEnum::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Some(RestartPolicyNameEnum::ON_FAILURE) => {
            RestartPolicy::OnFailure(policy.and_then(|policy| policy.maximum_retry_count).unwrap_or_default())
        }
        _ => RestartPolicy::No,
    }
}
