//! From folders to plans, as operators meet it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::json;

use super::catalogue::{Catalogue, Places};
use super::context;
use super::customise::{Given, Settings};
use super::graph;
use super::hash;
use super::naming::{ImageName, Naming};
use super::plan::{self, BuildPlan, Existing, Reason};
use super::recipe::{Recipe, Recipes, render};
use super::select::{Selection, select};
use crate::parse::diagnostic::Diagnostics;
use crate::resolve::testing::Memory;

const BASE: &str = "roles/base/images";

/// A base image and two from it; `web` is of another role and has a file and a script.
fn folders() -> BTreeMap<String, String> {
    let entries = [
        ("users.yaml", "users: {web: {uid: 42001, gid: 42001}, extra: {uid: 42002, gid: 42002}}\n"),
        ("base/images/variables.yaml", "mirror: http://mirror\nwords: []\n"),
        (
            "base/images/layout.j2",
            "FROM {{ parent }}\n{% block install %}\nRUN install {{ packages | join(' ') }}\n{% endblock %}\n{% block footer %}\n{% endblock %}\n",
        ),
        ("base/images/base/Dockerfile.j2", "FROM scratch\nCOPY busybox /bin/busybox\nLABEL mirror={{ mirror }}\n"),
        ("base/images/base/busybox", "#!/bin/true\n"),
        ("base/images/python/Dockerfile.j2", "{% extends 'layout.j2' %}\n"),
        ("base/images/python/image.yaml", "description: Python\nprofiles: [infra]\npackages: [python3]\n"),
        (
            "web/images/web/Dockerfile.j2",
            "{% extends \"layout.j2\" %}\n{% block footer %}\nCOPY conf/ /etc/web/\nUSER {{ user.name }}\n{% endblock %}\n",
        ),
        ("web/images/web/image.yaml", "parent: python\nprofiles: [main, infra]\nuser: web\npackages: [web, less]\n"),
        ("web/images/web/conf/web.conf.j2", "port={{ 80 }} of {{ image_name }} in {{ role_name }}\n"),
        ("web/images/web/.hidden", "no"),
        ("web/images/web/notes~", "no"),
    ];
    entries.map(|(path, text)| (format!("roles/{path}"), text.to_owned())).into()
}

fn with(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut files = folders();
    files.extend(changes.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    files
}

fn settings(given: &[(&str, serde_json::Value)]) -> Settings {
    let given = given.iter().map(|(name, value)| Given {
        name: (*name).to_owned(),
        value: value.clone(),
        origin: "--set".to_owned(),
        strict: true,
    });
    Settings { naming: Naming { tag: "1".to_owned(), ..Naming::default() }, given: given.collect() }
}

fn rendered_with(files: &BTreeMap<String, String>, settings: &Settings) -> Recipes {
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let places = Places {
        roles: vec![(PathBuf::from("site/roles"), false), (PathBuf::from("roles"), true)],
        overrides: Some(PathBuf::from("images/overrides")),
    };
    render(Catalogue::read(&places, &Memory::new(&files)), settings)
}

fn rendered(files: &BTreeMap<String, String>) -> Recipes {
    rendered_with(files, &settings(&[]))
}

/// All that is wrong, as people see it.
fn wrong_with(files: &BTreeMap<String, String>, settings: &Settings) -> String {
    let recipes = rendered_with(files, settings);
    let errors = recipes.errors.into_iter().chain(recipes.bad.into_values().flatten()).collect();
    Diagnostics::new(recipes.sources, errors).render(false)
}

fn wrong(changes: &[(&str, &str)]) -> String {
    wrong_with(&with(changes), &settings(&[]))
}

fn name(text: &str) -> ImageName {
    ImageName::new(text).unwrap()
}

fn roles(recipes: &Recipes) -> BTreeMap<ImageName, String> {
    recipes.good.values().map(|recipe| (recipe.name.clone(), recipe.role.clone())).collect()
}

#[test]
fn a_folder_becomes_a_dockerfile_and_its_context() {
    let recipes = rendered(&folders());
    assert!(recipes.errors.is_empty() && recipes.bad.is_empty(), "{}", wrong(&[]));
    let web = &recipes.good["web"];
    insta::assert_snapshot!(web.dockerfile, @r"
    FROM mastic/python:1
    RUN install web less
    COPY conf/ /etc/web/
    USER web
    ");
    let files: Vec<(&str, &str)> =
        web.files.iter().map(|(path, file)| (path.as_str(), std::str::from_utf8(&file.content).unwrap())).collect();
    assert_eq!(files, [("conf/web.conf", "port=80 of web in web\n")]);
    assert_eq!(web.parents, BTreeSet::from([name("python")]));
    assert!(recipes.good["base"].files["busybox"].executable);
    assert_eq!(web.reference, "mastic/web:1");
}

#[test]
fn a_site_changes_lists_variables_and_blocks() {
    let files = with(&[(
        "images/overrides/web.j2",
        "{% extends parent_template %}\n{% block install %}\n{{ super() }}\nRUN echo {{ words | join(',') }} {{ mirror }}\n{% endblock %}\n",
    )]);
    let changes = settings(&[
        ("web_packages_append", json!(["vim", "web"])),
        ("web_packages_remove", json!("less, more")),
        ("python_packages_override", json!([])),
        ("words", json!(["{{ mirror }}/a", 1])),
    ]);
    let recipes = rendered_with(&files, &changes);
    insta::assert_snapshot!(recipes.good["web"].dockerfile, @r"
    FROM mastic/python:1
    RUN install web vim

    RUN echo http://mirror/a,1 http://mirror
    COPY conf/ /etc/web/
    USER web
    ");
    assert!(recipes.good["python"].dockerfile.contains("RUN install \n"));
}

#[test]
fn a_folder_in_an_earlier_directory_is_taken_as_a_whole() {
    let files = with(&[
        ("site/roles/web/images/web/Dockerfile.j2", "FROM {{ parent }}\n"),
        ("site/roles/base/images/variables.yaml", "mirror: http://other\n"),
    ]);
    let recipes = rendered(&files);
    assert_eq!(recipes.good["web"].dockerfile, "FROM mastic/base:1\n");
    assert!(recipes.good["web"].files.is_empty());
    assert!(recipes.good["base"].dockerfile.contains("mirror=http://other"));
}

#[test]
fn the_install_type_is_that_of_the_image_where_it_can_be() {
    let files = with(&[
        (
            "roles/web/images/web/image.yaml",
            "source: {git: 'https://x/web', reference: v1}\nuser: web\ninputs: {extra: {file: x, when: \"{{ install_type == 'source' }}\"}}\n",
        ),
        (
            "roles/web/images/web/Dockerfile.j2",
            "FROM {{ parent }}\nRUN {{ install_type }} {{ source.requirement }} {{ files | join(' ') }}\n",
        ),
        ("roles/base/images/python/Dockerfile.j2", "FROM {{ parent }}\nRUN {{ install_type }}\n"),
    ]);
    let line = |given: &[(&str, serde_json::Value)], image: &str| {
        let recipes = rendered_with(&files, &settings(given));
        recipes.good[image].dockerfile.lines().last().unwrap().to_owned()
    };
    assert_eq!(line(&[], "web"), "RUN distribution web @ git+https://x/web@v1 conf/ conf/web.conf");
    let source = [("install_type", json!("source"))];
    assert_eq!(line(&source, "web"), "RUN source web @ git+https://x/web@v1 conf/ conf/web.conf extra");
    assert_eq!(line(&source, "python"), "RUN distribution");
    assert_eq!(line(&[("web_install_type", json!("source"))], "python"), "RUN distribution");
    insta::assert_snapshot!(wrong_with(&files, &settings(&[("python_install_type", json!("source"))])), @"error[V002]: `python_install_type` is `source`, and `python` can only be distribution");
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    insta::assert_snapshot!(wrong(&[("roles/web/images/web/image.yaml", "description: x\nparent: pyhton\n")]), @r"
    error[R001]: there is no image `pyhton`, which is to be the parent of `web`
     --> roles/web/images/web/image.yaml:2:9
      |
    2 | parent: pyhton
      |         ^^^^^^
      |
      = help: did you mean `python`?
    ");
    insta::assert_snapshot!(wrong(&[("roles/web/images/web/Dockerfile.j2", "# x\nFROM {{ image('pyton') }}\nRUN {{ mirorr }}\n")]), @r"
    error[T001]: there is no image of this name in `image('pyton')`
     --> roles/web/images/web/Dockerfile.j2:2:9
      |
    2 | FROM {{ image('pyton') }}
      |         ^^^^^^^^^^^^^^
      |
      = help: did you mean `python`?
    ");
    insta::assert_snapshot!(wrong(&[("roles/web/images/web/conf/web.conf.j2", "a\nb={{ mirorr }}\n")]), @r"
    error[T001]: `mirorr` is undefined
     --> roles/web/images/web/conf/web.conf.j2:2:6
      |
    2 | b={{ mirorr }}
      |      ^^^^^^
      |
      = help: did you mean `mirror`?
    ");
    insta::assert_snapshot!(wrong(&[("roles/web/images/web/image.yaml", "user: wbe\nprofile: [x]\n")]), @r"
    error[K001]: an image has no key `profile`
     --> roles/web/images/web/image.yaml:2:1
      |
    2 | profile: [x]
      | ^^^^^^^
      |
      = help: did you mean `profiles`?
    ");
    insta::assert_snapshot!(wrong(&[("roles/web/images/web/image.yaml", "user: wbe\n")]).lines().next().unwrap(), @"error[R001]: the user `wbe` has no uid: it is not in users.yaml");
    insta::assert_snapshot!(wrong(&[("roles/web/images/web/Dockerfile.j2", "RUN true\n")]).lines().next().unwrap(), @"error[V002]: the Dockerfile of `web` has no FROM");
}

#[test]
fn a_change_of_a_list_that_is_not_used_is_an_error() {
    let files = with(&[("roles/web/images/web/Dockerfile.j2", "FROM {{ parent }}\nRUN install web\n")]);
    insta::assert_snapshot!(wrong_with(&files, &settings(&[("web_packages_append", json!(["vim"]))])), @r"
    error[V002]: `web_packages_append` changes nothing: the Dockerfile.j2 of `web` does not use `packages`
     |
     = help: change a block of it in images/overrides instead
    ");
}

#[test]
fn what_is_wrong_beyond_an_image_is_told_too() {
    insta::assert_snapshot!(wrong(&[("roles/users.yaml", "users:\n  web: {uid: 1, gid: 1}\n  bew: {uid: 1, gid: 2}\n")]), @r"
    error[R003]: `bew` has the number 1, which is that of `web`
     --> roles/users.yaml:3:3
      |
    2 |   web: {uid: 1, gid: 1}
      |   --- here first
    3 |   bew: {uid: 1, gid: 2}
      |   ^^^
      |
      = help: files of one would be those of the other
    ");
    insta::assert_snapshot!(wrong(&[("roles/zoo/images/web/Dockerfile.j2", "FROM x\n")]), @"error[F001]: two images are called `web`: roles/web/images/web/Dockerfile.j2 and roles/zoo/images/web/Dockerfile.j2");
    insta::assert_snapshot!(wrong(&[("roles/zoo/images/Zoo/Dockerfile.j2", "FROM x\n")]), @"error[F001]: roles/zoo/images/Zoo: `Zoo` is no image reference: a repository is written in lower case");
    insta::assert_snapshot!(wrong(&[("roles/zoo/images/zoo/README", "x\n")]), @"error[F001]: the folder of the image `zoo` has no Dockerfile.j2: roles/zoo/images/zoo");
    insta::assert_snapshot!(wrong(&[("images/overrides/wbe.j2", "x")]), @r"
    error[R001]: `images/overrides/wbe.j2` overrides an image that does not exist
     |
     = help: did you mean `web`?
    ");
    insta::assert_snapshot!(wrong_with(&folders(), &settings(&[("web_packages_apend", json!([]))])), @r"
    error[R001]: --set: no image has a variable `web_packages_apend`
     |
     = help: did you mean `web_packages_append`?
    ");
    insta::assert_snapshot!(wrong(&[("roles/zoo/images/variables.yaml", "mirror: x\nparent: y\n")]), @r"
    error[R003]: the variable `mirror` is declared by `base` and by `zoo`
     --> roles/zoo/images/variables.yaml:1:1
      |
    1 | mirror: x
      | ^^^^^^
      |
     ::: roles/base/images/variables.yaml:1:1
      |
    1 | mirror: http://mirror
      | ------ here first

    error[N001]: `parent` means something in templates already; choose another name for the variable
     --> roles/zoo/images/variables.yaml:2:1
      |
    2 | parent: y
      | ^^^^^^
    ");
}

#[test]
fn one_broken_image_keeps_no_other_from_being_built() {
    let recipes = rendered(&with(&[("roles/web/images/web/Dockerfile.j2", "FROM {{ nothing }}\n")]));
    assert!(recipes.errors.is_empty());
    assert_eq!(recipes.bad.keys().map(ImageName::as_str).collect::<Vec<_>>(), ["web"]);
    assert_eq!(recipes.good.len(), 2);
}

#[test]
fn the_graph_has_parents_and_what_is_foreign() {
    let recipes = rendered(&with(&[(
        "roles/web/images/web/Dockerfile.j2",
        "FROM golang:1 AS build\nFROM {{ parent }}\nCOPY --from=build /a /b\nCOPY --from={{ image('base') }} /c /d\n",
    )]));
    insta::assert_snapshot!(graph::dot(&recipes.good), @r#"
    digraph images {
        rankdir=LR
        node [shape=box]
        "golang:1" [style=dashed]
        "base"
        "python"
        "base" -> "python"
        "web"
        "base" -> "web"
        "python" -> "web"
        "golang:1" -> "web"
    }
    "#);
    let order: Vec<String> = graph::order(&recipes.good).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(order, ["base", "python", "web"]);
}

#[test]
fn images_that_are_built_from_each_other_are_an_error() {
    let recipes = rendered(&with(&[(&format!("{BASE}/python/Dockerfile.j2"), "FROM {{ image('web') }}\n")]));
    let error = graph::order(&recipes.good).unwrap_err();
    assert_eq!(error.message, "images are built from each other: python <- web <- python");
}

#[test]
fn images_are_selected_by_name_role_pattern_and_profile() {
    let recipes = rendered(&folders());
    let of = |names: &[&str], profiles: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selection { names: own(names), profiles: own(profiles) };
        match select(&recipes, &roles(&recipes), &selection) {
            Ok(found) => found.iter().map(ImageName::as_str).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(of(&[], &[]), "base python web");
    assert_eq!(of(&["base"], &[]), "base python");
    assert_eq!(of(&["py*", "web"], &[]), "python web");
    assert_eq!(of(&[], &["infra"]), "python web");
    assert_eq!(of(&["base"], &["main"]), "");
    assert_eq!(of(&["pyhton"], &[]), "there is no image or role `pyhton`; did you mean `python`?");
    assert_eq!(of(&[], &["infar"]), "there is no profile `infar`; did you mean `infra`?");
}

/// An engine, as far as plans see it.
#[derive(Clone, Default)]
struct Engine(BTreeMap<ImageName, Existing>);

impl Engine {
    fn plan(&self, recipes: &BTreeMap<ImageName, Recipe>, selected: &[&str], force: bool) -> BuildPlan {
        let selected: BTreeSet<ImageName> = match selected {
            [] => recipes.keys().cloned().collect(),
            names => names.iter().map(|text| name(text)).collect(),
        };
        let needed = graph::with_ancestors(recipes, &selected);
        let mut recipes = recipes.clone();
        recipes.retain(|name, _| needed.contains(name));
        let order = graph::order(&recipes).unwrap();
        let mut hashes = BTreeMap::new();
        for name in &order {
            let hash = hash::hash(&recipes[name], &BTreeMap::new(), &hashes);
            hashes.insert(name.clone(), hash);
        }
        let existing = &self.0;
        plan::plan(&plan::Request {
            recipes: &recipes,
            order: &order,
            selected: &selected,
            hashes: &hashes,
            existing,
            force,
        })
    }

    /// Does what a plan says; `layer` makes new layers unlike those before.
    fn build(&mut self, plan: &BuildPlan, layer: &str) {
        for entry in plan.entries.iter().filter(|entry| entry.reason.is_some()) {
            let below = entry.parents.iter().next().and_then(|parent| self.0.get(parent));
            let mut layers = below.map(|parent| parent.layers.clone()).unwrap_or_default();
            layers.push(format!("{} {layer}", entry.name));
            let existing = Existing { id: layers.join("/"), hash: Some(entry.hash.clone()), layers };
            self.0.insert(entry.name.clone(), existing);
        }
    }
}

fn told(plan: &BuildPlan) -> String {
    let line = |entry: &plan::Entry| {
        let what = entry.reason.as_ref().map_or_else(|| "keep".to_owned(), ToString::to_string);
        format!("{}: {what}\n", entry.name)
    };
    plan.entries.iter().map(line).collect()
}

#[test]
fn nothing_is_built_twice_and_a_change_builds_what_is_made_of_it() {
    let recipes = rendered(&folders()).good;
    let mut engine = Engine::default();
    let plan = engine.plan(&recipes, &[], false);
    insta::assert_snapshot!(told(&plan), @r"
    base: it is not there
    python: it is not there
    web: it is not there
    ");
    engine.build(&plan, "1");
    let again = engine.plan(&recipes, &[], false);
    assert_eq!((again.builds(), again.entries.len()), (0, 3));

    let changed = rendered(&with(&[(&format!("{BASE}/python/image.yaml"), "packages: [python3, pip]\n")])).good;
    insta::assert_snapshot!(told(&engine.plan(&changed, &[], false)), @r"
    base: keep
    python: what it is made of has changed
    web: what it is made of has changed
    ");
    // Only what is needed besides what was asked for is built, and only that is told.
    insta::assert_snapshot!(told(&engine.plan(&changed, &["web"], false)), @r"
    python: what it is made of has changed
    web: what it is made of has changed
    ");
    assert_eq!(engine.plan(&changed, &["base"], false).builds(), 0);
    let file = rendered(&with(&[("roles/web/images/web/conf/web.conf.j2", "other")])).good;
    assert_eq!(engine.plan(&file, &[], false).builds(), 1);
}

#[test]
fn children_follow_a_parent_that_was_built_anew() {
    let recipes = rendered(&folders()).good;
    let mut engine = Engine::default();
    engine.build(&engine.plan(&recipes, &[], false), "1");
    let forced = engine.plan(&recipes, &["python"], true);
    assert_eq!(told(&forced), "python: forced\n");
    assert_eq!(engine.plan(&recipes, &[], true).builds(), 3);
    engine.build(&forced, "2");
    insta::assert_snapshot!(told(&engine.plan(&recipes, &[], false)), @r"
    base: keep
    python: keep
    web: its parent `python` has been built anew since
    ");
    // One that was removed is built only where something needs it.
    engine.build(&engine.plan(&recipes, &[], false), "3");
    engine.0.remove("base");
    assert_eq!(engine.plan(&recipes, &["web"], false).builds(), 0);
    insta::assert_snapshot!(told(&engine.plan(&recipes, &[], false)), @r"
    base: it is not there
    python: its parent `base` is built
    web: its parent `python` is built
    ");
    engine.0.get_mut("web").unwrap().hash = None;
    assert_eq!(engine.plan(&recipes, &["web"], false).entries.last().unwrap().reason, Some(Reason::Foreign));
}

#[test]
fn a_hash_covers_contents_modes_and_names_and_no_proxies() {
    let of = |files: &BTreeMap<String, String>, given: &[(&str, serde_json::Value)]| {
        let recipes = rendered_with(files, &settings(given)).good;
        hash::hash(&recipes["base"], &BTreeMap::from([("x".to_owned(), "1".to_owned())]), &BTreeMap::new())
    };
    let plain = of(&folders(), &[]);
    assert!(plain.starts_with("1:") && plain.len() == 66, "{plain}");
    assert_eq!(of(&folders(), &[("http_proxy", json!("http://proxy:3128"))]), plain);
    assert_ne!(of(&folders(), &[("mirror", json!("http://other"))]), plain);
    let busybox = format!("{BASE}/base/busybox");
    assert_ne!(of(&with(&[(&busybox, "#!/bin/false\n")]), &[]), plain);
    let mut renamed = folders();
    let content = renamed.remove(&busybox).unwrap();
    renamed.insert(format!("{BASE}/base/busybix"), content);
    assert_ne!(of(&renamed, &[]), plain);
    let proxied = rendered_with(&folders(), &settings(&[("http_proxy", json!("http://proxy:3128"))])).good;
    let names: Vec<&str> = proxied["base"].proxies.keys().map(String::as_str).collect();
    assert_eq!(names, ["HTTP_PROXY", "http_proxy"]);
}

#[test]
fn a_context_is_the_same_bytes_whenever_it_is_made() {
    let recipes = rendered(&folders()).good;
    let archive = || {
        let content = std::io::Cursor::new(b"program".to_vec());
        let supplied = context::Supplied { content: Box::new(content), size: 7, executable: true };
        let mut bytes = Vec::new();
        context::write(&recipes["web"], BTreeMap::from([("a/start".to_owned(), supplied)]), &mut bytes).unwrap();
        bytes
    };
    let bytes = archive();
    assert_eq!(bytes, archive());
    let mut listed = String::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        let (mode, mtime, size) = (header.mode().unwrap(), header.mtime().unwrap(), header.size().unwrap());
        listed += &format!("{:04o} {mtime} {size} {}\n", mode, entry.path().unwrap().display());
    }
    insta::assert_snapshot!(listed, @r"
    0644 0 72 Dockerfile
    0755 0 0 a/
    0755 0 7 a/start
    0755 0 0 conf/
    0644 0 22 conf/web.conf
    ");
}

#[test]
fn the_roles_that_come_along_and_the_example_can_be_rendered() {
    for given in [&[][..], &[("install_type", json!("source"))], &[("base_image", json!("debian:bookworm"))]] {
        let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/images");
        let built_in = PathBuf::from(crate::resolve::roles::find::BUILT_IN);
        let places = Places {
            roles: vec![(example.join("roles"), true), (built_in, true)],
            overrides: Some(example.join("images/overrides")),
        };
        let catalogue = Catalogue::read(&places, &crate::edge::site_files::DiskSiteFiles::new());
        let recipes = render(catalogue, &settings(given));
        let errors = recipes.errors.into_iter().chain(recipes.bad.into_values().flatten()).collect();
        let found = Diagnostics::new(recipes.sources, errors);
        assert!(found.is_empty(), "{}", found.render(false));
        graph::order(&recipes.good).unwrap();
        assert!(recipes.good["hello"].dockerfile.contains("The site was here"));
        let base = &recipes.good["base"];
        let is_bootstrapped = base.inputs.contains_key("rootfs.tar");
        assert_eq!(is_bootstrapped, !base.dockerfile.contains("FROM debian:bookworm"), "{}", base.dockerfile);
    }
}
