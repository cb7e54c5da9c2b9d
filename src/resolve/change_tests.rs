//! Changes of roles as an author and an operator meet them.

use crate::model::desired::{DependencyTarget, HostDesired};
use crate::resolve::compile::{CompileRequest, compile};
use crate::resolve::testing::{Memory, request};

const SITE: &str = "
apiVersion: mastic/v1
kind: Site
metadata: {name: demo}
spec:
  hosts: {one: {address: 10.0.0.1}, two: {address: 10.0.0.2}}
  vars: {level: info}
  roles: [{role: app, hosts: [one, two]}, {role: app, name: second, hosts: [two]}]
";

const STEPS: &str = "{when: [image, schema], steps: [{job: expand}, {roll: app, until: updated-everywhere}, {job: contract, irreversible: true}]}";

fn role(changes: &str, job: &str) -> String {
    format!(
        "
apiVersion: mastic/v1
kind: Role
metadata: {{name: app}}
spec:
  vars:
    tag: {{type: string, default: '1'}}
    level: {{type: string, default: info}}
    schema: {{type: integer, default: 1}}
  services: {{app: {{image: \"app:{{{{ tag }}}}\", environment: {{LEVEL: \"{{{{ level }}}}\"}}}}}}
  jobs:
    expand: {{like: app, command: [expand]{job}}}
    contract: {{like: app, command: [contract]}}
  changes: {{{changes}}}
"
    )
}

fn compiled(role: &str, host: &str, vars: &[(&str, &str)]) -> Result<HostDesired, String> {
    let files = Memory::new(&[("site.yaml", SITE), ("roles/app/role.yaml", role)]);
    let extra_vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = CompileRequest { host: Some(host.to_owned()), extra_vars, ..request(&["site.yaml"]) };
    compile(&request, &files).map(|compiled| compiled.desired).map_err(|errors| errors.render(false))
}

fn step_before(desired: &HostDesired, name: &str) -> Vec<String> {
    let job = desired.jobs.get(name).map(|job| &job.depends_on);
    let needs = job.or_else(|| desired.services.get(name).map(|spec| &spec.depends_on)).unwrap();
    needs.iter().filter(|(_, need)| need.on == DependencyTarget::Step).map(|(name, _)| name.clone()).collect()
}

#[test]
fn each_step_waits_for_the_one_before_it_under_every_name() {
    let role = role(&format!("upgrade: {STEPS}"), "");
    let one = compiled(&role, "one", &[]).unwrap();
    assert_eq!(step_before(&one, "expand"), Vec::<String>::new());
    assert_eq!((step_before(&one, "app"), step_before(&one, "contract")), (vec!["expand".into()], vec!["app".into()]));
    assert_eq!(one.placement["app"].len(), 2, "where the service is, the job has to know");
    let two = compiled(&role, "two", &[]).unwrap();
    assert!(two.jobs.get("expand").is_none(), "jobs are on the first host");
    assert_eq!(
        (step_before(&two, "app"), step_before(&two, "second")),
        (vec!["expand".into()], vec!["second-expand".into()])
    );
    let names: Vec<&str> = two.changes.iter().map(|change| change.change.as_str()).collect();
    assert_eq!(names, ["app/upgrade", "second/upgrade"]);
    let irreversible = |name: &str| one.jobs[name].step.as_ref().unwrap().irreversible;
    assert!(!irreversible("expand") && irreversible("contract") && !one.services["app"].steps[0].irreversible);
}

#[test]
fn what_comes_after_a_step_that_cannot_be_taken_back_cannot_either() {
    let role = role("major: {steps: [{roll: app, irreversible: true}, {job: contract}]}", "");
    let one = compiled(&role, "one", &[]).unwrap();
    assert!(one.services["app"].steps[0].irreversible && one.jobs["contract"].step.as_ref().unwrap().irreversible);
    assert!(one.jobs["expand"].step.is_none(), "it is a step of nothing");
}

#[test]
fn a_version_is_what_the_change_is_about_and_nothing_else() {
    let role = role(&format!("upgrade: {STEPS}"), "");
    let version = |vars: &[(&str, &str)]| {
        let desired = compiled(&role, "one", vars).unwrap();
        let job = &desired.jobs["expand"];
        assert_eq!(job.input_hash, desired.services["app"].steps[0].version);
        job.input_hash.clone()
    };
    let before = version(&[]);
    assert_eq!(before, version(&[("level", "debug")]));
    assert_ne!(before, version(&[("tag", "2")]));
    assert_ne!(before, version(&[("schema", "2")]));
}

#[test]
fn what_is_wrong_with_a_change_is_told_with_its_place() {
    let told = |changes: &str, job: &str| match compiled(&role(changes, job), "one", &[]) {
        Ok(_) => "nothing".to_owned(),
        Err(text) => text,
    };
    for (changes, job, wanted) in [
        ("a: {steps: [{job: expnd}]}", "", "`expnd` is no job of this role"),
        ("a: {steps: [{roll: expand}]}", "", "`expand` is no service of this role"),
        ("a: {steps: [{job: expand, roll: app}]}", "", "needs one of `job`, `roll`"),
        ("a: {steps: [{job: expand, until: updated-everywhere}]}", "", "`until` is about `roll`"),
        ("a: {steps: []}", "", "has no steps"),
        ("a: {when: [imag], steps: [{job: expand}]}", "", "`imag` is neither `image` nor a variable of this role"),
        ("a: {steps: [{job: expand}, {job: expand}]}", "", "is a step of this change already"),
        ("a: {steps: [{job: expand}]}, b: {steps: [{job: expand}]}", "", "is a step of two changes"),
        ("a: {steps: [{job: expand}]}", ", inputs: {a: b}", "is a step of a change and has `inputs`"),
        ("a: {steps: [{job: expand}, {roll: app}]}", ", depends_on: {app: {}}", "wait for each other"),
    ] {
        let text = told(changes, job);
        assert!(text.contains(wanted) && text.contains("roles/app/role.yaml"), "{changes}{job}: {text}");
    }
}
