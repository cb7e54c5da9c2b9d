//! The calls of the port, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use mastic::edge::docker::{ConnectOptions, DockerEngine, Endpoint};
use mastic::model::desired::Hook;
use mastic::model::network::{IpamPool, NetworkSpec, VolumeSpec};
use mastic::model::settings::{ContainerSettings, Mount, RestartPolicy};
use mastic::model::time::Span;
use mastic::observe::observed::{Health, Status};
use mastic::port::engine::{Engine, EngineError, LimitChange, ObserveEngine};
use serde_json::json;

use super::{Bench, attachment, command, engine, settings};
use crate::support::docker;

fn hook(words: &[&str]) -> Hook {
    Hook { command: words.iter().map(|word| (*word).to_owned()).collect(), ..Hook::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_tells_its_version() {
    let engine = engine();
    let version = engine.version().await.unwrap();
    assert_eq!(version.engine, "docker");
    assert_eq!(version.version, docker(&["version", "-f", "{{.Server.Version}}"]).trim());
    assert_eq!(
        format!("{}.{}", version.api.0, version.api.1),
        docker(&["version", "-f", "{{.Server.APIVersion}}"]).trim()
    );
    assert_eq!(engine.identity().await.unwrap(), docker(&["info", "-f", "{{.ID}}"]).trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_lives_and_dies() {
    let bench = Bench::new().await;
    let request = bench.request("web", command(&["sleep", "1000"]));
    let id = bench.engine.create_container(&request).await.unwrap();
    let found = bench.inspect(&id).await;
    assert_eq!((found.name.as_str(), found.state.status), (bench.sandbox.name("web").as_str(), Status::Created));
    assert_eq!((found.image.as_str(), &found.image_id), (bench.image.as_str(), &bench.image_id));
    assert_eq!(found.label("mastic.site"), Some("demo"));
    assert!(!found.detail.unwrap().settings.labels.unwrap().contains_key("mastic.site"));

    assert!(matches!(bench.engine.create_container(&request).await, Err(EngineError::Conflict(_))));
    bench.engine.start_container(&id).await.unwrap();
    bench.engine.start_container(&id).await.unwrap();
    assert!(bench.inspect(&id).await.is_running());
    docker(&["pause", &id]);
    assert_eq!(bench.inspect(&id).await.state.status, Status::Paused);
    bench.engine.unpause_container(&id).await.unwrap();
    bench.engine.unpause_container(&id).await.unwrap();
    bench.engine.rename_container(&id, &bench.sandbox.name("web.prev")).await.unwrap();
    assert_eq!(bench.inspect(&id).await.name, bench.sandbox.name("web.prev"));
    bench.engine.stop_container(&id, Some(0)).await.unwrap();
    bench.engine.stop_container(&id, None).await.unwrap();
    let state = bench.inspect(&id).await.state;
    assert_eq!((state.status, state.exit_code), (Status::Exited, 137));
    bench.engine.remove_container(&id, true).await.unwrap();
    bench.engine.remove_container(&id, true).await.unwrap();
    assert!(matches!(bench.engine.inspect_container(&id).await, Err(EngineError::NotFound(_))));
    assert!(matches!(bench.engine.start_container(&id).await, Err(EngineError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_shown_as_written_only_while_the_reference_leads_to_it() {
    let bench = Bench::new().await;
    let other = bench.sandbox.image("other", "ENV OTHER=1");
    let mut request = bench.request("moved", ContainerSettings::default());
    request.image = mastic::model::image::ImageRef::new(other).unwrap();
    let id = bench.engine.create_container(&request).await.unwrap();
    let found = bench.inspect(&id).await;
    assert_eq!((&found.image, &found.image_id), (&bench.image_id, &bench.image_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_told_apart_and_cut_to_the_last_lines() {
    let bench = Bench::new().await;
    let id = bench.run("talker", command(&["sh", "-c", "echo one; echo two >&2; echo three"])).await;
    assert_eq!(bench.engine.wait_container(&id).await.unwrap(), 0);
    assert_eq!(bench.engine.log_tail(&id, 1).await.unwrap().lines().count(), 1);
    let mut chunks = bench.engine.logs(&id, true, None).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.unwrap();
        let text = if chunk.stderr { &mut err } else { &mut out };
        text.push_str(&String::from_utf8_lossy(&chunk.bytes));
    }
    assert_eq!((out.as_str(), err.as_str()), ("one\nthree\n", "two\n"));

    let with_terminal = ContainerSettings { tty: Some(true), ..command(&["echo", "plain"]) };
    let id = bench.run("terminal", with_terminal).await;
    bench.engine.wait_container(&id).await.unwrap();
    assert_eq!(bench.engine.log_tail(&id, 10).await.unwrap(), "plain\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_in_a_container() {
    let bench = Bench::new().await;
    let id = bench.run("host", command(&["sleep", "1000"])).await;
    let run = |hook: Hook, seconds| {
        let (engine, id) = (bench.engine.clone(), id.clone());
        async move { engine.exec(&id, &hook, Span::seconds(seconds)).await }
    };
    let outcome = run(hook(&["sh", "-c", "echo out; echo err >&2; exit 3"]), 10).await.unwrap();
    assert_eq!((outcome.exit_code, outcome.output.len()), (3, 8));
    let whole = Hook {
        user: "65534".into(),
        working_dir: "/www".into(),
        environment: BTreeMap::from([("A".into(), "b c".into())]),
        ..hook(&["sh", "-c", "id -u; pwd; echo $A"])
    };
    assert_eq!(run(whole, 10).await.unwrap().output, "65534\n/www\nb c\n");
    let long = run(hook(&["sh", "-c", "yes | head -c 1000000"]), 20).await.unwrap();
    assert_eq!((long.exit_code, long.output.len()), (0, 64 * 1024));
    assert_ne!(run(hook(&["no-such-program"]), 10).await.unwrap().exit_code, 0);
    let begin = Instant::now();
    assert_eq!(run(hook(&["sleep", "100"]), 1).await, Err(EngineError::Timeout(Span::seconds(1))));
    assert!(begin.elapsed() < Duration::from_secs(5));
    bench.engine.stop_container(&id, Some(0)).await.unwrap();
    assert!(matches!(run(hook(&["true"]), 10).await, Err(EngineError::Conflict(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_even_before_the_first_start() {
    let bench = Bench::with_image(
        "RUN echo content > /etc/real && ln -s ../etc/real /www/link && ln -s /www/link /www/again && ln -s loop /www/loop\nCMD [\"true\"]",
    )
    .await;
    let id = bench.engine.create_container(&bench.request("files", ContainerSettings::default())).await.unwrap();
    for path in ["/etc/real", "/www/link", "/www/again"] {
        assert_eq!(bench.engine.read_file(&id, path).await.unwrap(), "content\n", "{path}");
    }
    assert!(matches!(bench.engine.read_file(&id, "/none").await, Err(EngineError::NotFound(_))));
    assert!(matches!(bench.engine.read_file(&id, "/www").await, Err(EngineError::Refused(_))));
    assert!(bench.engine.read_file(&id, "/www/loop").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_in_a_live_container() {
    let bench = Bench::new().await;
    let id = bench.run("limits", settings(json!({"mem_limit": 64 << 20, "pids_limit": 10}))).await;
    let change = |value| LimitChange { settings: settings(value) };
    bench.engine.update_container(&id, &change(json!({"mem_limit": 256 << 20}))).await.unwrap();
    bench
        .engine
        .update_container(&id, &change(json!({"cpu_shares": 300, "cpus": 250_000_000, "pids_limit": 20, "cpuset": "0", "restart": "unless_stopped"})))
        .await
        .unwrap();
    let found = bench.inspect(&id).await.detail.unwrap().settings;
    assert_eq!((found.mem_limit, found.memswap_limit), (Some(256 << 20), Some(512 << 20)));
    assert_eq!((found.cpus, found.cpu_shares, found.pids_limit), (Some(250_000_000), Some(300), Some(20)));
    assert_eq!(found.restart, Some(RestartPolicy::UnlessStopped));
    let error = bench.engine.update_container(&id, &change(json!({"mem_limit": 1}))).await.unwrap_err();
    assert!(matches!(error, EngineError::Refused(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_made_and_attached() {
    let bench = Bench::new().await;
    let (one, two) = (bench.sandbox.name("one"), bench.sandbox.name("two"));
    let spec = NetworkSpec {
        driver_opts: BTreeMap::from([("com.docker.network.bridge.enable_icc".into(), "true".into())]),
        ipam: vec![IpamPool { subnet: "10.213.77.0/24".into(), ..IpamPool::default() }],
        labels: BTreeMap::from([("team".into(), "blue".into())]),
        ..NetworkSpec::default()
    };
    let ours = BTreeMap::from([("mastic.site".to_owned(), "demo".to_owned())]);
    bench.engine.create_network(&one, &spec, &ours).await.unwrap();
    bench.engine.create_network(&one, &spec, &ours).await.unwrap();
    bench.engine.create_network(&two, &NetworkSpec { internal: true, ..NetworkSpec::default() }, &ours).await.unwrap();
    let all = bench.engine.list_networks().await.unwrap();
    let found: Vec<_> = all.iter().filter(|network| network.name == one).collect();
    assert_eq!(found.len(), 1, "a second network of the name was made");
    assert_eq!((&found[0].spec.labels, &found[0].labels.len()), (&spec.labels, &2));
    assert_eq!((&found[0].spec.driver_opts, &found[0].spec.ipam[0].subnet), (&spec.driver_opts, &spec.ipam[0].subnet));
    assert!(all.iter().any(|network| network.name == two && network.spec.internal));

    let mut request = bench.request("member", ContainerSettings::default());
    request.networks = BTreeMap::from([
        (one.clone(), attachment(&["db", "web"], Some("10.213.77.50"))),
        (two.clone(), attachment(&["inner"], None)),
    ]);
    let id = bench.engine.create_container(&request).await.unwrap();
    for started in [false, true] {
        let detail = bench.inspect(&id).await.detail.unwrap();
        let seen = |name: &str| {
            let mut seen = detail.networks[name].clone();
            seen.mac_address = None;
            seen
        };
        assert_eq!(detail.settings.network_mode.as_deref(), Some(one.as_str()));
        assert_eq!(detail.networks.len(), 2, "started: {started}");
        assert_eq!((seen(&one), seen(&two)), (request.networks[&one].clone(), request.networks[&two].clone()));
        if started {
            assert_eq!(detail.addresses[&one], "10.213.77.50");
        }
        bench.engine.start_container(&id).await.unwrap();
    }
    bench.engine.disconnect_network(&two, &id).await.unwrap();
    bench.engine.disconnect_network(&two, &id).await.unwrap();
    assert_eq!(bench.inspect(&id).await.detail.unwrap().networks.len(), 1);
    bench.engine.connect_network(&two, &id, &request.networks[&two]).await.unwrap();
    bench.engine.connect_network(&two, &id, &request.networks[&two]).await.unwrap();
    assert_eq!(bench.inspect(&id).await.detail.unwrap().networks.len(), 2);

    let mut lost = bench.request("lost", ContainerSettings::default());
    lost.networks =
        BTreeMap::from([(one.clone(), attachment(&[], None)), (bench.sandbox.name("zz-none"), attachment(&[], None))]);
    let error = bench.engine.create_container(&lost).await.unwrap_err();
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    assert!(matches!(bench.engine.inspect_container(&lost.name).await, Err(EngineError::NotFound(_))), "left behind");

    bench.engine.remove_container(&id, true).await.unwrap();
    for name in [&one, &two, &two] {
        bench.engine.remove_network(name).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_would_ignore_is_an_error_and_leaves_nothing() {
    let bench = Bench::new().await;
    let host =
        settings(json!({"network_mode": "host", "ports": [{"target": 80, "protocol": "tcp", "published": 18_766}]}));
    let request = bench.request("ignored", host);
    let error = bench.engine.create_container(&request).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the engine would ignore a setting: Published ports are discarded when using host network mode"
    );
    assert!(matches!(bench.engine.inspect_container(&request.name).await, Err(EngineError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_made_carried_over_and_kept() {
    let bench = Bench::with_image("VOLUME /of-the-image\nCMD [\"sleep\", \"1000\"]").await;
    let name = bench.sandbox.name("data");
    for _ in 0..2 {
        bench.engine.create_volume(&name, &VolumeSpec::default(), &BTreeMap::new()).await.unwrap();
    }
    assert!(bench.engine.list_volumes().await.unwrap().contains(&name));
    let anonymous = settings(json!({"volumes": {"/asked": {"type": "volume", "read_only": false}}}));
    let id = bench.run("first", anonymous.clone()).await;
    let first = bench.inspect(&id).await.detail.unwrap();
    let targets: Vec<&str> = first.anonymous_volumes.keys().map(String::as_str).collect();
    assert_eq!(targets, ["/asked", "/of-the-image"]);
    bench
        .engine
        .exec(&id, &hook(&["sh", "-c", "echo 1 > /asked/x; echo 2 > /of-the-image/x"]), Span::seconds(9))
        .await
        .unwrap();
    bench.engine.remove_container(&id, false).await.unwrap();

    let mut request = bench.request("second", anonymous.clone());
    request.carried_volumes = first.anonymous_volumes.clone();
    let id = bench.engine.create_container(&request).await.unwrap();
    bench.engine.start_container(&id).await.unwrap();
    let second = bench.inspect(&id).await.detail.unwrap();
    assert_eq!(second.anonymous_volumes, first.anonymous_volumes);
    assert_eq!(second.settings.volumes, anonymous.volumes);
    let read = bench.engine.exec(&id, &hook(&["cat", "/asked/x", "/of-the-image/x"]), Span::seconds(9)).await.unwrap();
    assert_eq!(read.output, "1\n2\n");
    bench.engine.remove_container(&id, true).await.unwrap();
    for volume in first.anonymous_volumes.values() {
        bench.engine.remove_volume(volume).await.unwrap();
    }
    bench.engine.remove_volume(&name).await.unwrap();
    assert!(matches!(bench.engine.remove_volume(&name).await, Err(EngineError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_of_our_files_are_known_again() {
    let bench = Bench::new().await;
    let directory = format!("/tmp/mastic-files/{}/1:abc/live/0", bench.sandbox.prefix());
    std::fs::create_dir_all(&directory).unwrap();
    let bind = Mount::Bind { source: directory.clone(), read_only: true, propagation: None, create_host_path: false };
    let settings = ContainerSettings {
        volumes: Some(BTreeMap::from([("/etc/app".into(), bind)])),
        ..ContainerSettings::default()
    };
    let id = bench.engine.create_container(&bench.request("ours", settings)).await.unwrap();
    let detail = bench.inspect(&id).await.detail.unwrap();
    assert_eq!(detail.settings.volumes.unwrap()["/etc/app"], Mount::Managed { path: "live/0".into() });
    assert_eq!(detail.managed_hash.as_deref(), Some("1:abc"));
    std::fs::remove_dir_all(format!("/tmp/mastic-files/{}", bench.sandbox.prefix())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_enough_to_see_who_is_there() {
    let bench = Bench::new().await;
    let port = crate::support::free_port();
    let wanted = settings(json!({
        "ports": [{"target": 80, "protocol": "tcp", "published": port, "host_ip": "127.0.0.1"}],
        "healthcheck": {"test": ["CMD", "test", "-e", "/tmp/ok"], "interval": 1_000_000_000_i64, "retries": 1, "timeout": 5_000_000_000_i64},
    }));
    let mut events = bench.engine.events().await.unwrap();
    let id = bench.run("listed", wanted).await;
    let entry = || async {
        let all = bench.engine.list_containers().await.unwrap();
        all.into_iter().find(|entry| entry.id == id).unwrap()
    };
    let first = entry().await;
    assert_eq!((first.name, first.status), (bench.sandbox.name("listed"), Status::Running));
    assert_eq!((first.image, first.image_id), (bench.image.clone(), bench.image_id.clone()));
    assert_eq!(first.host_ports, [("127.0.0.1".to_owned(), port, "tcp".to_owned())]);
    assert_eq!(bench.inspect(&id).await.host_ports, first.host_ports);
    assert_eq!(first.labels["mastic.site"], "demo");

    let mut seen = Vec::new();
    let unhealthy = async {
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            assert!(!event.action.starts_with("exec"), "{event:?}");
            if event.id == id || event.container.as_ref() == Some(&id) {
                seen.push(event.action.clone());
                if event.health == Health::Unhealthy {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), unhealthy).await.expect("it becomes unhealthy");
    assert_eq!(seen, ["create", "connect", "start", "health_status"]);
    assert_eq!(entry().await.health, Health::Unhealthy);
    assert_eq!(bench.inspect(&id).await.state.health, Health::Unhealthy);
    let references: Vec<String> =
        bench.engine.list_images().await.unwrap().into_iter().flat_map(|image| image.references).collect();
    assert!(references.contains(&bench.image));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_not_the_specs_fault() {
    let bench = Bench::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let wanted =
        settings(json!({"ports": [{"target": 80, "protocol": "tcp", "published": port, "host_ip": "127.0.0.1"}]}));
    let id = bench.engine.create_container(&bench.request("taken", wanted)).await.unwrap();
    let error = bench.engine.start_container(&id).await.unwrap_err();
    assert!(matches!(&error, EngineError::Failed(text) if text.contains("address already in use")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_unreachable() {
    let endpoint = Endpoint::Unix("/tmp/no-such-engine.sock".into());
    let options = ConnectOptions { endpoint, ..ConnectOptions::default() };
    let engine = DockerEngine::new(&options, Arc::new(|_| None)).unwrap();
    let error = engine.version().await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Unreachable(text) if text.contains("No such file or directory") && text.contains("unix:///tmp/no-such-engine.sock")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_answer_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mute.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let options = ConnectOptions { endpoint: Endpoint::Unix(path), answer: Span(200) };
    let engine = DockerEngine::new(&options, Arc::new(|_| None)).unwrap();
    assert_eq!(engine.version().await, Err(EngineError::Timeout(Span(200))));
    assert_eq!(engine.list_containers().await, Err(EngineError::Timeout(Span(200))));
}
