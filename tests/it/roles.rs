//! The roles that the program brings along: each is sound by itself, and its README says what it takes.

use std::path::{Path, PathBuf};

use mastic::edge::site_files::DiskSiteFiles;
use mastic::parse::diagnostic::Diagnostics;
use mastic::parse::read::At;
use mastic::parse::source::{Place, Sources};
use mastic::resolve::roles::find::{Finder, known};
use mastic::resolve::roles::{alone, reference};

fn roles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("roles")
}

#[test]
fn every_role_renders_with_its_defaults() {
    let files = DiskSiteFiles::new();
    let names = known(&files, &[roles()]);
    assert!(names.len() > 2, "{names:?}");
    for name in names {
        if let Err(errors) = alone::check(&name, &[roles()], &[], &files) {
            panic!("{name}:\n{}", errors.render(false));
        }
    }
}

/// `MASTIC_UPDATE=1 cargo test --test it roles` writes the references anew.
#[test]
fn the_reference_in_a_roles_readme_is_what_the_role_says() {
    let files = DiskSiteFiles::new();
    for name in known(&files, &[roles()]) {
        let mut sources = Sources::default();
        let mut errors = Vec::new();
        let role = Finder::new(&files, vec![roles()], &mut sources)
            .find(&At::new(name.clone(), Place::default()), &mut errors);
        let role = role.unwrap_or_else(|| panic!("{}", Diagnostics::new(sources, errors).render(false)));
        let path = roles().join(&name).join("README.md");
        let readme = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let wanted = reference::put_into(&readme, &role)
            .unwrap_or_else(|| panic!("{}: {} and {} are missing", path.display(), reference::BEGIN, reference::END));
        if std::env::var_os("MASTIC_UPDATE").is_some() {
            std::fs::write(&path, wanted).unwrap();
        } else {
            assert!(readme == wanted, "{} is out of date: MASTIC_UPDATE=1 cargo test --test it roles", path.display());
        }
    }
}
