//! The command line.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::edge::coordinator::facts_of;
use crate::edge::journal::{self, LogForm, LogOptions};
use crate::edge::site_record::SiteRecord;
use crate::model::time::Span;
use crate::resolve::compile::CompileRequest;

use super::etcd::EtcdArguments;
use super::world::Place;
use super::{
    agent, apply, build, certs, describe, destroy, diff, events, exec, explain, generate, history, host, images, init,
    logs, operate, output, plan, push, recover, render, roles, schema, secrets, status, validate, wait, why,
};

/// Version with the commit that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MASTIC_COMMIT"), ")");

/// Keeps the containers of Docker hosts in the state that a YAML file declares.
#[derive(Debug, Parser)]
#[command(name = "mastic", version = VERSION, about, max_term_width = 120, arg_required_else_help = true)]
pub struct Arguments {
    /// Options of all verbs.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of all verbs.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The site: a file, several (later ones win), or a directory
    #[arg(short = 'f', long = "file", global = true, value_name = "PATH", env = "MASTIC_FILE", value_delimiter = ':')]
    pub files: Vec<PathBuf>,
    /// Where state is kept
    #[arg(long, global = true, value_name = "DIR", env = "MASTIC_STATE_DIR", default_value = "/var/lib/mastic")]
    pub state_dir: PathBuf,
    /// Only these hosts and groups; where a site is for agents on its hosts, the host that this machine is
    #[arg(long = "host", alias = "limit", global = true, value_name = "NAME", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// A variable, above all others
    #[arg(short = 'e', long = "var", global = true, value_name = "NAME=VALUE", value_parser = variable)]
    pub vars: Vec<(String, String)>,
    /// A directory of roles, besides `roles/` in the site and those of the program; more than one can be given
    #[arg(long = "roles", global = true, value_name = "DIR", env = "MASTIC_ROLES", value_delimiter = ':')]
    pub role_directories: Vec<PathBuf>,
    /// Form of the output
    #[arg(short = 'o', long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t)]
    pub color: Color,
    /// Log more (twice: even more)
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log less
    #[arg(short = 'q', long, global = true, action = clap::ArgAction::Count)]
    pub quiet: u8,
    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdArguments,
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the words are the help")]
pub enum Output {
    #[default]
    Text,
    Json,
    Yaml,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the words are the help")]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a site: writes a small one with comments that runs as it is
    Init(init::Options),
    /// Check the site, and tell all that is wrong with it
    Validate(validate::Options),
    /// Print the JSON Schema of a site, for editors
    Schema(schema::Options),
    /// List the roles that there are, describe one, or check it
    Roles(roles::Options),
    /// Make, list, edit and change the site's secrets
    Secrets(secrets::Options),
    /// Make, list and renew the certificates of the site's own authority
    Certs(certs::Options),
    /// Tell where a value of the site comes from
    Explain(explain::Options),
    /// Show the files that are mounted into containers, as rendered
    Render(render::Options),
    /// Build the images of roles
    Build(build::Options),
    /// Find out what the tags of images mean, and keep it in the lock of images
    Images(images::Options),
    /// Publish the site for agents that meet in etcd
    Push(push::Options),
    /// Show what would change, and why
    Plan(plan::Options),
    /// Show what would change as unified diffs
    Diff(diff::Options),
    /// Bring the host to its desired state, and wait until it is there
    Apply(apply::Options),
    /// Let an edit go on that waits for a person
    Approve(operate::Approve),
    /// Keep this host in its desired state
    Agent(agent::Options),
    /// Keep all hosts that can be reached from here in their desired state
    Controller(agent::ControllerOptions),
    /// Show how things are
    Status(status::Options),
    /// Show all that is known of a service or job
    Describe(describe::Options),
    /// Tell why a service is, was or will be changed
    Why(why::Options),
    /// Show what happened
    Events(events::Options),
    /// Show the desired states that were accepted
    History(history::Options),
    /// Wait until a service, or all, is as asked for
    Wait(wait::Options),
    /// Show what a service writes
    Logs(logs::Options),
    /// Run a command in the container of a service
    Exec(exec::Options),
    /// Go back to an older desired state, until the source changes
    Rollback(operate::Rollback),
    /// Restart a service
    Restart(operate::Restart),
    /// Begin a procedure of a role, as the recovery of a cluster
    Recover(recover::Options),
    /// Stop a service and keep it stopped
    Stop(operate::Stop),
    /// End a stop
    Start(operate::Start),
    /// Leave a service, or the whole host, as it is
    Pause(operate::Pause),
    /// End a pause
    Resume(operate::Resume),
    /// Begin nothing on a host that takes down what runs there
    Cordon(operate::Cordon),
    /// End a cordon
    Uncordon(operate::Uncordon),
    /// Take no edit; what was taken goes on and is healed
    Freeze(operate::Freeze),
    /// End a freeze
    Unfreeze(operate::Unfreeze),
    /// Take a machine that was set up anew, or forget one
    Host(host::Options),
    /// Try a spec once more that has failed
    Retry(operate::Retry),
    /// Run a job once more
    RunJob(operate::RunJob),
    /// Remove all of the site from this host
    Destroy(destroy::Options),
    /// Print completions for a shell
    Completions(generate::Completions),
    /// Write the manual pages into a directory
    Man(generate::Man),
}

/// Which services output is about.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Only these services or jobs
    #[arg(long = "service", value_name = "NAME", value_delimiter = ',')]
    pub services: Vec<String>,
    /// Only services of these roles
    #[arg(long = "role", value_name = "NAME", value_delimiter = ',')]
    pub roles: Vec<String>,
}

impl Selection {
    /// Whether everything is meant.
    pub fn is_all(&self) -> bool {
        self.services.is_empty() && self.roles.is_empty()
    }

    /// Whether this one is meant.
    pub fn covers(&self, service: &str, role: Option<&str>) -> bool {
        self.is_all()
            || self.services.iter().any(|name| name == service)
            || role.is_some_and(|role| self.roles.iter().any(|name| name == role))
    }
}

/// A length of time as people write it: `90`, `90s`, `10m`, `1h30m`.
pub fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("`{text}` is no length of time; write it as 90s, 10m or 1h30m");
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Span::seconds).map_err(|_| wrong());
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let size: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(size).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Span(total)) }
}

impl Global {
    /// Starts logging: an agent tells what it does, a command only what is wrong.
    pub fn start_logging(&self, is_agent: bool) {
        let default = if is_agent { tracing::Level::INFO } else { tracing::Level::ERROR };
        let options = LogOptions {
            form: LogForm::Auto,
            level: LogOptions::level(default, self.verbose, self.quiet),
            colour: output::stderr(self).color,
        };
        journal::start(options, std::env::var("JOURNAL_STREAM").ok().as_deref());
    }

    /// Where the command is at home.
    pub fn place(&self) -> Place {
        let etcd = self.etcd.is_meant().then(|| self.etcd.clone());
        Place { state: self.state_dir.clone(), request: self.request(), selected: self.hosts.clone(), etcd }
    }

    /// What to compile; none where no site was named and none lies here.
    pub fn request(&self) -> Option<CompileRequest> {
        let paths = if self.files.is_empty() {
            let here = PathBuf::from("site.yaml");
            if !here.is_file() {
                return None;
            }
            vec![here]
        } else {
            self.files.clone()
        };
        Some(self.compile_request(paths))
    }

    /// The same for paths that are given.
    pub fn compile_request(&self, paths: Vec<PathBuf>) -> CompileRequest {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        CompileRequest {
            // Absolute, so that an agent can tell whether a command means the same files.
            paths: paths.iter().map(absolute).collect(),
            host: if let [host] = self.hosts.as_slice() { Some(host.clone()) } else { None },
            hostname: hostname(),
            extra_vars: self.vars.clone(),
            environment: std::env::vars().collect(),
            role_directories: self.role_directories.iter().map(absolute).collect(),
            ignore_lock: false,
            ordinals: SiteRecord::load(&self.state_dir).ordinals,
            site_key: Vec::new(),
            facts: Arc::new(facts_of(&self.state_dir)),
            assume_facts: false,
        }
    }

    /// Who asks, for the record: whoever became root to do so, if somebody did.
    pub fn user() -> String {
        let named = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
        named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME")).unwrap_or_else(|| {
            match rustix::process::getuid() {
                user if user.is_root() => "root".to_owned(),
                user => format!("user {}", user.as_raw()),
            }
        })
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn directories_of_roles_and_the_choice_of_a_role_are_told_apart() {
        let read = Arguments::try_parse_from(["mastic", "--roles", "a", "status", "--role", "b"]).unwrap();
        assert_eq!(read.global.role_directories, [PathBuf::from("a")]);
        let covers = |role| matches!(&read.verb, Verb::Status(options) if options.selection.covers("x", Some(role)));
        assert!(covers("b") && !covers("a"));
    }

    #[test]
    fn the_command_line_is_consistent_and_each_verb_has_examples() {
        let mut command = Arguments::command();
        command.build();
        command.clone().debug_assert();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let call = format!("mastic {}", verb.get_name());
            assert!(examples.starts_with("Examples:\n"), "{}", verb.get_name());
            assert!(examples.contains(&call) || examples.contains(&format!(" {}", verb.get_name())), "{examples}");
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(span(text), Ok(Span::seconds(seconds)), "{text}");
        }
        assert_eq!(span("250ms"), Ok(Span(250)));
        for text in ["", "s", "5x", "1h30", "-1s", "1.5h", "99999999999999999999", "18446744073709551615d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_given_before_or_after_the_verb_counts_alike() {
        let parse = |arguments: &[&str]| {
            Arguments::try_parse_from(std::iter::once(&"mastic").chain(arguments)).map(|arguments| arguments.global)
        };
        let before = parse(&["-f", "a.yaml", "-f", "b.yaml", "-e", "x=1=2", "-o", "json", "plan"]).unwrap();
        let after = parse(&["plan", "-f", "a.yaml", "-f", "b.yaml", "-e", "x=1=2", "-o", "json"]).unwrap();
        for global in [before, after] {
            assert_eq!(global.files, [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")]);
            assert_eq!(global.vars, [("x".to_owned(), "1=2".to_owned())]);
            assert_eq!(global.output, Output::Json);
        }
        for wrong in [&["plan", "-e", "x"][..], &["plan", "-e", "=1"], &["plan", "-o", "xml"], &["plna"], &[]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_selection_of_nothing_is_everything() {
        let all = Selection::default();
        assert!(all.covers("web", None));
        let some = Selection { services: vec!["web".to_owned()], roles: vec!["db".to_owned()] };
        assert!(some.covers("web", None) && some.covers("mariadb", Some("db")));
        assert!(!some.covers("cache", None) && !some.covers("cache", Some("other")));
    }
}
