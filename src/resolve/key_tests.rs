//! Every key of a service, one by one: what it becomes. A key that became nothing would be one that is ignored.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::Value;

use super::testing::{site, spec};
use crate::parse::keys::ours::SERVICE;
use crate::parse::shape::Class;

/// Each key that is honoured, in each of its syntaxes.
const KEYS: &[&str] = &[
    "annotations: {a.b: c}",
    "blkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}], device_read_bps: [{path: /dev/sda, rate: 12mb}], device_write_iops: [{path: /dev/sda, rate: 30}]}",
    "cap_add: [NET_ADMIN, cap_sys_time]",
    "cap_drop: [ALL]",
    "cgroup: private",
    "cgroup_parent: m.slice",
    "command: echo 'a b' c",
    "command: [echo, a b]",
    "command: []",
    "configs: [motd]",
    "configs: [{source: motd, target: /etc/motd, mode: \"0440\", uid: \"10\", gid: adm}]",
    "container_name: other",
    "cpu_period: 50000",
    "cpu_quota: 25000",
    "cpu_rt_period: 1000000",
    "cpu_rt_runtime: 950000",
    "cpu_shares: 512",
    "cpus: 0.5",
    "cpuset: 0-1",
    "depends_on: [b]",
    "depends_on: {b: {condition: service_healthy, restart: true, required: false}}",
    "depends_on: {j: {condition: service_completed_successfully}}",
    "depends_on: {b: {need: all, for: start}}",
    "device_cgroup_rules: [\"c 1:3 mr\"]",
    "devices: [\"/dev/null:/dev/x:rw\", {source: /dev/zero, permissions: r}]",
    "dns: 9.9.9.9",
    "dns_opt: [use-vc]",
    "dns_search: [example.org]",
    "domainname: example.org",
    "drift: {ignore: [mem_limit]}",
    "entrypoint: /bin/sh -c",
    "env_file: one.env",
    "env_file: [{path: gone.env, required: false}, {path: one.env, format: raw}]",
    "environment: {A: 1, B: true, C: 1.10, D: \"\"}",
    "environment: [A=1, B=a=b]",
    "expose: [80, \"53/udp\", \"3000-3001\"]",
    "extra_hosts: [\"db:10.0.0.5\", \"six=::1\"]",
    "extra_hosts: {db: 10.0.0.5, two: [10.0.0.6, 10.0.0.7], gw: host-gateway}",
    "files: [{content: \"{{ 1 + 1 }}\", target: /etc/two, mode: \"0600\", owner: nobody, group: 5}]",
    "files: [{source: one.env, target: /etc/live/, name: x, on_change: {signal: HUP}, validate: [test]}]",
    "gpus: all",
    "gpus: [{driver: nvidia, count: 2, capabilities: [gpu, compute], options: {a: b}}]",
    "group_add: [7, adm]",
    "healthcheck: {test: \"true\", interval: 5s, timeout: 2s, retries: 2, start_period: 1m, start_interval: 1s}",
    "healthcheck: {test: [CMD, \"true\"]}",
    "healthcheck: {disable: true}",
    "hostname: h",
    "init: true",
    "ipc: shareable",
    "kolla: {command: app --x, config_files: [{source: one.env, dest: /etc/one.env, owner: \"app:adm\", perm: \"0640\", format: ini}]}",
    "kolla: {command: [app], strategy: COPY_ONCE, config_files: [{source: \"/opt/*.pem\", dest: /etc/ssl/, preserve_properties: true, merge: true}], permissions: [{path: /var/log, owner: app, perm: \"0750\", recurse: true, exclude: [gz$]}], directories: [{path: /run/app, owner: app, perm: \"0755\"}]}",
    "kolla: {command: app, config_files: [{content: \"{{ 1 + 1 }}\", dest: /etc/two, owner: app, perm: \"0600\"}, {source: gone, dest: /etc/gone, owner: app, perm: \"0600\", optional: true}], on_change: {exec: [kolla_set_configs], signal: HUP, validate: [check]}}",
    "label_file: one.env",
    "labels: {a: 1}",
    "logging: {driver: journald, options: {tag: x}}",
    "mac_address: 02:42:AC:11:00:02",
    "mem_limit: 64m",
    "mem_reservation: 32m",
    "mem_swappiness: 0",
    "network_mode: host",
    "networks: [net]",
    "networks: {net: {aliases: [x], ipv4_address: 10.9.0.5, mac_address: 02:42:ac:11:00:03, link_local_ips: [169.254.1.1], driver_opts: {a: 1}}, other: {priority: 9}}",
    "oom_kill_disable: true",
    "oom_score_adj: -500",
    "pid: host",
    "pids_limit: 100",
    "platform: linux/amd64",
    "ports: [\"80\", \"127.0.0.1:8080-8081:80-81/udp\", {target: 90, published: \"90\", protocol: sctp, host_ip: 10.0.0.1, mode: host, name: web, app_protocol: http}]",
    "post_start: [{command: [touch, /x], user: root, privileged: true, working_dir: /, environment: [A=1]}]",
    "pre_stop: [{command: sync}]",
    "privileged: true",
    "pull_policy: always",
    "read_only: true",
    "ready: {http: {port: 80, path: /x, status: 204, host: h}, every: 2s, timeout: 1s, min_ready: 3s, deadline: 1m}",
    "ready: {tcp: {port: 80}}",
    "ready: {exec: test -f /x}",
    "reload: {exec: [r], validate: v 1, signal: 1}",
    "restart: on-failure:3",
    "rollout: {max_unavailable: 2, min_ready: 1s, deadline: 10s, on_failure: halt}",
    "runtime: runc",
    "secrets: [key, {source: key, target: other, mode: \"0440\"}]",
    "security_opt: [\"no-new-privileges:true\"]",
    "shm_size: 1g",
    "stdin_open: true",
    "stop_grace_period: 1m30s",
    "stop_signal: int",
    "storage_opt: {size: 1G}",
    "sysctls: {net.core.somaxconn: 1024}",
    "tmpfs: [\"/run\", \"/tmp:size=64m,mode=1777,noexec\"]",
    "tty: true",
    "ulimits: {nofile: {soft: 100, hard: 200}, nproc: 50}",
    "unhealthy: {action: restart, after: 3m}",
    "user: \"1000:1000\"",
    "userns_mode: host",
    "uts: host",
    "volumes: [\"data:/data:ro\", \"./here:/here\", /anonymous, {type: bind, source: /srv, target: /srv, bind: {propagation: rslave}}, {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: \"0700\"}}, {type: volume, source: data, target: /d2, volume: {nocopy: true}}]",
    "volumes_from: [\"b:ro\"]",
    "working_dir: /srv",
];

/// Keys that show only together with something else; each has a test of its own.
const ELSEWHERE: [&str; 6] = ["expose_secrets", "hold_unless", "hosts", "image", "memswap_limit", "variants"];

fn compiled(line: &str) -> Value {
    let text = spec(&format!(
        "
  hosts: {{here: {{}}}}
  networks: {{net: {{ipam: {{config: [{{subnet: 10.9.0.0/24}}]}}}}, other: {{name: o}}}}
  volumes: {{data: {{name: d}}}}
  configs: {{motd: {{content: hello}}}}
  secrets: {{key: {{file: key}}}}
  services:
    a:
      image: busybox:1
      {line}
    b: {{image: 'busybox:1'}}
  jobs: {{j: {{image: 'busybox:1'}}}}
"
    ));
    let beside = [("one.env", "# x\nA=1\nexport B=\"two words\" # c\n"), ("key", "s\n")];
    let compiled = site(&text, &beside).map_err(|why| format!("{line}\n{}", why.render(false))).unwrap();
    let mut value = serde_json::to_value(&compiled.desired.services["a"]).unwrap();
    for hash in ["create_hash", "input_hash"] {
        value.as_object_mut().unwrap().remove(hash);
    }
    value
}

/// The fields in which two values differ, as they are in the second.
fn difference(before: &Value, after: &Value) -> String {
    let mut fields = Vec::new();
    for (key, value) in after.as_object().unwrap() {
        if key == "settings" {
            let settings = value.as_object().unwrap().iter();
            let changed = settings.filter(|(name, value)| before[key].get(name) != Some(value));
            fields.extend(changed.map(|(name, value)| format!("    {name}: {value}")));
        } else if before[key] != *value {
            fields.push(format!("    ({key}): {value}"));
        }
    }
    fields.join("\n")
}

#[test]
fn every_key_becomes_something() {
    let before = compiled("");
    let mut out = Vec::new();
    for line in KEYS {
        let changed = difference(&before, &compiled(line));
        assert!(!changed.is_empty(), "`{line}` is ignored");
        out.push(format!("{line}\n{changed}"));
    }
    insta::assert_snapshot!(out.join("\n"), @r##"
    annotations: {a.b: c}
        annotations: {"a.b":"c"}
    blkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}], device_read_bps: [{path: /dev/sda, rate: 12mb}], device_write_iops: [{path: /dev/sda, rate: 30}]}
        blkio_config: {"weight":300,"weight_device":{"/dev/sda":400},"device_read_bps":{"/dev/sda":12582912},"device_read_iops":{},"device_write_bps":{},"device_write_iops":{"/dev/sda":30}}
    cap_add: [NET_ADMIN, cap_sys_time]
        cap_add: ["NET_ADMIN","SYS_TIME"]
    cap_drop: [ALL]
        cap_drop: ["ALL"]
    cgroup: private
        cgroup: "private"
    cgroup_parent: m.slice
        cgroup_parent: "m.slice"
    command: echo 'a b' c
        command: ["echo","a b","c"]
    command: [echo, a b]
        command: ["echo","a b"]
    command: []
        command: []
    configs: [motd]
        volumes: {"/motd":{"type":"managed","path":"fixed/0"}}
        (files): [{"target":"/motd","source":null,"content":"aGVsbG8=","shown":{"text":"hello"},"mode":292,"owner":0,"group":0,"on_change":"replace","path":"fixed/0"}]
    configs: [{source: motd, target: /etc/motd, mode: "0440", uid: "10", gid: adm}]
        volumes: {"/etc/motd":{"type":"managed","path":"fixed/0"}}
        (files): [{"target":"/etc/motd","source":null,"content":"aGVsbG8=","shown":{"text":"hello"},"mode":288,"owner":10,"group":"adm","on_change":"replace","path":"fixed/0"}]
    container_name: other
        (container_name): "other"
    cpu_period: 50000
        cpu_period: 50000
    cpu_quota: 25000
        cpu_quota: 25000
    cpu_rt_period: 1000000
        cpu_rt_period: 1000000
    cpu_rt_runtime: 950000
        cpu_rt_runtime: 950000
    cpu_shares: 512
        cpu_shares: 512
    cpus: 0.5
        cpus: 500000000
    cpuset: 0-1
        cpuset: "0-1"
    depends_on: [b]
        (depends_on): {"b":{"on":"started","need":"any","required":true,"restart":false}}
    depends_on: {b: {condition: service_healthy, restart: true, required: false}}
        (depends_on): {"b":{"on":"ready","need":"any","required":false,"restart":true}}
    depends_on: {j: {condition: service_completed_successfully}}
        (depends_on): {"j":{"on":"done","need":"any","required":true,"restart":false}}
    depends_on: {b: {need: all, for: start}}
        (depends_on): {"b":{"on":"ready","need":"all","required":true,"restart":false}}
    device_cgroup_rules: ["c 1:3 mr"]
        device_cgroup_rules: ["c 1:3 mr"]
    devices: ["/dev/null:/dev/x:rw", {source: /dev/zero, permissions: r}]
        devices: ["/dev/null:/dev/x:rw","/dev/zero:/dev/zero:r"]
    dns: 9.9.9.9
        dns: ["9.9.9.9"]
    dns_opt: [use-vc]
        dns_opt: ["use-vc"]
    dns_search: [example.org]
        dns_search: ["example.org"]
    domainname: example.org
        domainname: "example.org"
    drift: {ignore: [mem_limit]}
        (drift_ignore): ["mem_limit"]
    entrypoint: /bin/sh -c
        entrypoint: ["/bin/sh","-c"]
    env_file: one.env
        environment: {"A":"1","B":"two words"}
    env_file: [{path: gone.env, required: false}, {path: one.env, format: raw}]
        environment: {"A":"1","B":"\"two words\" # c"}
    environment: {A: 1, B: true, C: 1.10, D: ""}
        environment: {"A":"1","B":"true","C":"1.10","D":""}
    environment: [A=1, B=a=b]
        environment: {"A":"1","B":"a=b"}
    expose: [80, "53/udp", "3000-3001"]
        expose: ["3000/tcp","3001/tcp","53/udp","80/tcp"]
    extra_hosts: ["db:10.0.0.5", "six=::1"]
        extra_hosts: ["db:10.0.0.5","six:::1"]
    extra_hosts: {db: 10.0.0.5, two: [10.0.0.6, 10.0.0.7], gw: host-gateway}
        extra_hosts: ["db:10.0.0.5","gw:host-gateway","two:10.0.0.6","two:10.0.0.7"]
    files: [{content: "{{ 1 + 1 }}", target: /etc/two, mode: "0600", owner: nobody, group: 5}]
        volumes: {"/etc/two":{"type":"managed","path":"fixed/0"}}
        (files): [{"target":"/etc/two","source":null,"content":"Mg==","shown":{"text":"2"},"mode":384,"owner":"nobody","group":5,"on_change":"replace","path":"fixed/0"}]
    files: [{source: one.env, target: /etc/live/, name: x, on_change: {signal: HUP}, validate: [test]}]
        volumes: {"/etc/live":{"type":"managed","path":"live/0"}}
        (files): [{"target":"/etc/live/x","source":"one.env","content":"IyB4CkE9MQpleHBvcnQgQj0idHdvIHdvcmRzIiAjIGMK","shown":{"text":"# x\nA=1\nexport B=\"two words\" # c\n"},"mode":420,"owner":0,"group":0,"on_change":"reload","path":"live/0/x"}]
        (reload): {"validate":["test"],"exec":null,"signal":"SIGHUP"}
    gpus: all
        gpus: [{"driver":"","count":-1,"device_ids":[],"capabilities":[["gpu"]],"options":{}}]
    gpus: [{driver: nvidia, count: 2, capabilities: [gpu, compute], options: {a: b}}]
        gpus: [{"driver":"nvidia","count":2,"device_ids":[],"capabilities":[["gpu","compute"]],"options":{"a":"b"}}]
    group_add: [7, adm]
        group_add: ["7","adm"]
    healthcheck: {test: "true", interval: 5s, timeout: 2s, retries: 2, start_period: 1m, start_interval: 1s}
        healthcheck: {"test":["CMD-SHELL","true"],"interval":5000000000,"timeout":2000000000,"retries":2,"start_period":60000000000,"start_interval":1000000000}
    healthcheck: {test: [CMD, "true"]}
        healthcheck: {"test":["CMD","true"]}
    healthcheck: {disable: true}
        healthcheck: {"test":["NONE"]}
    hostname: h
        hostname: "h"
    init: true
        init: true
    ipc: shareable
        ipc: "shareable"
    kolla: {command: app --x, config_files: [{source: one.env, dest: /etc/one.env, owner: "app:adm", perm: "0640", format: ini}]}
        command: ["kolla_start","app","--x"]
        environment: {"KOLLA_CONFIG_STRATEGY":"COPY_ALWAYS","KOLLA_SERVICE_NAME":"a"}
        volumes: {"/var/lib/kolla/config_files/config.json":{"type":"managed","path":"fixed/0"},"/var/lib/kolla/config_files/one.env":{"type":"managed","path":"fixed/1"}}
        (files): [{"target":"/var/lib/kolla/config_files/config.json","source":null,"content":"ewogICJjb21tYW5kIjogImFwcCAtLXgiLAogICJjb25maWdfZmlsZXMiOiBbCiAgICB7CiAgICAgICJzb3VyY2UiOiAiL3Zhci9saWIva29sbGEvY29uZmlnX2ZpbGVzL29uZS5lbnYiLAogICAgICAiZGVzdCI6ICIvZXRjL29uZS5lbnYiLAogICAgICAib3duZXIiOiAiYXBwOmFkbSIsCiAgICAgICJwZXJtIjogIjA2NDAiCiAgICB9CiAgXQp9Cg==","shown":{"text":"{\n  \"command\": \"app --x\",\n  \"config_files\": [\n    {\n      \"source\": \"/var/lib/kolla/config_files/one.env\",\n      \"dest\": \"/etc/one.env\",\n      \"owner\": \"app:adm\",\n      \"perm\": \"0640\"\n    }\n  ]\n}\n"},"mode":420,"owner":0,"group":0,"on_change":"replace","path":"fixed/0"},{"target":"/var/lib/kolla/config_files/one.env","source":"one.env","content":"IyB4CkE9MQpleHBvcnQgQj0idHdvIHdvcmRzIiAjIGMK","shown":{"text":"# x\nA=1\nexport B=\"two words\" # c\n"},"mode":288,"owner":"app","group":"adm","on_change":"replace","path":"fixed/1"}]
    kolla: {command: [app], strategy: COPY_ONCE, config_files: [{source: "/opt/*.pem", dest: /etc/ssl/, preserve_properties: true, merge: true}], permissions: [{path: /var/log, owner: app, perm: "0750", recurse: true, exclude: [gz$]}], directories: [{path: /run/app, owner: app, perm: "0755"}]}
        command: ["kolla_start","app"]
        environment: {"KOLLA_CONFIG_STRATEGY":"COPY_ONCE","KOLLA_SERVICE_NAME":"a"}
        volumes: {"/var/lib/kolla/config_files/config.json":{"type":"managed","path":"fixed/0"}}
        (files): [{"target":"/var/lib/kolla/config_files/config.json","source":null,"content":"ewogICJjb21tYW5kIjogImFwcCIsCiAgImNvbmZpZ19maWxlcyI6IFsKICAgIHsKICAgICAgInNvdXJjZSI6ICIvb3B0LyoucGVtIiwKICAgICAgImRlc3QiOiAiL2V0Yy9zc2wvIiwKICAgICAgInByZXNlcnZlX3Byb3BlcnRpZXMiOiB0cnVlLAogICAgICAibWVyZ2UiOiB0cnVlCiAgICB9CiAgXSwKICAicGVybWlzc2lvbnMiOiBbCiAgICB7CiAgICAgICJwYXRoIjogIi92YXIvbG9nIiwKICAgICAgIm93bmVyIjogImFwcCIsCiAgICAgICJwZXJtIjogIjA3NTAiLAogICAgICAicmVjdXJzZSI6IHRydWUsCiAgICAgICJleGNsdWRlIjogWwogICAgICAgICJneiQiCiAgICAgIF0KICAgIH0KICBdLAogICJkaXJlY3RvcmllcyI6IFsKICAgIHsKICAgICAgInBhdGgiOiAiL3J1bi9hcHAiLAogICAgICAib3duZXIiOiAiYXBwIiwKICAgICAgInBlcm0iOiAiMDc1NSIKICAgIH0KICBdCn0K","shown":{"text":"{\n  \"command\": \"app\",\n  \"config_files\": [\n    {\n      \"source\": \"/opt/*.pem\",\n      \"dest\": \"/etc/ssl/\",\n      \"preserve_properties\": true,\n      \"merge\": true\n    }\n  ],\n  \"permissions\": [\n    {\n      \"path\": \"/var/log\",\n      \"owner\": \"app\",\n      \"perm\": \"0750\",\n      \"recurse\": true,\n      \"exclude\": [\n        \"gz$\"\n      ]\n    }\n  ],\n  \"directories\": [\n    {\n      \"path\": \"/run/app\",\n      \"owner\": \"app\",\n      \"perm\": \"0755\"\n    }\n  ]\n}\n"},"mode":420,"owner":0,"group":0,"on_change":"replace","path":"fixed/0"}]
    kolla: {command: app, config_files: [{content: "{{ 1 + 1 }}", dest: /etc/two, owner: app, perm: "0600"}, {source: gone, dest: /etc/gone, owner: app, perm: "0600", optional: true}], on_change: {exec: [kolla_set_configs], signal: HUP, validate: [check]}}
        command: ["kolla_start","app"]
        environment: {"KOLLA_CONFIG_STRATEGY":"COPY_ALWAYS","KOLLA_SERVICE_NAME":"a"}
        volumes: {"/var/lib/kolla/config_files":{"type":"managed","path":"live/0"}}
        (files): [{"target":"/var/lib/kolla/config_files/config.json","source":null,"content":"ewogICJjb21tYW5kIjogImFwcCIsCiAgImNvbmZpZ19maWxlcyI6IFsKICAgIHsKICAgICAgInNvdXJjZSI6ICIvdmFyL2xpYi9rb2xsYS9jb25maWdfZmlsZXMvdHdvIiwKICAgICAgImRlc3QiOiAiL2V0Yy90d28iLAogICAgICAib3duZXIiOiAiYXBwIiwKICAgICAgInBlcm0iOiAiMDYwMCIKICAgIH0sCiAgICB7CiAgICAgICJzb3VyY2UiOiAiL3Zhci9saWIva29sbGEvY29uZmlnX2ZpbGVzL2dvbmUiLAogICAgICAiZGVzdCI6ICIvZXRjL2dvbmUiLAogICAgICAib3duZXIiOiAiYXBwIiwKICAgICAgInBlcm0iOiAiMDYwMCIsCiAgICAgICJvcHRpb25hbCI6IHRydWUKICAgIH0KICBdCn0K","shown":{"text":"{\n  \"command\": \"app\",\n  \"config_files\": [\n    {\n      \"source\": \"/var/lib/kolla/config_files/two\",\n      \"dest\": \"/etc/two\",\n      \"owner\": \"app\",\n      \"perm\": \"0600\"\n    },\n    {\n      \"source\": \"/var/lib/kolla/config_files/gone\",\n      \"dest\": \"/etc/gone\",\n      \"owner\": \"app\",\n      \"perm\": \"0600\",\n      \"optional\": true\n    }\n  ]\n}\n"},"mode":420,"owner":0,"group":0,"on_change":"reload","path":"live/0/config.json"},{"target":"/var/lib/kolla/config_files/two","source":null,"content":"Mg==","shown":{"text":"2"},"mode":256,"owner":"app","group":"app","on_change":"reload","path":"live/0/two"}]
        (reload): {"validate":["check"],"exec":["kolla_set_configs"],"signal":"SIGHUP"}
    label_file: one.env
        labels: {"A":"1","B":"two words"}
    labels: {a: 1}
        labels: {"a":"1"}
    logging: {driver: journald, options: {tag: x}}
        logging: {"driver":"journald","options":{"tag":"x"}}
    mac_address: 02:42:AC:11:00:02
        mac_address: "02:42:ac:11:00:02"
    mem_limit: 64m
        mem_limit: 67108864
    mem_reservation: 32m
        mem_reservation: 33554432
    mem_swappiness: 0
        mem_swappiness: 0
    network_mode: host
        network_mode: "host"
    networks: [net]
        network_mode: "net"
        (networks): {"net":{"aliases":["a"],"ipv4_address":null,"ipv6_address":null,"link_local_ips":[],"mac_address":null,"driver_opts":{}}}
    networks: {net: {aliases: [x], ipv4_address: 10.9.0.5, mac_address: 02:42:ac:11:00:03, link_local_ips: [169.254.1.1], driver_opts: {a: 1}}, other: {priority: 9}}
        network_mode: "o"
        (networks): {"net":{"aliases":["a","x"],"ipv4_address":"10.9.0.5","ipv6_address":null,"link_local_ips":["169.254.1.1"],"mac_address":"02:42:ac:11:00:03","driver_opts":{"a":"1"}},"o":{"aliases":["a"],"ipv4_address":null,"ipv6_address":null,"link_local_ips":[],"mac_address":null,"driver_opts":{}}}
    oom_kill_disable: true
        oom_kill_disable: true
    oom_score_adj: -500
        oom_score_adj: -500
    pid: host
        pid: "host"
    pids_limit: 100
        pids_limit: 100
    platform: linux/amd64
        platform: "linux/amd64"
    ports: ["80", "127.0.0.1:8080-8081:80-81/udp", {target: 90, published: "90", protocol: sctp, host_ip: 10.0.0.1, mode: host, name: web, app_protocol: http}]
        ports: [{"target":80,"protocol":"tcp"},{"target":80,"protocol":"udp","published":8080,"host_ip":"127.0.0.1"},{"target":81,"protocol":"udp","published":8081,"host_ip":"127.0.0.1"},{"target":90,"protocol":"sctp","published":90,"host_ip":"10.0.0.1"}]
    post_start: [{command: [touch, /x], user: root, privileged: true, working_dir: /, environment: [A=1]}]
        (hooks): {"post_start":[{"command":["touch","/x"],"user":"root","privileged":true,"working_dir":"/","environment":{"A":"1"}}],"pre_stop":[]}
    pre_stop: [{command: sync}]
        (hooks): {"post_start":[],"pre_stop":[{"command":["sync"],"user":"","privileged":false,"working_dir":"","environment":{}}]}
    privileged: true
        privileged: true
    pull_policy: always
        (pull_policy): "always"
    read_only: true
        read_only: true
    ready: {http: {port: 80, path: /x, status: 204, host: h}, every: 2s, timeout: 1s, min_ready: 3s, deadline: 1m}
        (ready): {"probe":{"http":{"host":"h","port":80,"path":"/x","status":204}},"every":2000,"timeout":1000}
        (rollout): {"max_unavailable":1,"min_ready":3000,"deadline":60000,"on_failure":"rollback"}
    ready: {tcp: {port: 80}}
        (ready): {"probe":{"tcp":{"host":null,"port":80}},"every":1000,"timeout":3000}
    ready: {exec: test -f /x}
        (ready): {"probe":{"exec":{"command":["test","-f","/x"]}},"every":1000,"timeout":3000}
    reload: {exec: [r], validate: v 1, signal: 1}
        (reload): {"validate":["v","1"],"exec":["r"],"signal":"SIGHUP"}
    restart: on-failure:3
        restart: {"on_failure":3}
    rollout: {max_unavailable: 2, min_ready: 1s, deadline: 10s, on_failure: halt}
        (rollout): {"max_unavailable":2,"min_ready":1000,"deadline":10000,"on_failure":"halt"}
    runtime: runc
        runtime: "runc"
    secrets: [key, {source: key, target: other, mode: "0440"}]
        volumes: {"/run/secrets/key":{"type":"managed","path":"fixed/0"},"/run/secrets/other":{"type":"managed","path":"fixed/1"}}
        (files): [{"target":"/run/secrets/key","source":null,"content":"cwo=","shown":{"opaque":2},"mode":256,"owner":0,"group":0,"on_change":"replace","path":"fixed/0"},{"target":"/run/secrets/other","source":null,"content":"cwo=","shown":{"opaque":2},"mode":288,"owner":0,"group":0,"on_change":"replace","path":"fixed/1"}]
    security_opt: ["no-new-privileges:true"]
        security_opt: ["no-new-privileges:true"]
    shm_size: 1g
        shm_size: 1073741824
    stdin_open: true
        stdin_open: true
    stop_grace_period: 1m30s
        stop_grace_period: 90
    stop_signal: int
        stop_signal: "SIGINT"
    storage_opt: {size: 1G}
        storage_opt: {"size":"1G"}
    sysctls: {net.core.somaxconn: 1024}
        sysctls: {"net.core.somaxconn":"1024"}
    tmpfs: ["/run", "/tmp:size=64m,mode=1777,noexec"]
        volumes: {"/run":{"type":"tmpfs"},"/tmp":{"type":"tmpfs","size":67108864,"mode":1023,"options":["noexec"]}}
    tty: true
        tty: true
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 50}
        ulimits: {"nofile":{"soft":100,"hard":200},"nproc":{"soft":50,"hard":50}}
    unhealthy: {action: restart, after: 3m}
        (unhealthy): {"restart_after":180000}
    user: "1000:1000"
        user: "1000:1000"
    userns_mode: host
        userns_mode: "host"
    uts: host
        uts: "host"
    volumes: ["data:/data:ro", "./here:/here", /anonymous, {type: bind, source: /srv, target: /srv, bind: {propagation: rslave}}, {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: "0700"}}, {type: volume, source: data, target: /d2, volume: {nocopy: true}}]
        volumes: {"/anonymous":{"type":"volume","read_only":false,"nocopy":false},"/d2":{"type":"volume","source":"d","read_only":false,"nocopy":true},"/data":{"type":"volume","source":"d","read_only":true,"nocopy":false},"/here":{"type":"bind","source":"/srv/here","read_only":false,"create_host_path":true},"/srv":{"type":"bind","source":"/srv","read_only":false,"propagation":"rslave","create_host_path":false},"/t":{"type":"tmpfs","size":1048576,"mode":448}}
    volumes_from: ["b:ro"]
        volumes_from: ["b:ro"]
    working_dir: /srv
        working_dir: "/srv"
    "##);
}

#[test]
fn no_honoured_key_is_left_out_of_the_list() {
    let tested: BTreeSet<&str> = KEYS.iter().filter_map(|line| line.split(':').next()).chain(ELSEWHERE).collect();
    let honoured = SERVICE.iter().filter(|key| !matches!(key.class, Class::Refused(_))).map(|key| key.name);
    assert_eq!(tested, honoured.collect());
}

#[test]
fn memory_and_swap_go_together() {
    assert_eq!(compiled("mem_limit: 64m\n      memswap_limit: 128m")["settings"]["memswap_limit"], 128 << 20);
    assert_eq!(compiled("mem_limit: 64m\n      memswap_limit: -1")["settings"]["memswap_limit"], -1);
}
