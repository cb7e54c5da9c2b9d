//! `mastic certs`: an authority whose key nobody sees, certificates that others accept, and renewal before their end.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Sandbox, docker, try_docker};

const SITE: &str = r#"
apiVersion: mastic/v1
kind: Site
metadata: {name: @}
spec:
  hosts:
    here: {connection: {local: {}}, address: 192.0.2.1}
    there: {connection: {local: {}}, address: there.example.org}
  secret_store: {file: secrets.age, identity: secrets.key}
  certificates:
    web: {ca: internal, hosts: [here], names: [www.example.org, "2001:db8::1"], days: 90}
    all: {}
  services:
    @-web:
      hosts: [here]
      image: IMAGE
      command: [sleep, "100000"]
      stop_signal: SIGKILL
      files:
        - {certificate: web, part: chain, target: /etc/tls/, name: chain.pem, on_change: {signal: CONT}}
        - {certificate: web, part: key, target: /etc/tls/, name: key.pem, on_change: {signal: CONT}}
        - {certificate: web, part: bundle, target: /etc/bundle.pem}
        - {certificate: web, part: ca, target: /etc/ca.pem}
"#;

fn site(image: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("site.yaml", &SITE.replace("IMAGE", image));
    sandbox
}

fn with_certificates(sandbox: &Sandbox) {
    sandbox.mastic(&["secrets", "generate"]).ok();
    assert!(sandbox.mastic(&["certs", "issue"]).stderr.contains("`mastic certs init` makes it"));
    sandbox.mastic(&["certs", "init"]).ok();
    sandbox.mastic(&["certs", "issue"]).ok();
}

fn listed(sandbox: &Sandbox) -> Vec<Value> {
    let run = sandbox.mastic(&["certs", "list", "-o", "json"]);
    run.json().as_array().unwrap().clone()
}

fn serial(sandbox: &Sandbox, name: &str) -> String {
    listed(sandbox).iter().find(|one| one["name"] == name).unwrap()["serial"].to_string()
}

fn openssl(arguments: &[&str], directory: &Path) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_issued_is_good_for_its_names_and_is_not_issued_again() {
    let sandbox = site("none:1");
    with_certificates(&sandbox);
    let names: Vec<String> = listed(&sandbox)
        .iter()
        .map(|one| format!("{} {} {} {}", one["name"], one["host"], one["names"], one["due"]))
        .collect();
    insta::assert_snapshot!(names.join("\n"), @r#"
    "web" "here" ["here","192.0.2.1","www.example.org","2001:db8::1"] null
    "all" "here" ["here","192.0.2.1"] null
    "all" "there" ["there","there.example.org"] null
    "#);
    let before = fs::read(sandbox.path().join("secrets.age")).unwrap();
    assert_eq!(sandbox.mastic(&["certs", "issue"]).ok(), "no certificate is due\n");
    assert!(sandbox.mastic(&["certs", "init"]).stderr.contains("there is already"));
    assert_eq!(fs::read(sandbox.path().join("secrets.age")).unwrap(), before);

    let out = sandbox.path().join("out");
    sandbox.mastic(&["--host", "here", "render", "--reveal", "--out", &out.to_string_lossy()]).ok();
    let files = out.join(sandbox.name("web")).join("etc");
    for name in ["www.example.org", "here"] {
        openssl(
            &["verify", "-CAfile", "ca.pem", "-purpose", "sslserver", "-verify_hostname", name, "tls/chain.pem"],
            &files,
        );
    }
    openssl(&["verify", "-CAfile", "ca.pem", "-verify_ip", "192.0.2.1", "tls/chain.pem"], &files);
    openssl(
        &["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", "-verify_ip", "2001:db8::1", "tls/chain.pem"],
        &files,
    );
    openssl(&["x509", "-checkend", "7600000", "-in", "tls/chain.pem"], &files);
    let of_certificate = openssl(&["x509", "-noout", "-pubkey", "-in", "tls/chain.pem"], &files);
    assert_eq!(openssl(&["pkey", "-pubout", "-in", "tls/key.pem"], &files), of_certificate);
    let read = |name: &str| fs::read_to_string(files.join(name)).unwrap();
    assert_eq!(read("bundle.pem"), read("tls/chain.pem") + &read("tls/key.pem"));

    // People see certificates and no key; the names of the store's list are the site's own.
    let shown = sandbox.path().join("shown");
    sandbox.mastic(&["--host", "here", "render", "--out", &shown.to_string_lossy()]).ok();
    let files = shown.join(sandbox.name("web")).join("etc");
    assert!(fs::read_to_string(files.join("tls/chain.pem")).unwrap().starts_with("-----BEGIN CERTIFICATE"));
    for secret in ["tls/key.pem", "bundle.pem"] {
        assert!(fs::read_to_string(files.join(secret)).unwrap().contains("bytes, binary or secret"));
    }
    assert_eq!(sandbox.mastic(&["secrets", "list"]).ok(), "");
}

#[test]
fn a_certificate_is_made_anew_when_its_declaration_changes_or_somebody_asks() {
    let sandbox = site("none:1");
    with_certificates(&sandbox);
    let (web, all) = (serial(&sandbox, "web"), serial(&sandbox, "all"));
    let text = fs::read_to_string(sandbox.path().join("site.yaml")).unwrap();
    sandbox.write("site.yaml", &text.replace("www.example.org", "api.example.org"));
    assert_eq!(sandbox.mastic(&["certs", "issue"]).ok(), "made web/here (for other names)\n");
    assert_ne!(serial(&sandbox, "web"), web);
    assert_eq!(serial(&sandbox, "all"), all);
    assert_eq!(
        sandbox.mastic(&["certs", "renew", "all"]).ok(),
        "made all/here (asked for)\nmade all/there (asked for)\n"
    );
    assert!(sandbox.mastic(&["certs", "renew", "al"]).stderr.contains("did you mean `all`?"));
    // Of what is good for 90 days, none are left 200 days before its end.
    let other = text.replace("www.example.org", "api.example.org");
    sandbox.write("site.yaml", &other.replace("days: 90", "days: 900, renew_before: 4800h"));
    assert_eq!(sandbox.mastic(&["certs", "renew"]).ok(), "made web/here (near its end)\n");
    assert_eq!(sandbox.mastic(&["certs", "renew"]).ok(), "no certificate is due\n");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let sandbox = site("none:1");
    sandbox.mastic(&["secrets", "generate"]).ok();
    let wrong = |from: &str, to: &str| {
        sandbox.write("site.yaml", &SITE.replace("IMAGE", "none:1").replace(from, to));
        sandbox.mastic(&["--host", "here", "validate"]).stderr
    };
    assert!(wrong("nothing", "else").contains("the certificate `web` for `here` is not in the store of secrets"));
    assert!(wrong("{certificate: web, part: ca,", "{certificate: wbe, part: ca,").contains("did you mean `web`?"));
    assert!(wrong("hosts: [here], names", "hosts: [there], names").contains("is not for the host `here`"));
    assert!(wrong("part: ca,", "").contains("`certificate` and `part` go together"));
    sandbox.write("site.yaml", &SITE.replace("days: 90", "days: 3, renew_before: 96h"));
    assert!(sandbox.mastic(&["certs", "list"]).stderr.contains("would be made anew all the time"));
}

#[test]
fn an_agent_renews_what_nears_its_end_and_only_tells_the_process() {
    let sandbox = Sandbox::new();
    let image = sandbox.image("app", "CMD [\"sleep\", \"100000\"]");
    // The bundle would need a new container.
    let bundle = "        - {certificate: web, part: bundle, target: /etc/bundle.pem}\n";
    let text = SITE.replace("IMAGE", &image).replace(bundle, "");
    sandbox.write("site.yaml", &text.replace("days: 90", "days: 1"));
    with_certificates(&sandbox);
    sandbox.mastic(&["--host", "here", "apply"]).ok();
    let name = sandbox.name("web");
    let chain = || try_docker(&["exec", &name, "cat", "/etc/tls/chain.pem"]).unwrap_or_default();
    let (before, old) = (chain(), serial(&sandbox, "web"));

    let started = || docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &name]);
    let container = started();
    sandbox.write("site.yaml", &text);
    let agent = sandbox.start(&["--host", "here", "agent"]);
    sandbox.wait_for("the new certificate", 30, || {
        let now = chain();
        !now.is_empty() && now != before
    });
    assert_ne!(serial(&sandbox, "web"), old);
    assert_eq!(started(), container);
    // Certificates of other hosts are theirs to renew.
    drop(agent);
    let log = fs::read_to_string(sandbox.path().join("background.log")).unwrap();
    assert!(log.contains("made certificates: web/here (near its end)") && !log.contains("PRIVATE"), "{log}");
}
