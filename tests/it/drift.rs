//! What somebody changes by hand is found, named, and put back: key by key, with the agent away and with it watching.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::every_key::{self, SERVICES};
use crate::support::{
    Proxy, Sandbox, causes, differences, docker, inspect, life, look, made_with, recreate, try_docker,
};

/// Everything that services were made with, by container.
fn all_made_with(sandbox: &Sandbox) -> BTreeMap<String, Value> {
    SERVICES.iter().map(|(_, container)| sandbox.name(container)).map(|name| (name.clone(), made_with(&name))).collect()
}

/// What is not as it was.
fn not_as_before(before: &BTreeMap<String, Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, value) in before {
        if look(name, "{{.State.Status}}") == "running" {
            wrong.extend(differences(value, &made_with(name)).into_iter().map(|text| format!("{name}{text}")));
        } else {
            wrong.push(format!("{name} is {}", look(name, "{{.State.Status}}")));
        }
    }
    wrong
}

/// The causes that are expected but missing, and those that are there without being expected.
fn wrong_causes(sandbox: &Sandbox, expected: &[(&str, Vec<&str>)]) -> Vec<String> {
    let found = causes(sandbox, &[]);
    let mut wrong = Vec::new();
    for (service, fields) in expected {
        let seen = found.get(&sandbox.name(service)).cloned().unwrap_or_default();
        let fields: Vec<String> = fields.iter().map(|field| field.replace('@', sandbox.prefix())).collect();
        wrong.extend(
            fields
                .iter()
                .filter(|field| !seen.contains(*field))
                .map(|field| format!("{service}: {field} is not found")),
        );
        wrong.extend(
            seen.iter().filter(|field| !fields.contains(field)).map(|field| format!("{service}: {field} is found")),
        );
    }
    let also = found.keys().filter(|name| !expected.iter().any(|(service, _)| sandbox.name(service) == **name));
    wrong.extend(also.map(|name| format!("{name} has not been changed")));
    wrong
}

#[test]
fn containers_made_anew_by_hand_with_other_settings_are_found_key_by_key_and_healed() {
    let sandbox = Sandbox::new();
    every_key::write(&sandbox);
    sandbox.image("other", "ENV OTHER=1");
    sandbox.mastic(&["apply", "--timeout", "120"]).ok();
    let before = all_made_with(&sandbox);

    // Container, what changes in the engine's create call, and the key that the plan has to name for it.
    let blkio = |rate: u64| json!([{"Path": before[&sandbox.name("limits")]["host"]["BlkioDeviceReadBps"][0]["Path"], "Rate": rate}]);
    let mounts = |edit: &dyn Fn(&mut Vec<Value>)| {
        let mut list = inspect(&sandbox.name("mounts"))["HostConfig"]["Mounts"].as_array().unwrap().clone();
        edit(&mut list);
        json!(list)
    };
    let changed_mounts = mounts(&|list| {
        list.retain(|mount| mount["Target"] != "/anonymous" && mount["Target"] != "/raw");
        for mount in list.iter_mut() {
            match mount["Target"].as_str().unwrap() {
                "/etc/hostname.host" => mount["ReadOnly"] = json!(false),
                "/host-tmp" => mount["Source"] = json!("/var/tmp"),
                "/www" => mount["Source"] = json!(sandbox.name("wrong")),
                "/etc/motd" => mount["Source"] = json!("/etc/hostname"),
                _ => {}
            }
        }
        list.push(json!({"Type": "tmpfs", "Target": "/more"}));
    });
    let table: Vec<(&str, &str, Value, &str)> = vec![
        ("named", "/Image", json!(format!("{}:1", sandbox.name("other"))), "image"),
        ("named", "/Entrypoint", json!(["/bin/sleep"]), "entrypoint"),
        ("named", "/Cmd", json!(["100002"]), "command"),
        (
            "named",
            "/Env",
            json!(["A=2", "EMPTY=", "TEXT=zwei Wörter", "NUMBER=2", "MORE=1", "FROM_FILE=no"]),
            "environment.A",
        ),
        ("named", "", Value::Null, "environment.MORE"),
        ("named", "", Value::Null, "environment.FROM_FILE"),
        ("named", "", Value::Null, "environment.TZ"),
        ("named", "/Labels/com.example.team", json!("red"), "labels.com.example.team"),
        ("named", "/Labels/more", json!("1"), "labels.more"),
        ("named", "/Labels/from.file", json!("no"), "labels.from.file"),
        ("named", "/User", json!("0"), "user"),
        ("named", "/HostConfig/GroupAdd", json!(["99"]), "group_add"),
        ("named", "/WorkingDir", json!("/tmp"), "working_dir"),
        ("named", "/Hostname", json!("wib"), "hostname"),
        ("named", "/Domainname", json!("example.com"), "domainname"),
        ("named", "/HostConfig/Init", json!(false), "init"),
        ("named", "/Tty", json!(false), "tty"),
        ("named", "/OpenStdin", json!(false), "stdin_open"),
        ("named", "/StopSignal", json!("SIGUSR2"), "stop_signal"),
        ("named", "/StopTimeout", json!(2), "stop_grace_period"),
        ("named", "/Healthcheck/Retries", json!(7), "healthcheck"),
        ("named", "/HostConfig/Runtime", json!("runc"), "runtime"),
        ("named", "/HostConfig/RestartPolicy", json!({"Name": "no"}), "restart"),
        ("namespaces", "/HostConfig/PidMode", json!(""), "pid"),
        ("namespaces", "/HostConfig/IpcMode", json!("private"), "ipc"),
        ("namespaces", "/HostConfig/UTSMode", json!(""), "uts"),
        ("namespaces", "/HostConfig/CgroupnsMode", json!("private"), "cgroup"),
        ("namespaces", "/HostConfig/UsernsMode", json!(""), "userns_mode"),
        ("namespaces", "/HostConfig/NetworkMode", json!("none"), "network_mode"),
        ("namespaces", "", Value::Null, "networks.none"),
        ("private", "/HostConfig/IpcMode", json!("private"), "ipc"),
        ("private", "/HostConfig/CgroupnsMode", json!("host"), "cgroup"),
        ("private", "/HostConfig/CgroupParent", json!(""), "cgroup_parent"),
        ("private", "/HostConfig/CapAdd", json!(["NET_RAW", "NET_ADMIN"]), "cap_add"),
        ("private", "/HostConfig/CapDrop", json!(["CHOWN"]), "cap_drop"),
        ("private", "/HostConfig/SecurityOpt", json!(["seccomp=unconfined"]), "security_opt"),
        ("private", "/HostConfig/ReadonlyRootfs", json!(false), "read_only"),
        ("private", "/HostConfig/OomKillDisable", json!(false), "oom_kill_disable"),
        ("private", "/HostConfig/OomScoreAdj", json!(400), "oom_score_adj"),
        ("private", "/HostConfig/Devices", json!([]), "devices"),
        ("private", "/HostConfig/DeviceCgroupRules", json!(["c 1:5 mr"]), "device_cgroup_rules"),
        ("private", "/HostConfig/Ulimits", json!([{"Name": "nproc", "Soft": 512, "Hard": 512}]), "ulimits"),
        ("private", "/HostConfig/ShmSize", json!(16 << 20), "shm_size"),
        ("limits", "/HostConfig/NanoCpus", json!(250_000_000), "cpus"),
        ("limits", "/HostConfig/CpuShares", json!(256), "cpu_shares"),
        ("limits", "/HostConfig/CpusetCpus", json!("0-1"), "cpuset"),
        ("limits", "/HostConfig/CpuRealtimePeriod", json!(800_000), "cpu_rt_period"),
        ("limits", "/HostConfig/Memory", json!(48 << 20), "mem_limit"),
        ("limits", "/HostConfig/MemoryReservation", json!(16 << 20), "mem_reservation"),
        ("limits", "/HostConfig/MemorySwap", json!(96 << 20), "memswap_limit"),
        ("limits", "/HostConfig/MemorySwappiness", json!(20), "mem_swappiness"),
        ("limits", "/HostConfig/PidsLimit", json!(50), "pids_limit"),
        ("limits", "/HostConfig/RestartPolicy", json!({"Name": "always"}), "restart"),
        ("limits", "/HostConfig/BlkioDeviceReadBps", blkio(5), "blkio_config"),
        ("limits", "/HostConfig/LogConfig", json!({"Type": "json-file", "Config": {"max-size": "2m"}}), "logging"),
        ("quota", "/HostConfig/CpuQuota", json!(60_000), "cpu_quota"),
        ("quota", "/HostConfig/CpuPeriod", json!(100_000), "cpu_period"),
        ("quota", "/HostConfig/MemorySwap", json!(64 << 20), "memswap_limit"),
        ("net", "/MacAddress", json!("02:42:ac:11:65:44"), "mac_address"),
        ("net", "/HostConfig/PortBindings", json!({}), "ports"),
        ("net", "/ExposedPorts", json!({"7000/tcp": {}}), "expose"),
        ("net", "/HostConfig/ExtraHosts", json!(["db.example.org:192.0.2.21"]), "extra_hosts"),
        ("net", "/HostConfig/Dns", json!(["192.0.2.2"]), "dns"),
        ("net", "/HostConfig/DnsSearch", json!([]), "dns_search"),
        ("net", "/HostConfig/DnsOptions", json!(["ndots:3"]), "dns_opt"),
        ("net", "/HostConfig/Sysctls", json!({}), "sysctls"),
        ("net", "/NetworkingConfig/EndpointsConfig/@-front/Aliases", json!([]), "networks.@-front"),
        ("net", "/NetworkingConfig/EndpointsConfig/@-front/IPAMConfig", Value::Null, "networks.@-front"),
        ("mounts", "/HostConfig/Mounts", changed_mounts, "volumes./etc/hostname.host"),
        ("mounts", "", Value::Null, "volumes./anonymous"),
        ("mounts", "", Value::Null, "volumes./host-tmp"),
        ("mounts", "", Value::Null, "volumes./www"),
        ("mounts", "", Value::Null, "volumes./raw"),
        ("mounts", "", Value::Null, "volumes./etc/motd"),
        ("mounts", "", Value::Null, "volumes./more"),
        ("mounts", "/HostConfig/Tmpfs", json!({"/tmp": "size=9m,mode=1777"}), "volumes./tmp"),
        ("mounts", "", Value::Null, "volumes./scratch"),
        ("from", "/HostConfig/VolumesFrom", json!([]), "volumes_from"),
        ("from", "/Env", json!(["TZ=UTC", "WORD=other"]), "environment.WORD"),
    ];
    let mut expected = Vec::new();
    for (service, container) in SERVICES {
        let rows: Vec<_> = table.iter().filter(|row| row.0 == container).collect();
        let changes: Vec<(String, Value)> = rows
            .iter()
            .filter(|row| !row.1.is_empty())
            .map(|row| (row.1.replace('@', sandbox.prefix()), row.2.clone()))
            .collect();
        let changes: Vec<(&str, Value)> = changes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
        recreate(&sandbox.name(container), &changes);
        let mut fields: Vec<&str> = rows.iter().map(|row| row.3).collect();
        fields.dedup();
        expected.push((service, fields));
    }
    let wrong = wrong_causes(&sandbox, &expected);
    let plan = sandbox.mastic(&["plan"]);
    assert!(!plan.stdout.contains("hunter2") && !plan.stdout.contains("other\""), "a secret is hidden: {plan}");
    let healed = sandbox.mastic(&["apply", "--timeout", "120"]);
    let not_healed = not_as_before(&before);
    assert!(
        wrong.is_empty() && not_healed.is_empty() && healed.code == 0,
        "causes:\n{}\nnot healed:\n{}\n{plan}\n{healed}",
        wrong.join("\n"),
        not_healed.join("\n")
    );
    assert!(sandbox.is_settled());
    every_key::remove_groups(&sandbox);
}

/// Where a mounted path lies on the host.
fn on_host(container: &str, target: &str) -> PathBuf {
    let mounts = inspect(container)["Mounts"].as_array().unwrap().clone();
    let mount = mounts.iter().find(|mount| mount["Destination"] == target).unwrap();
    PathBuf::from(mount["Source"].as_str().unwrap())
}

/// Changes everything that can be changed without making a container anew.
fn tamper(sandbox: &Sandbox) {
    let name = |what| sandbox.name(what);
    docker(&[
        "update",
        "--cpu-shares",
        "300",
        "--cpus",
        "0.7",
        "--cpuset-cpus",
        "1",
        "--memory",
        "80m",
        "--memory-swap",
        "200m",
        "--memory-reservation",
        "20m",
        "--pids-limit",
        "70",
        "--restart",
        "no",
        &name("limits"),
    ]);
    docker(&["network", "disconnect", &name("back"), &name("net")]);
    docker(&["network", "connect", &name("extra"), &name("net")]);
    let live = on_host(&name("mounts"), "/etc/live").join("live.conf");
    fs::write(&live, "level=wrong\n").unwrap();
    chown(on_host(&name("mounts"), "/run/secrets/word"), Some(7), Some(8)).unwrap();
    fs::set_permissions(on_host(&name("mounts"), "/etc/fixed"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(on_host(&name("mounts"), "/etc/motd"), "Go away\n").unwrap();
    docker(&["rename", &name("named"), &name("renamed")]);
    docker(&["pause", &name("quota")]);
    docker(&["stop", &name("namespaces")]);
    docker(&["kill", &name("private")]);
    docker(&["rm", "-f", &name("from")]);
}

/// What is wrong with the files of `mounts`.
fn wrong_files(sandbox: &Sandbox) -> Vec<String> {
    let command =
        "cd /etc; cat live/live.conf motd fixed; stat -c '%n %a %u:%g' live/live.conf motd fixed /run/secrets/word";
    // It is restarted for what was changed, and may be down at any moment.
    let Ok(said) = try_docker(&["exec", &sandbox.name("mounts"), "sh", "-c", command]) else {
        return vec!["not running".to_owned()];
    };
    let wanted = "level=here\nWelcome to here\nfixed\nlive/live.conf 640 5:6\nmotd 444 0:0\nfixed 444 0:0\n/run/secrets/word 400 0:0\n";
    if said == wanted { Vec::new() } else { vec![said] }
}

#[test]
fn what_is_changed_on_live_containers_is_found_and_healed_with_the_agent_away_and_watching() {
    let sandbox = Sandbox::new();
    every_key::write(&sandbox);
    docker(&["network", "create", &sandbox.name("extra")]);
    sandbox.mastic(&["apply", "--timeout", "120"]).ok();
    let before = all_made_with(&sandbox);
    assert!(wrong_files(&sandbox).is_empty(), "{:?}", wrong_files(&sandbox));
    let ids: BTreeMap<String, String> = before.keys().map(|name| (name.clone(), look(name, "{{.Id}}"))).collect();

    tamper(&sandbox);
    let expected = [
        (
            "limits",
            vec![
                "cpu_shares",
                "cpus",
                "cpuset",
                "mem_limit",
                "memswap_limit",
                "mem_reservation",
                "pids_limit",
                "restart",
            ],
        ),
        ("net", vec!["networks.@-back", "networks.@-extra"]),
        (
            "mounts",
            vec![
                "files./etc/live/live.conf",
                "files./run/secrets/word.owner",
                "files./etc/fixed.mode",
                "files./etc/motd",
            ],
        ),
        ("process", vec!["container_name"]),
        ("quota", vec!["state"]),
        ("namespaces", vec!["state"]),
        ("private", vec!["state"]),
        ("from", vec!["state"]),
    ];
    let wrong = wrong_causes(&sandbox, &expected);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), sandbox.mastic(&["plan"]));

    let agent = sandbox.agent(&[]);
    let healed = |round: &str| {
        let mut left = Vec::new();
        sandbox.wait_for(round, 60, || {
            left = not_as_before(&before);
            left.extend(wrong_files(&sandbox));
            left.is_empty() && sandbox.is_settled()
        });
    };
    healed("the agent to heal what happened while it was away");
    tamper(&sandbox);
    healed("the agent to heal what happens before its eyes");
    // Nothing but what was removed is another container.
    for (name, id) in &ids {
        assert_eq!(look(name, "{{.Id}}") == *id, *name != sandbox.name("from"), "{name}");
    }
    agent.stop(20);
    every_key::remove_groups(&sandbox);
}

#[test]
fn a_container_without_our_labels_in_the_place_of_ours_is_left_alone() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("taken", "");
    sandbox.site(&format!(
        "  \
             services:\n    @-a: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL}}\n    \
             @-b: {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL}}\n"
    ));
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let agent = sandbox.agent(&[]);
    let name = sandbox.name("a");
    // As one step, so that the agent cannot be faster: another name, and ours is removed.
    docker(&["create", "--name", &sandbox.name("foreign"), &image, "sleep", "1000"]);
    agent.signal("STOP");
    docker(&["rm", "-f", &name]);
    docker(&["rename", &sandbox.name("foreign"), &name]);
    let foreign = life(&name);
    agent.signal("CONT");
    sandbox.wait_for("the condition", 30, || sandbox.has_condition(&name, "NameTaken"));
    // What is ours is healed meanwhile.
    docker(&["kill", &sandbox.name("b")]);
    sandbox.wait_for("the other", 30, || look(&sandbox.name("b"), "{{.State.Status}}") == "running");
    let plan = sandbox.mastic(&["plan"]);
    assert!(plan.stdout.contains("is taken by"), "{plan}");
    assert_eq!(life(&name), foreign, "it was touched");
    docker(&["rm", "-f", &name]);
    sandbox.wait_for("the name to be ours again", 30, || {
        look(&name, "{{index .Config.Labels \"mastic.service\"}} {{.State.Status}}") == format!("{name} running")
    });
    agent.stop(20);
}

#[test]
fn what_happens_while_the_engine_cannot_be_reached_is_found_afterwards_and_nothing_is_guessed() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("cut", "");
    sandbox.site(&format!(
            "  networks: {{@-back: {{}}}}\n  \
             x-same: &same {{image: '{image}', command: [sleep, '1000'], stop_signal: SIGKILL, mem_limit: 32m, networks: [@-back]}}\n  \
             services: {{@-a: *same, @-b: *same, @-c: *same}}\n"
        ),
    );
    sandbox.mastic(&["apply", "--timeout", "60"]).ok();
    let names = ["a", "b", "c"].map(|name| sandbox.name(name));
    let before: BTreeMap<String, Value> = names.iter().map(|name| (name.clone(), made_with(name))).collect();
    let proxy = Proxy::new(sandbox.path());
    let mut command = sandbox.command(&["agent"]);
    command.env("DOCKER_HOST", proxy.host());
    let agent = sandbox.start_command(command);
    sandbox.wait_for("the agent's socket", 30, || sandbox.state().join("agent.sock").exists());
    sandbox.wait_for("the agent to look", 30, || sandbox.status()["converged"] == json!(true));

    proxy.cut();
    sandbox.wait_for("the loss to be told", 30, || sandbox.status()["hosts"][0]["reachable"] == json!(false));
    docker(&["update", "--memory", "48m", "--memory-swap", "96m", &names[0]]);
    docker(&["network", "disconnect", &sandbox.name("back"), &names[1]]);
    docker(&["rm", "-f", &names[2]]);
    let untouched = sandbox.lives();
    assert!(sandbox.has_condition(&names[0], "Unknown"));
    assert_eq!(sandbox.lives(), untouched);
    proxy.mend();
    sandbox.wait_for("what was done meanwhile to be healed", 60, || {
        let is_back = |(name, value): (&String, &Value)| {
            look(name, "{{.State.Status}}") == "running" && differences(value, &made_with(name)).is_empty()
        };
        before.iter().all(is_back) && sandbox.status()["converged"] == json!(true)
    });
    agent.stop(20);
}
