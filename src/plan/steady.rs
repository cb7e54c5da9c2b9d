//! NAME alone: revive it, mend it in place, let it prove itself, or begin to replace it.

use crate::model::condition::ConditionType;
use crate::model::desired::{HealMode, Unhealthy};
use crate::model::file::OnChange;
use crate::model::fileset;
use crate::model::hold::HoldKind;
use crate::model::memory::Told;
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, RestartPolicy};
use crate::observe::observed::{Health, ObservedContainer, Status};

use super::backoff;
use super::diff::{Difference, Part};
use super::files;
use super::gate;
use super::instance::Planning;
use super::instructed;
use super::namespaces;
use super::remember::MemoryChange;
use super::replace;
use super::step::{ActionKind, Cause, Disruption, FilesOf, Next, Step};

/// Starts of ours in a row from which a container counts as crash looping.
const CRASH_LOOP: u32 = 3;

/// The next step where only NAME exists.
pub(super) fn next(planning: &mut Planning<'_>, current: &ObservedContainer) -> Next {
    planning.describe_running(current);
    let differences = planning.differences(current);
    let strongest = differences.iter().map(|difference| difference.class).max();
    planning.ready = strongest.is_none() && planning.is_ready_now(current);
    let causes: Vec<Cause> = differences.iter().map(|difference| difference.cause.clone()).collect();
    crash_loop(planning, current);

    if current.state.status == Status::Removing {
        return Next::Wait { until: None };
    }
    if planning.input.heal == HealMode::Report && planning.is_proven() {
        return report_only(planning, current, strongest, causes);
    }
    if strongest == Some(Disruption::Replace) {
        // An edit that cannot be prepared must not keep a dead instance dead.
        let stuck = planning.memory.failures > 0 || planning.quarantined && planning.input.proven.is_none();
        if stuck && let Some(step) = revive(planning, current) {
            return step;
        }
        return replace::begin(planning, current, causes);
    }
    if let Some(step) = mend(planning, current, &differences, causes) {
        return step;
    }
    if let Some(step) = revive(planning, current) {
        return step;
    }
    if planning.input.observed.images.contains_key(&current.image_id)
        && let Some(step) = look_up_accounts(planning, current)
    {
        return Next::Step(step);
    }
    if let Some(step) = tell(planning, current) {
        return step;
    }
    if let Some(step) = regain_network(planning, current) {
        return step;
    }
    if let Some(step) = asked_restart(planning, current) {
        return step;
    }
    if !planning.is_proven_by(current) {
        // A spec that failed in place, as by its validation, has no other place to be found out.
        if let Some(failure) = planning.spec_failure() {
            let reason = failure.message.clone();
            return planning.gate_failed(current, &reason);
        }
        if planning.quarantined && planning.input.proven.is_none() {
            return Next::Blocked;
        }
        return planning.gate(current);
    }
    if let Some(next) = unhealthy(planning, current) {
        return next;
    }
    if let Some(failed) = planning.slots.failed
        && !planning.quarantined
    {
        planning.change(ActionKind::Remove, Disruption::None, vec![Cause::words("failed", "kept", "no longer needed")]);
        return Next::Step(Step::Remove { id: failed.id.clone() });
    }
    Next::Nothing
}

fn crash_loop(planning: &mut Planning<'_>, current: &ObservedContainer) {
    let ours = &planning.memory.restarts;
    let revived = ours.container_id == current.id && ours.revived >= CRASH_LOOP;
    if current.state.status == Status::Restarting || (revived && !current.is_running()) {
        let message =
            format!("exit code {}, {} restarts by the engine", current.state.exit_code, current.state.restart_count);
        planning.condition(ConditionType::CrashLooping, "CrashLoopBackOff", message);
    }
}

fn report_only(
    planning: &mut Planning<'_>,
    current: &ObservedContainer,
    strongest: Option<Disruption>,
    causes: Vec<Cause>,
) -> Next {
    if let Some(class) = strongest {
        planning.change(kind_of(class), class, causes);
    } else if !current.is_running() && current.state.status != Status::Restarting {
        planning.change(ActionKind::Start, Disruption::None, vec![state_cause(current)]);
    } else {
        return Next::Nothing;
    }
    planning.condition(ConditionType::Drifted, "ReportOnly", "`sync.heal: report` leaves it as it is");
    Next::Blocked
}

fn kind_of(class: Disruption) -> ActionKind {
    match class {
        Disruption::None => ActionKind::WriteFile,
        Disruption::Update => ActionKind::Update,
        Disruption::Attach => ActionKind::Attach,
        Disruption::Reload => ActionKind::Reload,
        Disruption::Restart => ActionKind::Restart,
        Disruption::Replace => ActionKind::Replace,
    }
}

fn state_cause(current: &ObservedContainer) -> Cause {
    let from = match current.state.status {
        Status::Created => "created".to_owned(),
        Status::Paused => "paused".to_owned(),
        _ => format!("exited ({})", current.state.exit_code),
    };
    Cause::words("state", &from, "running")
}

/// Brings a dead container back. Nothing that it depends on can hold that up, and no grant is needed.
pub(super) fn revive(planning: &mut Planning<'_>, current: &ObservedContainer) -> Option<Next> {
    match current.state.status {
        Status::Running | Status::Restarting | Status::Removing => return None,
        Status::Paused => {
            planning.change(ActionKind::Start, Disruption::None, vec![state_cause(current)]);
            return Some(Next::Step(Step::Unpause { id: current.id.clone() }));
        }
        Status::Created => {}
        Status::Exited | Status::Dead => {
            // With `restart: no` or `on-failure` a process that ended by itself has had its say.
            let policy = planning.spec.settings.restart.clone().unwrap_or(RestartPolicy::UnlessStopped);
            let had_its_say = match policy {
                RestartPolicy::No => true,
                RestartPolicy::OnFailure(_) => current.state.exit_code == 0,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => false,
            };
            let has_been_ready =
                planning.memory.proven.as_ref().is_some_and(|proven| proven.container_id == current.id);
            if had_its_say
                && (planning.is_proven() || has_been_ready)
                && !current.state.oom_killed
                && !was_stopped(current)
            {
                let message =
                    format!("it ended with exit code {}, and `restart` leaves it so", current.state.exit_code);
                planning.condition(ConditionType::Stalled, "Ended", message);
                return Some(Next::Blocked);
            }
            // What was stopped by a change that was given up is only found so: it has not run with this spec yet.
            let has_run = !gate::ended_before(planning.memory.gate.as_ref(), planning.spec, current);
            if !planning.is_proven() && planning.has_way_back() && has_run && planning.fits(current) {
                // A gate is open: its end may be the verdict.
                if let next @ Next::Step(Step::Quarantine { .. }) = planning.gate(current) {
                    return Some(next);
                }
                planning.conditions.retain(|condition| condition.kind != ConditionType::Progressing);
            }
        }
    }
    planning.change(ActionKind::Start, Disruption::None, vec![state_cause(current)]);
    if let Some(held) = instructed::held(planning) {
        return Some(held);
    }
    if let Some(waiting) = namespaces::waits(planning) {
        return Some(waiting);
    }
    let ours = &planning.memory.restarts;
    if ours.container_id == current.id && ours.revived > 1 {
        let wait = backoff::wait(ours.revived, chance(&current.id, ours.revived));
        let at = ours.last.plus(wait);
        // A clock that stepped back must not stretch the wait.
        if planning.input.now < at && ours.last <= planning.input.now {
            return Some(Next::Wait { until: Some(at) });
        }
    }
    Some(Next::Step(planning.start(current)))
}

/// 143 and 137 are the exit codes of SIGTERM and SIGKILL: somebody stopped it, it did not end by itself.
fn was_stopped(current: &ObservedContainer) -> bool {
    matches!(current.state.exit_code, 137 | 143)
}

/// Jitter that is the same for the same crash, so that plans stay functions of their input.
fn chance(id: &str, count: u32) -> f64 {
    let sum = id.bytes().fold(u64::from(count).wrapping_mul(0x9e37_79b9_7f4a_7c15), |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    #[allow(clippy::cast_precision_loss, reason = "a fraction for jitter")]
    let fraction = (sum >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}

/// Mends limits and networks of a container that is to prove itself.
pub(super) fn mend_live(planning: &mut Planning<'_>, current: &ObservedContainer) -> Option<Next> {
    let differences = planning.differences(current);
    if let Some(step) = update(planning, current, &differences) {
        return Some(Next::Step(step));
    }
    let next = networks(planning, current, &differences);
    // The slot of the rollout is held already.
    planning.disrupts = false;
    next
}

/// Mends in place: limits first, then networks, then files.
fn mend(
    planning: &mut Planning<'_>,
    current: &ObservedContainer,
    differences: &[Difference],
    causes: Vec<Cause>,
) -> Option<Next> {
    let strongest = differences.iter().map(|difference| difference.class).max()?;
    planning.change(kind_of(strongest), strongest, causes);
    // What a process is told of an edit waits as a replacement does: a new password is to be known before it is used. Drift
    // waits for nothing.
    if matches!(strongest, Disruption::Reload | Disruption::Restart)
        && !planning.is_proven()
        && let Some(waiting) = planning.waits_for_dependency(true)
    {
        return Some(waiting);
    }
    if let Some(step) = update(planning, current, differences) {
        return Some(Next::Step(step));
    }
    if let Some(next) = networks(planning, current, differences) {
        return Some(next);
    }
    write_files(planning, current, differences)
}

fn update(planning: &Planning<'_>, current: &ObservedContainer, differences: &[Difference]) -> Option<Step> {
    let names: Vec<&str> = differences
        .iter()
        .filter(|difference| difference.class == Disruption::Update)
        .filter_map(|difference| match &difference.part {
            Part::Setting(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        return None;
    }
    let wanted = &planning.spec.settings;
    let mut settings = select(wanted, &names);
    // Docker keeps memory and swap together: a new limit alone is refused where it is above the old sum.
    if settings.mem_limit.is_some() && settings.memswap_limit.is_none() {
        settings.memswap_limit = wanted.memswap_limit.or_else(|| wanted.mem_limit.map(|limit| limit.saturating_mul(2)));
    }
    if settings.memswap_limit.is_some() && settings.mem_limit.is_none() {
        settings.mem_limit = wanted.mem_limit;
    }
    Some(Step::Update { id: current.id.clone(), settings: Box::new(settings) })
}

fn select(settings: &ContainerSettings, names: &[&str]) -> ContainerSettings {
    let chosen = |name: &str| names.contains(&name);
    ContainerSettings {
        cpus: settings.cpus.filter(|_| chosen("cpus")),
        cpu_shares: settings.cpu_shares.filter(|_| chosen("cpu_shares")),
        cpu_quota: settings.cpu_quota.filter(|_| chosen("cpu_quota")),
        cpu_period: settings.cpu_period.filter(|_| chosen("cpu_period")),
        cpu_rt_runtime: settings.cpu_rt_runtime.filter(|_| chosen("cpu_rt_runtime")),
        cpu_rt_period: settings.cpu_rt_period.filter(|_| chosen("cpu_rt_period")),
        cpuset: settings.cpuset.clone().filter(|_| chosen("cpuset")),
        mem_limit: settings.mem_limit.filter(|_| chosen("mem_limit")),
        mem_reservation: settings.mem_reservation.filter(|_| chosen("mem_reservation")),
        memswap_limit: settings.memswap_limit.filter(|_| chosen("memswap_limit")),
        pids_limit: settings.pids_limit.filter(|_| chosen("pids_limit")),
        restart: settings.restart.clone().filter(|_| chosen("restart")),
        ..ContainerSettings::default()
    }
}

fn networks(planning: &mut Planning<'_>, current: &ObservedContainer, differences: &[Difference]) -> Option<Next> {
    let part = differences
        .iter()
        .map(|difference| &difference.part)
        .find(|part| matches!(part, Part::Network { .. } | Part::ExtraNetwork(_)))?;
    let step = match part {
        Part::Network { name, reattach } => {
            if !planning.input.observed.networks.contains_key(name) {
                let message = format!("the network `{name}` does not exist");
                planning.condition(ConditionType::Waiting, "NetworkMissing", message);
                return Some(Next::Blocked);
            }
            planning.disrupts = *reattach && current.is_running();
            let attachment = planning.spec.networks.get(name.as_str()).cloned().unwrap_or_else(Attachment::default);
            Step::Connect { id: current.id.clone(), network: name.clone(), attachment, reattach: *reattach }
        }
        Part::ExtraNetwork(name) => {
            planning.disrupts = current.is_running();
            Step::Disconnect { id: current.id.clone(), network: name.clone() }
        }
        _ => return None,
    };
    Some(Next::Step(step))
}

/// Writes damaged or changed files of a container; nothing where all are right.
pub(super) fn write_files(
    planning: &mut Planning<'_>,
    current: &ObservedContainer,
    differences: &[Difference],
) -> Option<Next> {
    let changed: Vec<(&Difference, bool)> = differences
        .iter()
        .filter_map(|difference| match &difference.part {
            Part::File { content, .. } => Some((difference, *content)),
            _ => None,
        })
        .collect();
    if changed.is_empty() {
        return None;
    }
    let contents = changed.iter().filter(|(_, content)| *content);
    let needs = contents
        .filter_map(|(difference, _)| match difference.class {
            // In the vocabulary of files: what was tampered with needs more than a restart-class edit.
            Disruption::Restart if is_fixed(difference) => Some(OnChange::Replace),
            Disruption::Restart => Some(OnChange::Restart),
            Disruption::Reload => Some(OnChange::Reload),
            _ => None,
        })
        .max();
    // A process that died may be started again by the engine at any moment, and read them before they are right.
    if let Some(needs) = needs
        && current.state.status != Status::Created
    {
        let written_down =
            planning.memory.told.as_ref().is_some_and(|told| {
                told.container_id == current.id && told.needs >= Some(needs.min(OnChange::Restart))
            });
        if !written_down {
            return Some(Next::Remember(MemoryChange::FilesChanging {
                service: planning.spec.service.clone(),
                container_id: current.id.clone(),
                needs,
            }));
        }
    }
    let hash = current.detail.as_ref().and_then(|detail| detail.managed_hash.clone())?;
    if let Some(step) = look_up_accounts(planning, current) {
        return Some(Next::Step(step));
    }
    Some(Next::Step(Step::WriteFiles {
        key: format!("{}/{hash}", planning.spec.container_name),
        instance: FilesOf::Instance(planning.spec.clone()),
        image_id: current.image_id.clone(),
    }))
}

/// Whom the image names, where files belong to somebody by name: without, nobody sees that a file belongs to another.
fn look_up_accounts(planning: &Planning<'_>, current: &ObservedContainer) -> Option<Step> {
    let image = planning.input.observed.images.get(&current.image_id);
    let missing = files::needs_accounts(&planning.spec.files) && image.is_none_or(|image| image.accounts.is_none());
    let helper = format!("{}.accounts", planning.spec.container_name);
    missing.then(|| Step::LookUpAccounts { image_id: current.image_id.clone(), helper })
}

fn is_fixed(difference: &Difference) -> bool {
    matches!(&difference.part, Part::File { path, .. } if path.starts_with("fixed/"))
}

/// Has the process read what was written: validate, exec, signal; or a restart.
fn tell(planning: &mut Planning<'_>, current: &ObservedContainer) -> Option<Next> {
    let told = planning.memory.told.as_ref().filter(|told| told.container_id == current.id)?;
    let needs = told.needs?;
    // What the process would have read is not known.
    if fileset::missing(&planning.spec.filesets, &planning.spec.files).is_some() {
        return None;
    }
    let digest = files::live_digest(&planning.spec.files);
    let read = Told { container_id: current.id.clone(), digest: digest.clone(), needs: None, unread: false };
    // What failed its validation was never read; with the old content back there is nothing to tell.
    if told.unread && told.digest == digest {
        return Some(Next::Remember(MemoryChange::Told { service: planning.spec.service.clone(), told: read }));
    }
    if let Some(failure) = planning.spec_failure() {
        let reason = failure.message.clone();
        return Some(planning.gate_failed(current, &reason));
    }
    planning.ready = false;
    if needs == OnChange::Reload {
        planning.change(
            ActionKind::Reload,
            Disruption::Reload,
            vec![Cause::words("files", "written", "read by the process")],
        );
        return Some(Next::Step(Step::Reload { id: current.id.clone(), reload: planning.spec.reload.clone(), digest }));
    }
    planning.change(
        ActionKind::Restart,
        Disruption::Restart,
        vec![Cause::words("files", "written", "read by the process")],
    );
    Some(restart_for_change(planning, current, digest))
}

/// What is restarted for a change works: its clients are led away first. What is healed has none to lose.
fn restart_for_change(planning: &mut Planning<'_>, current: &ObservedContainer, digest: String) -> Next {
    let next = restart(planning, current, digest);
    planning.drains = planning.disrupts;
    next
}

fn restart(planning: &mut Planning<'_>, current: &ObservedContainer, digest: String) -> Next {
    if let Some(hold) = planning.hold(HoldKind::Cordon) {
        let message = format!("the host is cordoned by {}: {}", hold.user, hold.reason);
        planning.condition(ConditionType::Paused, "Cordoned", message);
        return Next::Blocked;
    }
    planning.disrupts = true;
    Next::Step(Step::Restart {
        id: current.id.clone(),
        grace: current.detail.as_ref().and_then(|detail| detail.settings.stop_grace_period),
        hooks: planning.spec.hooks.clone(),
        digest,
    })
}

/// Whoever shares the network of a container that was started again has to be started again too.
fn regain_network(planning: &mut Planning<'_>, current: &ObservedContainer) -> Option<Next> {
    let name = namespaces::lost_network(&planning.spec.settings, current, planning.input.observed)?;
    planning.ready = false;
    let cause = Cause::words("network_mode", &format!("of an earlier start of {name}"), &format!("container:{name}"));
    planning.change(ActionKind::Restart, Disruption::Restart, vec![cause]);
    let digest = files::live_digest(&planning.spec.files);
    Some(restart(planning, current, digest))
}

fn asked_restart(planning: &mut Planning<'_>, current: &ObservedContainer) -> Option<Next> {
    let meant = planning.input.memory.restart_requests.get(&planning.spec.service)?;
    if *meant != current.id {
        return Some(Next::Remember(MemoryChange::RestartDone { service: planning.spec.service.clone() }));
    }
    // Started before what it is restarted for is ready, it would have to be restarted once more.
    let is_coming_up = |name: &str| {
        planning
            .input
            .dependencies
            .get(name)
            .is_some_and(|state| state.here.is_some_and(|here| here.started && !here.ready))
    };
    let first = planning.spec.depends_on.iter().find(|(name, on)| on.restart && is_coming_up(name));
    if let Some((name, _)) = first {
        planning.condition(ConditionType::Waiting, "DependencyNotReady", format!("waits for `{name}`"));
        return Some(Next::Blocked);
    }
    planning.change(
        ActionKind::Restart,
        Disruption::Restart,
        vec![Cause::words("state", "running", "restarted on request")],
    );
    let digest = files::live_digest(&planning.spec.files);
    Some(restart_for_change(planning, current, digest))
}

fn unhealthy(planning: &mut Planning<'_>, current: &ObservedContainer) -> Option<Next> {
    if current.state.health != Health::Unhealthy {
        return None;
    }
    planning.condition(ConditionType::Stalled, "Unhealthy", "its health check fails");
    let Unhealthy::RestartAfter(span) = planning.spec.unhealthy else { return Some(Next::Nothing) };
    let since = planning.memory.unhealthy_since.unwrap_or(planning.input.now);
    let at = since.plus(span);
    if planning.input.now < at {
        return Some(Next::Wait { until: Some(at) });
    }
    planning.change(ActionKind::Restart, Disruption::Restart, vec![Cause::words("health", "unhealthy", "healthy")]);
    let digest = files::live_digest(&planning.spec.files);
    Some(restart(planning, current, digest))
}
