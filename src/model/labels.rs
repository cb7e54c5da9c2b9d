//! The labels by which containers, networks and volumes of ours are known.

use std::collections::BTreeMap;

/// Prefix of all labels of ours; a site may not set labels below it.
pub const PREFIX: &str = "mastic.";
/// Name of the site.
pub const SITE: &str = "mastic.site";
/// Name of the host.
pub const HOST: &str = "mastic.host";
/// Role as used in the site.
pub const ROLE: &str = "mastic.role";
/// Service.
pub const SERVICE: &str = "mastic.service";
/// Job.
pub const JOB: &str = "mastic.job";
/// Hash over what needs a replace, with its version.
pub const CREATE_HASH: &str = "mastic.create-hash";
/// Hash over the whole spec, or over the inputs of a job.
pub const INPUT_HASH: &str = "mastic.input-hash";
/// Generation in which the container was made; no reason to act.
pub const GENERATION: &str = "mastic.generation";
/// Variant chosen by a procedure.
pub const VARIANT: &str = "mastic.variant";
/// The settings that the spec set at creation, comma separated: what it sets no longer is found by them.
pub const FIELDS: &str = "mastic.fields";

/// On the container through which files reach a host, which is none of a site's: the site.
pub const FILES: &str = "mastic.files";
/// Where they lie on the host.
pub const FILES_ROOT: &str = "mastic.files.root";

/// Labels as `name -> value`.
pub type Labels = BTreeMap<String, String>;
