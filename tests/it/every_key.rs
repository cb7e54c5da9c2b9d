//! A site whose services together set every key of a container that is honoured and that this machine's engine grants.

use std::collections::BTreeSet;

use mastic::parse::keys::ours::SERVICE;
use mastic::parse::shape::Class;

use crate::support::{Sandbox, free_port};

/// Keys that are honoured, but refused by this engine or needing another image, machine or engine.
const ELSEWHERE: [(&str, &str); 7] = [
    ("annotations", "needs API 1.43"),
    ("gpus", "needs a driver"),
    ("cpu_rt_runtime", "needs real-time groups in the kernel"),
    ("storage_opt", "needs xfs with quota"),
    ("variants", "are for procedures of roles"),
    ("hold_unless", "is about several hosts"),
    ("kolla", "needs an image with the start program: kolla_images.rs"),
];

/// `@` is the prefix.
const SITE: &str = r#"
apiVersion: mastic/v1
kind: Site
metadata: {name: @}
spec:
  hosts: {here: {connection: {local: {}}}}
  defaults:
    container: {stop_signal: SIGKILL, command: [sleep, "100000"], environment: {TZ: UTC}}
  networks:
    @-front: {driver: bridge, ipam: {config: [{subnet: SUBNET.0/24, gateway: SUBNET.1}]}, labels: {shown: "yes"}}
    @-back: {internal: true}
  volumes:
    @-data: {driver: local, labels: {shown: "yes"}}
  configs:
    motd: {content: "Welcome to {{ host.name }}\n"}
  secrets:
    word: {file: word}
  services:
    @-process:
      image: IMAGE
      pull_policy: missing
      platform: linux/amd64
      container_name: @-named
      entrypoint: [sleep]
      command: ["100001"]
      environment: {A: "1=2", EMPTY: "", TEXT: "zwei Wörter", NUMBER: 2}
      env_file: [more.env]
      labels: {com.example.team: blue, empty: ""}
      label_file: [more.labels]
      user: "0:0"
      group_add: ["1234", "99"]
      working_dir: /www
      hostname: web
      domainname: example.org
      init: true
      tty: true
      stdin_open: true
      stop_signal: SIGUSR1
      stop_grace_period: 1s
      healthcheck: {test: "true", interval: 1s, timeout: 3s, retries: 3, start_period: 5s}
      runtime: io.containerd.runc.v2
    @-namespaces:
      image: IMAGE
      network_mode: host
      pid: host
      ipc: host
      uts: host
      userns_mode: host
      cgroup: host
    @-private:
      image: IMAGE
      network_mode: none
      ipc: shareable
      cgroup: private
      cgroup_parent: /@
      cap_add: [NET_ADMIN]
      cap_drop: [CHOWN, MKNOD]
      security_opt: ["no-new-privileges:true", "seccomp=unconfined"]
      read_only: true
      oom_kill_disable: true
      oom_score_adj: 500
      mem_limit: 64m
      devices: ["/dev/null:/dev/nothing:rw", {source: /dev/zero, target: /dev/zeroes, permissions: r}]
      device_cgroup_rules: ["c 1:3 mr"]
      ulimits: {nofile: {soft: 100, hard: 200}, nproc: 512}
      shm_size: 8m
      privileged: false
    @-limits:
      image: IMAGE
      cpus: 0.5
      cpu_shares: 512
      cpuset: "0"
      cpu_rt_period: 900000
      mem_limit: 64m
      mem_reservation: 32m
      memswap_limit: 128m
      mem_swappiness: 10
      pids_limit: 100
      restart: on-failure:5
      blkio_config: {device_read_bps: [{path: DEVICE, rate: 1m}], device_write_iops: [{path: DEVICE, rate: 100}]}
      logging: {driver: json-file, options: {max-size: 1m, max-file: "2"}}
    @-quota:
      image: IMAGE
      cpu_quota: 50000
      cpu_period: 50000
      mem_limit: 32m
      memswap_limit: -1
      restart: always
      drift: {ignore: [mem_limit]}
      depends_on: {@-limits: {condition: service_started, restart: false}}
      unhealthy: {action: restart, after: 1m}
      ready: {exec: ["true"]}
      rollout: {max_unavailable: 1, min_ready: 0s, deadline: 30s, on_failure: rollback}
      post_start: [{command: [sh, -c, "echo started > /tmp/started"]}]
      pre_stop: [{command: [rm, -f, /tmp/started]}]
    @-net:
      image: IMAGE
      hosts: [here]
      networks:
        @-front: {aliases: [www], ipv4_address: SUBNET.10, priority: 10}
        @-back: {}
      mac_address: "02:42:ac:11:65:43"
      ports: ["127.0.0.1:PORT1:80", {target: 81, published: PORT2, protocol: udp, host_ip: 127.0.0.1}, "82"]
      expose: [7000, 7001/udp]
      extra_hosts: {db.example.org: 192.0.2.20}
      dns: [192.0.2.1]
      dns_search: example.org
      dns_opt: [ndots:2]
      sysctls: {net.core.somaxconn: 256}
    @-mounts:
      image: IMAGE
      tmpfs: ["/tmp:size=8m,mode=1777"]
      volumes:
        - @-data:/www
        - /anonymous
        - {type: bind, source: /etc/hostname, target: /etc/hostname.host, read_only: true}
        - {type: bind, source: /tmp, target: /host-tmp, bind: {propagation: rprivate}}
        - {type: tmpfs, target: /scratch, tmpfs: {size: 4m, mode: "0700"}}
        - {type: volume, source: @-data, target: /raw, volume: {nocopy: true}, read_only: true}
      configs: [{source: motd, target: /etc/motd, mode: "0444"}]
      secrets: [{source: word, target: word, mode: "0400"}]
      files:
        - {content: "level={{ host.name }}\n", target: /etc/live/, name: live.conf, on_change: {signal: WINCH}, mode: "0640", owner: 5, group: 6}
        - {content: "fixed\n", target: /etc/fixed, mode: "0444"}
      reload: {validate: [test, -f, /etc/live/live.conf]}
    @-from:
      image: IMAGE
      volumes_from: ["@-mounts:ro"]
      expose_secrets: true
      environment: ["WORD={{ secrets.word }}"]
"#;

/// Writes the site into the sandbox as `site.yaml`, with what it refers to; the image is `every:1` of the sandbox.
pub fn write(sandbox: &Sandbox) {
    let image = sandbox.image("every", "");
    sandbox.write("word", "hunter2\n");
    std::fs::set_permissions(sandbox.path().join("word"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    sandbox.write("more.env", "FROM_FILE=yes\n");
    sandbox.write("more.labels", "from.file=yes\n");
    let text = SITE
        .replace("IMAGE", &image)
        .replace("SUBNET", &subnet(sandbox))
        .replace("DEVICE", &block_device())
        .replace("PORT1", &free_port().to_string())
        .replace("PORT2", &free_port().to_string());
    sandbox.write("site.yaml", &text);
}

/// The services, without the prefix, with their containers' names.
pub const SERVICES: [(&str, &str); 8] = [
    ("process", "named"),
    ("namespaces", "namespaces"),
    ("private", "private"),
    ("limits", "limits"),
    ("quota", "quota"),
    ("net", "net"),
    ("mounts", "mounts"),
    ("from", "from"),
];

/// The first three numbers of a network that no other sandbox has.
fn subnet(sandbox: &Sandbox) -> String {
    let mut numbers = sandbox.prefix().split('-').skip(1).map(|text| text.parse::<u32>().unwrap());
    let (process, number) = (numbers.next().unwrap(), numbers.next().unwrap());
    format!("10.{}.{}", 100 + process % 100, (process / 100 + number * 37) % 250)
}

/// Some disk of this machine.
fn block_device() -> String {
    let names = std::fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().file_name());
    let mut paths: Vec<String> = names.map(|name| format!("/dev/{}", name.to_string_lossy())).collect();
    paths.sort();
    paths.into_iter().rfind(|path| std::path::Path::new(path).exists()).expect("there is a block device")
}

/// Removes what the engine leaves behind of `cgroup_parent`.
pub fn remove_groups(sandbox: &Sandbox) {
    for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _removed = std::fs::remove_dir(controller.path().join(sandbox.prefix()));
    }
}

#[test]
fn every_honoured_key_is_set() {
    let site: serde_json::Value = serde_yaml::from_str(&SITE.replace('@', "x")).unwrap();
    let services = site["spec"]["services"].as_object().unwrap();
    let set: BTreeSet<&str> =
        services.values().flat_map(|service| service.as_object().unwrap().keys()).map(String::as_str).collect();
    let elsewhere = ELSEWHERE.iter().map(|(key, _)| *key);
    let set: BTreeSet<&str> = set.into_iter().chain(elsewhere).collect();
    let honoured = SERVICE.iter().filter(|key| !matches!(key.class, Class::Refused(_))).map(|key| key.name);
    let forgotten: Vec<&str> = honoured.filter(|key| !set.contains(key)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}
