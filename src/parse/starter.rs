//! What `mastic init` writes: a small site with comments that runs as it is.

/// `site.yaml`.
pub const STARTER: &str = include_str!("starter/site.yaml");
/// The template beside it.
pub const STARTER_TEMPLATE: &str = include_str!("starter/index.html.j2");

/// The files of the starter: name and content.
pub const FILES: [(&str, &str); 2] = [("site.yaml", STARTER), ("index.html.j2", STARTER_TEMPLATE)];
