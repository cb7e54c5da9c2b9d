//! One controller and five real hosts over SSH: each with its own address, sshd and dockerd.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{Lab, Sandbox};

const HOSTS: [&str; 5] = ["h1", "h2", "h3", "h4", "h5"];

/// A site of one web server on each host, answering on the host's port 8080.
fn site(sandbox: &Sandbox, lab: &Lab, image: &str, word: &str, rollout: &str) {
    let hosts = HOSTS.map(|host| format!("    {host}: {{address: {}, groups: [web]}}\n", lab.address(host))).concat();
    let (user, password) = lab.registry_login();
    let (registry, key, known) = (lab.registry(), lab.ssh_key(), lab.known_hosts());
    sandbox.write("password", password);
    sandbox.write(
        "site.yaml",
        &format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: {}}}\nspec:\n  \
             defaults:\n    connection: {{ssh: {{user: deploy, identity_file: {}, known_hosts: {}, agent: false, config: false}}}}\n  \
             hosts:\n{hosts}  secrets: {{registry: {{file: password}}}}\n  \
             images: {{auth: {{\"{registry}\": {{username: {user}, password: {{secret: registry}}}}}}}}\n  services:\n    web:\n      \
             hosts: [web]\n      image: \"{image}\"\n      command: [httpd, -f, -p, \"8080\", -h, /www]\n      \
             network_mode: host\n      init: true\n      \
             files: [{{content: \"{word} from {{{{ host.name }}}}\", target: /www/index.html, mode: \"0644\"}}]\n      \
             ready: {{http: {{port: 8080, path: /}}, every: 200ms}}\n      rollout: {rollout}\n",
            sandbox.prefix(),
            key.display(),
            known.display()
        ),
    );
}

/// What a host answers; none where it does not.
pub fn page(lab: &Lab, host: &str) -> Option<String> {
    let address: SocketAddr = format!("{}:8080", lab.address(host)).parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.rsplit("\r\n\r\n").next().map(str::to_owned).filter(|_| answer.contains("200 OK"))
}

fn pages(lab: &Lab) -> BTreeMap<&'static str, String> {
    HOSTS.iter().filter_map(|host| Some((*host, page(lab, host)?))).collect()
}

/// What every host should answer.
fn all(word: &str) -> BTreeMap<&'static str, String> {
    HOSTS.iter().map(|host| (*host, format!("{word} from {host}"))).collect()
}

/// Asks all hosts again and again, from outside, until it is dropped.
pub struct Sampler {
    ends: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
    rounds: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Sampler {
    /// Begins with these hosts.
    pub fn begin(lab: &Lab, hosts: &[&'static str]) -> Self {
        let (ends, most, rounds) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let down = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
        let threads = hosts.iter().copied().map(|host| {
            let address: SocketAddr = format!("{}:8080", lab.address(host)).parse().unwrap();
            let (ends, down) = (Arc::clone(&ends), Arc::clone(&down));
            let (most, rounds): (Arc<AtomicUsize>, Arc<AtomicUsize>) = (Arc::clone(&most), Arc::clone(&rounds));
            std::thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let is_up = TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok();
                    let mut down = down.lock().unwrap();
                    let _changed = if is_up { down.remove(host) } else { down.insert(host) };
                    most.fetch_max(down.len(), Ordering::Relaxed);
                    drop(down);
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            })
        });
        Self { threads: threads.collect(), ends: ends.clone(), most, rounds }
    }

    /// The most hosts that were down at once.
    pub fn most_down(mut self) -> usize {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        assert!(self.rounds.load(Ordering::Relaxed) > 20, "it has looked");
        self.most.load(Ordering::Relaxed)
    }
}

/// When each container was made, host by host.
fn ids(lab: &Lab) -> BTreeMap<&'static str, String> {
    HOSTS.iter().map(|host| (*host, lab.on(host, &["docker", "ps", "-q", "--no-trunc"]))).collect()
}

#[test]
fn five_hosts_over_ssh() {
    let lab = Lab::up(HOSTS.len());
    let sandbox = Sandbox::new();
    let image = lab.push(&sandbox.image("web", ""));
    let bad = lab.push(&sandbox.image("bad", "ENTRYPOINT [\"false\"]\n"));

    // All at once, pulled from a registry with a login; the second time there is nothing to do.
    site(&sandbox, &lab, &image, "one", "{min_ready: 1s}");
    let plan = sandbox.mastic(&["plan", "-o", "json"]).json();
    assert_eq!(plan["changes"], 5, "{plan}");
    sandbox.mastic(&["apply", "--timeout", "300s"]).ok();
    assert_eq!(pages(&lab), all("one"));
    let before = ids(&lab);
    assert_eq!(sandbox.mastic(&["plan", "--detailed-exitcode"]).code, 0);
    sandbox.mastic(&["apply", "--timeout", "300s"]).ok();
    assert_eq!(ids(&lab), before);

    // One host alone is meant, the others are left.
    site(&sandbox, &lab, &image, "two", "{min_ready: 1s}");
    sandbox.mastic(&["--host", "h4", "apply", "--timeout", "300s"]).ok();
    assert_eq!(page(&lab, "h4").as_deref(), Some("two from h4"));
    assert_eq!(page(&lab, "h1").as_deref(), Some("one from h1"));

    // The rest follows, one at a time, as seen from outside.
    let sampler = Sampler::begin(&lab, &HOSTS);
    sandbox.mastic(&["apply", "--timeout", "300s"]).ok();
    assert_eq!(sampler.most_down(), 1);
    assert_eq!(pages(&lab), all("two"));

    // A bad image ends at the first host, and there it is taken back.
    let before = ids(&lab);
    site(&sandbox, &lab, &bad, "three", "{min_ready: 1s, deadline: 60s, max_unavailable: 2}");
    let failed = sandbox.mastic(&["apply", "--timeout", "300s"]);
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("the rollout is halted: it failed on h1"), "{}", failed.stderr);
    sandbox.wait_for("the old one on h1", 300, || pages(&lab) == all("two"));
    let after = ids(&lab);
    assert_eq!(after, before, "the same containers run as before");

    // A controller keeps at it; a second one waits, and commands go through the first.
    site(&sandbox, &lab, &image, "four", "{min_ready: 1s, max_unavailable: 2}");
    let controller = sandbox.start(&["controller"]);
    sandbox.wait_for("the fix everywhere", 300, || pages(&lab) == all("four"));
    let second = sandbox.start(&["controller"]);
    sandbox.wait_for("the second to wait", 300, || second.log().contains("waiting until it is free"));
    sandbox.mastic(&["apply", "--timeout", "300s"]).ok();
    lab.on("h3", &["docker", "rm", "-f", "web"]);
    sandbox.wait_for("h3 to be healed", 300, || pages(&lab) == all("four"));

    // Cut off in the middle of a rollout: the others go on, and it catches up.
    site(&sandbox, &lab, &image, "five", "{min_ready: 1s, max_unavailable: 2}");
    sandbox.wait_for("the rollout to begin", 300, || page(&lab, "h1").as_deref() == Some("five from h1"));
    lab.partition("h5");
    let others = |word: &str| {
        let mut expected = all(word);
        expected.remove("h5");
        expected
    };
    sandbox.wait_for("the others", 300, || {
        pages(&lab).into_iter().filter(|(host, _)| *host != "h5").collect::<BTreeMap<_, _>>() == others("five")
    });
    lab.heal("h5");
    sandbox.wait_for("h5 to catch up", 300, || pages(&lab) == all("five"));

    // Killed in a rollout, the second takes over and ends it.
    let sampler = Sampler::begin(&lab, &HOSTS);
    site(&sandbox, &lab, &image, "six", "{min_ready: 1s}");
    let has_begun = || pages(&lab).values().any(|page| page.starts_with("six"));
    sandbox.wait_for("the rollout to begin", 300, has_begun);
    controller.kill();
    sandbox.wait_for("the second to end it", 300, || pages(&lab) == all("six"));
    assert!(sampler.most_down() <= 1);
    second.stop(30);

    sandbox.mastic(&["destroy", "--yes"]).ok();
    for host in HOSTS {
        assert_eq!(lab.on(host, &["docker", "ps", "-aq"]), "", "{host}");
    }
}
