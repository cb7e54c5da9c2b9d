use crate::model::desired::HostDesired;
use crate::model::time::Span;
use crate::resolve::compile::compile;
use crate::resolve::testing::{Memory, request};

const WEB: &str = r#"
apiVersion: mastic/v1
kind: Role
metadata: {name: web}
spec:
  vars: {web_drain: {type: duration, default: 20s}}
  services: {web: {image: web}}
  provides:
    page: {port: 80, frontend: {mode: http}, drain: {timeout: "{{ web_drain }}"}}
    admin: {port: 81, frontend: {mode: http}, drain: {}}
    plain: {port: 82, frontend: {mode: http}}
"#;

const LB: &str = r"
apiVersion: mastic/v1
kind: Role
metadata: {name: lb}
spec:
  services: {lb: {image: lb}, other: {image: lb}}
  balancer: {exec: {in: lb, command: [keep]}, every: 2s}
";

fn compiled(roles: &str, host: &str, web: &str, lb: &str) -> Result<HostDesired, String> {
    let site = format!(
        "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: s}}\nspec:\n  hosts: {{a: {{}}, b: {{vars: {{web_drain: 40s}}}}}}\n  roles: [{roles}]\n"
    );
    let files = [("site.yaml", site.as_str()), ("roles/web/role.yaml", web), ("roles/lb/role.yaml", lb)];
    let request = crate::resolve::compile::CompileRequest { host: Some(host.to_owned()), ..request(&["site.yaml"]) };
    compile(&request, &Memory::new(&files)).map(|compiled| compiled.desired).map_err(|errors| errors.render(false))
}

const BOTH: &str = "{role: web, hosts: [a, b]}, {role: lb, hosts: [b], name: edge}";

#[test]
fn instances_know_their_load_balancers_and_load_balancers_their_servers() {
    let a = compiled(BOTH, "a", WEB, LB).unwrap();
    let [(service, drain)] = &a.drains.iter().collect::<Vec<_>>()[..] else { panic!("{:?}", a.drains) };
    assert_eq!((service.as_str(), drain.timeout), ("web", Span::seconds(30)), "the longest of its endpoints");
    assert_eq!(drain.servers, ["page/a", "admin/a"]);
    let balancers: Vec<(&str, &str)> =
        drain.balancers.iter().map(|(host, service)| (host.as_str(), service.as_str())).collect();
    assert_eq!(balancers, [("b", "edge")]);
    assert!(a.balancers.is_empty(), "it is on the other host");
    let b = compiled(BOTH, "b", WEB, LB).unwrap();
    assert_eq!(b.drains.values().map(|drain| drain.timeout).collect::<Vec<_>>(), [Span::seconds(40)]);
    let [(service, balancer)] = &b.balancers.iter().collect::<Vec<_>>()[..] else { panic!("{:?}", b.balancers) };
    assert_eq!((service.as_str(), balancer.every, balancer.timeout), ("edge", Span::seconds(2), Span::seconds(5)));
    assert_eq!(balancer.command, ["keep"]);
    let servers: Vec<&str> = balancer.servers.keys().map(String::as_str).collect();
    assert_eq!(servers, ["admin/a", "admin/b", "page/a", "page/b"]);
}

#[test]
fn where_there_is_nobody_to_do_it_or_nobody_to_be_led_away_nothing_is_said() {
    let alone = compiled("{role: web, hosts: [a]}", "a", WEB, LB).unwrap();
    assert!(alone.drains.is_empty() && alone.balancers.is_empty());
    let without = WEB.replace(", drain: {}", "").replace(", drain: {timeout: \"{{ web_drain }}\"}", "");
    let b = compiled(BOTH, "b", &without, LB).unwrap();
    assert!(b.drains.is_empty() && b.balancers.is_empty());
}

#[test]
fn mistakes_are_told_where_they_were_made() {
    let no_frontend = WEB.replace("{port: 81, frontend: {mode: http}, drain: {}}", "{port: 81, drain: {}}");
    let no_duration = WEB.replace("default: 20s", "default: soon").replace("type: duration", "type: string");
    let no_service = LB.replace("{in: lb,", "{in: lbb,");
    for (host, web, lb, expected) in [
        ("a", no_frontend.as_str(), LB, "`admin` has `drain` and no `frontend`"),
        ("a", no_duration.as_str(), LB, "`soon` is no duration"),
        ("b", WEB, no_service.as_str(), "`lbb` is no service of this role"),
    ] {
        let error = compiled(BOTH, host, web, lb).unwrap_err();
        assert!(error.contains(expected) && error.contains("role.yaml:"), "{error}");
    }
}
