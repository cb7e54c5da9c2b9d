//! Each setting, key by key: what was asked for is what is found, before and after the first start.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mastic::model::settings::ContainerSettings;
use mastic::port::engine::{Engine, EngineError};
use serde_json::{Value, json};

use super::{Bench, settings};

const SECOND: i64 = 1_000_000_000;

/// Keys with values that differ from the engine's defaults.
fn honoured() -> Vec<(&'static str, Value)> {
    vec![
        ("entrypoint", json!(["/bin/sh", "-c"])),
        ("command", json!(["sleep", "999"])),
        ("environment", json!({"A": "1=2", "EMPTY": "", "TEXT": "zwei Wörter"})),
        ("labels", json!({"team": "blue", "empty": ""})),
        ("user", json!("65534:65534")),
        ("working_dir", json!("/www")),
        ("hostname", json!("named")),
        ("domainname", json!("example.org")),
        ("init", json!(true)),
        ("tty", json!(true)),
        ("stdin_open", json!(true)),
        ("stop_signal", json!("SIGUSR1")),
        ("stop_grace_period", json!(7)),
        (
            "healthcheck",
            json!({"test": ["CMD", "true"], "interval": 5 * SECOND, "timeout": 2 * SECOND, "retries": 4, "start_period": 3 * SECOND}),
        ),
        ("cap_add", json!(["NET_ADMIN"])),
        ("cap_drop", json!(["CHOWN", "MKNOD"])),
        ("security_opt", json!(["no-new-privileges:true", "seccomp=unconfined"])),
        ("pid", json!("host")),
        ("ipc", json!("shareable")),
        ("uts", json!("host")),
        ("userns_mode", json!("host")),
        ("cgroup", json!("private")),
        ("cgroup_parent", json!("/mastic-test")),
        ("read_only", json!(true)),
        ("group_add", json!(["1234", "99"])),
        ("runtime", json!("io.containerd.runc.v2")),
        ("oom_kill_disable", json!(true)),
        ("oom_score_adj", json!(500)),
        ("devices", json!(["/dev/null:/dev/nothing:rw", "/dev/zero:/dev/zero:rwm"])),
        ("device_cgroup_rules", json!(["c 1:3 mr"])),
        ("cpus", json!(500_000_000)),
        ("cpu_shares", json!(512)),
        ("cpu_quota", json!(50000)),
        ("cpu_period", json!(50000)),
        ("cpu_rt_period", json!(900_000)),
        ("cpuset", json!("0")),
        ("mem_limit", json!(64 << 20)),
        ("mem_reservation", json!(32 << 20)),
        ("memswap_limit", json!(128 << 20)),
        ("mem_swappiness", json!(10)),
        ("pids_limit", json!(50)),
        (
            "blkio_config",
            json!({"weight": 0, "device_read_bps": {"DEVICE": 1_000_000}, "device_write_iops": {"DEVICE": 100}}),
        ),
        ("ulimits", json!({"nofile": {"soft": 100, "hard": 200}, "nproc": {"soft": 99, "hard": 99}})),
        ("shm_size", json!(8 << 20)),
        ("sysctls", json!({"net.ipv4.ip_unprivileged_port_start": "80"})),
        ("network_mode", json!("none")),
        ("mac_address", json!("02:42:ac:11:65:43")),
        ("dns", json!(["192.0.2.1", "192.0.2.2"])),
        ("dns_opt", json!(["ndots:2"])),
        ("dns_search", json!(["example.org"])),
        ("extra_hosts", json!(["one:192.0.2.1", "two:192.0.2.2"])),
        (
            "ports",
            json!([{"target": 80, "protocol": "tcp", "published": 18_765, "host_ip": "127.0.0.1"}, {"target": 53, "protocol": "udp"}]),
        ),
        ("expose", json!(["7000/tcp", "7001/udp"])),
        (
            "volumes",
            json!({
                "/anonymous": {"type": "volume", "read_only": false, "nocopy": false},
                "/bind": {"type": "bind", "source": "/tmp", "read_only": true, "create_host_path": false},
                "/made": {"type": "bind", "source": "/tmp/mastic-made", "read_only": false, "create_host_path": true},
                "/memory": {"type": "tmpfs", "size": 1 << 20, "mode": 0o1770},
                "/options": {"type": "tmpfs", "size": 1 << 20, "mode": 0o755, "options": ["noexec", "uid=5"]},
                "/plain": {"type": "tmpfs"},
                "/volume": {"type": "volume", "source": "PREFIX-volume", "read_only": true, "nocopy": true},
            }),
        ),
        ("volumes_from", json!(["PREFIX-other"])),
        ("restart", json!({"on_failure": 3})),
        ("logging", json!({"driver": "json-file", "options": {"max-file": "2", "max-size": "1m"}})),
    ]
}

/// Keys that this engine, kernel or machine does not grant.
fn refused() -> Vec<(&'static str, Value)> {
    vec![
        ("privileged", json!(true)),
        ("gpus", json!([{"driver": "", "count": -1, "capabilities": [["gpu"]]}])),
        ("cpu_rt_runtime", json!(400_000)),
        ("storage_opt", json!({"size": "10G"})),
        ("platform", json!("linux/arm64")),
        ("annotations", json!({"a": "b"})),
        ("volumes_from", json!(["PREFIX-nobody"])),
        ("ulimits", json!({"nofile": {"soft": 1_048_576, "hard": 1_048_576}})),
        ("oom_score_adj", json!(-900)),
        ("runtime", json!("no-such-runtime")),
        ("sysctls", json!({"kernel.pid_max": "1"})),
        ("volumes", json!({"/bind": {"type": "bind", "source": "/no/such/source", "read_only": false}})),
        ("command", json!(["no-such-program"])),
        ("healthcheck", json!({"test": ["CMD", "true"], "start_interval": SECOND})),
    ]
}

fn one(key: &str, value: &Value, bench: &Bench) -> ContainerSettings {
    let text = value.to_string().replace("PREFIX", bench.sandbox.prefix()).replace("DEVICE", &block_device());
    let mut wanted = json!({key: serde_json::from_str::<Value>(&text).unwrap()});
    if key == "memswap_limit" {
        wanted["mem_limit"] = json!(64 << 20);
    }
    settings(wanted)
}

/// Some disk of this machine.
fn block_device() -> String {
    let names = std::fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().file_name());
    let mut paths = names.map(|name| format!("/dev/{}", name.to_string_lossy()));
    paths.find(|path| std::path::Path::new(path).exists()).expect("there is a block device")
}

/// The engine leaves the parent group behind.
fn remove_groups() {
    for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _removed = std::fs::remove_dir(controller.path().join("mastic-test"));
    }
}

/// Without what is another in each run.
fn stable(text: &str, bench: &Bench) -> String {
    let text = text.replace(bench.sandbox.prefix(), "PREFIX");
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let part = |part| if is_id(part) { "ID" } else { part };
    text.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// What differs between what was asked for and what is found.
fn difference(wanted: &ContainerSettings, found: &ContainerSettings) -> Option<String> {
    let (wanted, found) = (serde_json::to_value(wanted).unwrap(), serde_json::to_value(found).unwrap());
    let differs = |(key, wanted): (&String, &Value)| {
        let mut found = found[key].clone();
        // The image's own part is still in it.
        if let ("environment" | "labels", Value::Object(all)) = (key.as_str(), &mut found) {
            all.retain(|name, _| wanted.get(name).is_some());
        }
        (found != *wanted).then(|| format!("{key}: wanted {wanted}, found {found}"))
    };
    wanted.as_object().unwrap().iter().find_map(differs)
}

/// All that is wrong with one key.
async fn try_key(bench: &Bench, key: &str, value: &Value) -> Vec<String> {
    let wanted = one(key, value, bench);
    let id = match bench.engine.create_container(&bench.request(key, wanted.clone())).await {
        Ok(id) => id,
        Err(error) => return vec![format!("{key}: create: {error:?}")],
    };
    let mut wrong = Vec::new();
    wrong.extend(difference(&wanted, &bench.inspect(&id).await.detail.unwrap().settings));
    match bench.engine.start_container(&id).await {
        Ok(()) => {
            let found = bench.inspect(&id).await.detail.unwrap().settings;
            wrong.extend(difference(&wanted, &found).map(|text| format!("after start: {text}")));
        }
        Err(error) => wrong.push(format!("{key}: start: {error:?}")),
    }
    bench.engine.remove_container(&id, true).await.unwrap();
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_is_found_as_it_was_asked_for() {
    let bench = Bench::new().await;
    bench.run("other", ContainerSettings::default()).await;
    let keys = honoured();
    let wrong: Vec<Vec<String>> =
        stream::iter(&keys).map(|(key, value)| try_key(&bench, key, value)).buffer_unordered(4).collect().await;
    let _removed = std::fs::remove_dir("/tmp/mastic-made");
    remove_groups();
    assert!(wrong.concat().is_empty(), "{}", wrong.concat().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_the_specs_fault() {
    let bench = Bench::new().await;
    let mut lines = Vec::new();
    for (key, value) in refused() {
        let wanted = one(key, &value, &bench);
        let outcome = match bench.engine.create_container(&bench.request("refused", wanted)).await {
            Err(error) => format!("create: {}", kind(&error)),
            Ok(id) => {
                let outcome = match bench.engine.start_container(&id).await {
                    Err(error) => format!("start: {}", kind(&error)),
                    Ok(()) => "granted".to_owned(),
                };
                bench.engine.remove_container(&id, true).await.unwrap();
                outcome
            }
        };
        lines.push(format!("{key} {value}: {outcome}"));
    }
    insta::assert_snapshot!(stable(&lines.join("\n"), &bench), @r#"
    privileged true: start: Refused: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply caps: operation not permitted: unknown
    gpus [{"driver":"","count":-1,"capabilities":[["gpu"]]}]: start: Refused: could not select device driver "" with capabilities: [[gpu]]
    cpu_rt_runtime 400000: start: Refused: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply cgroup configuration: failed to write "400000": write /sys/fs/cgroup/cpu/docker/ID/cpu.rt_runtime_us: invalid argument: unknown
    storage_opt {"size":"10G"}: create: Refused: --storage-opt is supported only for overlay over xfs with 'pquota' mount option
    platform "linux/arm64": create: Refused: image with reference PREFIX-image:1 was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64
    annotations {"a":"b"}: create: Refused: annotations needs an engine of API 1.43; this one has 1.41
    volumes_from ["PREFIX-nobody"]: create: NotFound: No such container: PREFIX-nobody
    ulimits {"nofile":{"soft":1048576,"hard":1048576}}: start: Refused: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error setting rlimits for ready process: error setting rlimit type 7: operation not permitted: unknown
    oom_score_adj -900: start: Refused: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: can't get final child's PID from pipe: EOF: unknown
    runtime "no-such-runtime": create: Refused: Unknown runtime specified no-such-runtime
    sysctls {"kernel.pid_max":"1"}: start: Refused: failed to create shim task: OCI runtime create failed: runc create failed: sysctl "kernel.pid_max" is not in a separate kernel namespace: unknown
    volumes {"/bind":{"type":"bind","source":"/no/such/source","read_only":false}}: create: Refused: invalid mount config for type "bind": bind source path does not exist: /no/such/source
    command ["no-such-program"]: start: Refused: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "no-such-program": executable file not found in $PATH: unknown
    healthcheck {"test":["CMD","true"],"start_interval":1000000000}: create: Refused: healthcheck.start_interval needs an engine of API 1.44; this one has 1.41
    "#);
}

fn kind(error: &EngineError) -> String {
    let name = format!("{error:?}");
    let name = name.split('(').next().unwrap_or_default();
    format!("{name}: {error}")
}

#[test]
fn no_key_is_forgotten() {
    let error = serde_json::from_value::<ContainerSettings>(json!({"?": 1})).unwrap_err().to_string();
    let all: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(all.len() > 50, "{error}");
    let (honoured, refused) = (honoured(), refused());
    let tested: BTreeSet<&str> = honoured.iter().chain(&refused).map(|(key, _)| *key).collect();
    assert_eq!(all, tested);
}
