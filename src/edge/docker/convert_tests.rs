//! Replies as engines have given them, and what is made of each.

use super::*;

/// Docker 20.10's own words.
const RECORDED: &str = include_str!("recorded/inspect-1.41.json");
/// The same container in the words of newer engines, after their documented changes.
const NEWER: [&str; 2] = [include_str!("recorded/inspect-1.44.json"), include_str!("recorded/inspect-1.52.json")];

fn read(text: &str) -> ObservedContainer {
    let managed = |source: &str| {
        let rest = source.strip_prefix("/var/lib/mastic/files/")?;
        let (at, _) = rest.match_indices('/').nth(1)?;
        Some((rest[..at].to_owned(), rest[at + 1..].to_owned()))
    };
    container(serde_json::from_str(text).unwrap(), &managed)
}

/// One line for each field.
fn lines(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap();
    let fields = value.as_object().unwrap().iter();
    fields.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_api_gives_the_same() {
    for newer in NEWER {
        assert_eq!(read(newer), read(RECORDED));
    }
}

#[test]
fn a_recorded_container_in_normal_form() {
    let found = read(RECORDED);
    let detail = found.detail.as_ref().unwrap();
    insta::assert_snapshot!(lines(&detail.settings), @r#"
    entrypoint: []
    command: ["sleep","1000"]
    environment: {"FROMIMAGE":"1","MODE":"live","PATH":"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    labels: {"base":"yes","team":"blue"}
    user: "65534"
    working_dir: ""
    domainname: ""
    init: true
    tty: false
    stdin_open: false
    stop_signal: "SIGINT"
    stop_grace_period: 30
    healthcheck: {"test":["CMD","true"],"interval":30000000000,"timeout":5000000000,"retries":3}
    privileged: false
    cap_add: ["NET_ADMIN"]
    cap_drop: ["CHOWN"]
    security_opt: ["no-new-privileges:true"]
    pid: ""
    ipc: "private"
    uts: ""
    userns_mode: ""
    cgroup: "host"
    cgroup_parent: ""
    read_only: false
    group_add: []
    runtime: "runc"
    oom_kill_disable: false
    oom_score_adj: 0
    devices: ["/dev/null:/dev/nothing:rw"]
    device_cgroup_rules: []
    gpus: []
    cpus: 500000000
    cpu_shares: 0
    cpu_quota: 0
    cpu_period: 0
    cpu_rt_runtime: 0
    cpu_rt_period: 0
    cpuset: ""
    mem_limit: 67108864
    mem_reservation: 0
    memswap_limit: 134217728
    pids_limit: 100
    blkio_config: {"weight":0,"weight_device":{},"device_read_bps":{},"device_read_iops":{},"device_write_bps":{},"device_write_iops":{}}
    ulimits: {"nofile":{"soft":1000,"hard":2000}}
    shm_size: 67108864
    sysctls: {"net.core.somaxconn":"512"}
    storage_opt: {}
    network_mode: "shop"
    mac_address: "02:42:0a:d5:5a:32"
    dns: ["192.0.2.53"]
    dns_opt: []
    dns_search: []
    extra_hosts: ["db:192.0.2.7"]
    ports: [{"target":80,"protocol":"tcp","published":18088,"host_ip":"127.0.0.1"}]
    expose: ["7000/tcp","80/tcp","9000/tcp"]
    volumes: {"/cache":{"type":"tmpfs","size":1048576,"mode":1023},"/data":{"type":"volume","source":"data","read_only":false,"nocopy":false},"/etc/web":{"type":"managed","path":"fixed"},"/scratch":{"type":"volume","read_only":false,"nocopy":false},"/shared":{"type":"bind","source":"/srv/shared","read_only":true,"create_host_path":true}}
    volumes_from: []
    restart: "unless_stopped"
    logging: {"driver":"json-file","options":{"max-size":"10m"}}
    "#);
    insta::assert_snapshot!(lines(&detail.networks), @r#"
    backend: {"aliases":["inner"],"ipv4_address":null,"ipv6_address":null,"link_local_ips":[],"mac_address":"02:42:ac:1b:00:02","driver_opts":{}}
    shop: {"aliases":["front","web"],"ipv4_address":"10.213.90.50","ipv6_address":null,"link_local_ips":[],"mac_address":"02:42:0a:d5:5a:32","driver_opts":{}}
    "#);
    let rest = (&found.name, &found.host_ports, &detail.addresses, &detail.managed_hash);
    insta::assert_snapshot!(format!("{rest:?}\n{:?}\n{:?}", detail.anonymous_volumes.keys(), found.state), @r#"
    ("web", [("127.0.0.1", 18088, "tcp")], {"backend": "172.27.0.2", "shop": "10.213.90.50"}, Some("1:abcd"))
    ["/imgvol", "/scratch"]
    ContainerState { status: Running, health: Starting, exit_code: 0, oom_killed: false, error: "", restart_count: 0, started_at: "2026-11-22T18:55:12.44696568Z", finished_at: "0001-01-01T00:00:00Z" }
    "#);
}

#[test]
fn podmans_words_are_understood() {
    let found = read(
        r#"{"Id": "ab12", "Name": "/x", "Image": "0123", "State": {"Status": "stopped", "Health": {"Status": ""}},
            "Config": {"Hostname": "ab12", "Entrypoint": null, "Cmd": ["a"], "StopSignal": "15", "Labels": null,
                       "Volumes": null, "ExposedPorts": null, "Env": null},
            "HostConfig": {"NetworkMode": "bridge", "MemorySwappiness": -1, "PidsLimit": 2048},
            "NetworkSettings": {"Ports": null, "Networks": null}, "Mounts": null}"#,
    );
    let settings = &found.detail.as_ref().unwrap().settings;
    assert_eq!((found.state.status, found.image_id.as_str()), (Status::Exited, "sha256:0123"));
    assert_eq!((settings.stop_signal.as_deref(), settings.hostname.as_deref()), (Some("SIGTERM"), None));
    assert_eq!(settings.mem_swappiness, None);
}

#[test]
fn health_is_read_from_the_lists_words() {
    let health = |status: &str| summary(wire::ListedContainer { status: status.into(), ..Default::default() }).health;
    assert_eq!(health("Up 2 hours (healthy)"), Health::Healthy);
    assert_eq!(health("Up 2 hours (unhealthy)"), Health::Unhealthy);
    assert_eq!(health("Up 1 second (health: starting)"), Health::Starting);
    assert_eq!(health("Up 1 second"), Health::None);
    assert_eq!(health("Exited (0) 2 minutes ago"), Health::None);
    assert_eq!(health("Up 3 days (Paused)"), Health::None);
}

#[test]
fn names_are_the_plain_ones() {
    let names = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        summary(wire::ListedContainer { names, ..Default::default() }).name
    };
    assert_eq!(names(&["/other/alias", "/web"]), "web");
    assert_eq!(names(&["web"]), "web");
}
