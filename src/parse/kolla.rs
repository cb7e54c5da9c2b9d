//! The key `kolla` of a service or a job, typed.
//!
//! In: its mapping, whose expressions have been evaluated. Out: what it says, each file with its place.

use crate::model::file::OnChange;
use crate::model::kolla::{ConfigFile, Made, Permission, Strategy, command_line, is_pattern, user_and_group};

use super::diagnostic::Diagnostic;
use super::node::{Layer, Node, Value};
use super::read::{At, Reader};
use super::scalars;
use super::service::{FileContent, Format, read_content, read_format};
use super::source::Place;

/// What is said under `kolla`.
#[derive(Clone, Debug)]
pub struct KollaSpec {
    /// The words that are run in the end, and the layer that says so.
    pub command: Option<(At<Vec<String>>, Layer)>,
    /// When files are copied.
    pub strategy: Strategy,
    /// What is copied.
    pub config_files: Vec<KollaFile>,
    /// Owners and permissions of what is there already.
    pub permissions: Vec<Permission>,
    /// Directories that are made.
    pub directories: Vec<Made>,
    /// What a change of any of the files needs.
    pub on_change: OnChange,
    /// Signal of a reload.
    pub signal: Option<String>,
    /// Command of a reload.
    pub exec: Option<Vec<String>>,
    /// Check before a reload.
    pub validate: Option<Vec<String>>,
    /// Where `kolla` is.
    pub place: Place,
}

/// An entry of `config_files`.
#[derive(Clone, Debug)]
pub struct KollaFile {
    /// Where the content comes from; none where `file.source` is a path in the container.
    pub content: Option<FileContent>,
    /// What the start program does.
    pub file: ConfigFile,
    /// Permissions of the copy; none where they are the source's.
    pub mode: Option<u32>,
    /// `template`, if it was given.
    pub template: Option<bool>,
    /// How it is laid over others of its kind, if that was said.
    pub format: Option<Format>,
    /// Where its destination is.
    pub place: Place,
}

/// Reads `kolla`.
pub fn read_kolla(node: &Node, r: &mut Reader) -> Option<KollaSpec> {
    let kolla = node.get("kolla").filter(|kolla| kolla.as_mapping().is_some())?;
    let command = kolla.get("command").and_then(|at| Some((At::new(r.command(kolla, "command")?, at.place), at.layer)));
    if let Some((command, _)) = &command
        && command_line(&command.value).is_none()
    {
        r.error(unsplittable(command.place));
    }
    let strategy = kolla.get("strategy").and_then(Node::as_text).and_then(Strategy::parse).unwrap_or_default();
    let on_change = kolla.get("on_change");
    let mut class = match on_change.map(|node| (node.as_text(), &node.value)) {
        Some((Some("restart"), _)) => OnChange::Restart,
        Some((None, Value::Mapping(_))) => OnChange::Reload,
        _ => OnChange::Replace,
    };
    let signal = on_change.and_then(|node| r.scalar(node, "signal", scalars::signal));
    let exec = on_change.and_then(|node| r.command(node, "exec"));
    let validate = on_change.and_then(|node| r.command(node, "validate"));
    if let (Some(node), Strategy::CopyOnce, true) = (on_change, strategy, class.is_live()) {
        r.error(
            Diagnostic::error("V002", node.place, "with `strategy: COPY_ONCE` a change reaches new containers only")
                .help("remove `on_change`, so that a change replaces the container, or set `strategy: COPY_ALWAYS`"),
        );
    }
    if let (Some(node), OnChange::Reload, None, None) = (on_change, class, &signal, &exec) {
        r.error(Diagnostic::error("K003", node.place, "on_change needs `signal` or `exec`, or is one word"));
        // Without a way to reload there is no second error about that.
        class = OnChange::Replace;
    }
    let list = |key: &str| kolla.get(key).map(Node::items).unwrap_or_default();
    Some(KollaSpec {
        command,
        strategy,
        config_files: list("config_files").iter().filter_map(|item| read_file(item, r)).collect(),
        permissions: list("permissions").iter().filter_map(|item| read_permission(item, r)).collect(),
        directories: list("directories").iter().filter_map(|item| read_made(item, r)).collect(),
        on_change: class,
        signal,
        exec,
        validate,
        place: node.as_mapping().and_then(|service| service.get("kolla")).map_or(kolla.place, |entry| entry.key_place),
    })
}

fn unsplittable(place: Place) -> Diagnostic {
    Diagnostic::error("V002", place, "a word of this command is empty or has a blank in it")
        .label("Kolla's start program splits it at blanks, and knows no quotes")
        .help("put the line into a script of the image, or into a file of `config_files`")
}

fn read_file(item: &Node, r: &mut Reader) -> Option<KollaFile> {
    let within = item.get("source").and_then(Node::as_text).filter(|source| source.starts_with('/'));
    let (source, content) = match within {
        Some(source) if item.get("content").is_none() => (source.to_owned(), None),
        _ => (String::new(), Some(read_content(item, r)?)),
    };
    let preserve_properties = r.boolean(item, "preserve_properties").unwrap_or(false);
    let owner = read_owner(item, r);
    let mode = r.scalar(item, "perm", scalars::mode);
    for (key, given) in [("owner", item.get("owner").is_some()), ("perm", item.get("perm").is_some())] {
        if !given && !preserve_properties {
            let error =
                Diagnostic::error("K003", item.place, format!("a file of `config_files` needs the key `{key}`"));
            r.error(error.help("or `preserve_properties: true`, which takes those of the source"));
        }
    }
    if let (Some(dest), Some(FileContent::Inline(_))) = (item.get("dest"), &content)
        && dest.as_text().is_some_and(|dest| dest.ends_with('/'))
    {
        let error =
            Diagnostic::error("F002", dest.place, "a file with `content` has no name of its own in this directory");
        r.error(error.help("write the whole path as `dest`"));
    }
    if let (Some(format), None) = (item.get("format"), &content) {
        r.error(Diagnostic::error(
            "V002",
            format.place,
            "`format` is for files of the site, and this source lies in the container",
        ));
    }
    Some(KollaFile {
        content,
        mode,
        template: r.boolean(item, "template"),
        format: read_format(item),
        place: item.get("dest").map_or(item.place, |dest| dest.place),
        file: ConfigFile {
            source,
            dest: r.text(item, "dest")?,
            owner,
            perm: mode.map(octal),
            optional: r.boolean(item, "optional").unwrap_or(false),
            preserve_properties,
            merge: r.boolean(item, "merge").unwrap_or(false),
        },
    })
}

fn read_permission(item: &Node, r: &mut Reader) -> Option<Permission> {
    let exclude = r.texts_at(item, "exclude");
    for pattern in &exclude {
        if let Err(why) = regex::Regex::new(&pattern.value) {
            // The last line of a regex error says what is wrong; those before it show where.
            let why = why.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("`{}` is no regular expression: {why}", pattern.value);
            r.error(Diagnostic::error("V002", pattern.place, message));
        }
    }
    Some(Permission {
        path: r.text(item, "path")?,
        owner: read_owner(item, r)?,
        perm: r.scalar(item, "perm", scalars::mode).map(octal),
        recurse: r.boolean(item, "recurse").unwrap_or(false),
        exclude: exclude.into_iter().map(|pattern| pattern.value).collect(),
    })
}

fn read_made(item: &Node, r: &mut Reader) -> Option<Made> {
    let path = r.at(item, "path", |scalar| Ok(scalar.text.clone()))?;
    if is_pattern(&path.value) {
        let message = format!("`{}` is a pattern, and a directory that is made has one name", path.value);
        r.error(Diagnostic::error("V002", path.place, message));
    }
    Some(Made { path: path.value, owner: read_owner(item, r)?, perm: octal(r.scalar(item, "perm", scalars::mode)?) })
}

/// An owner by name: the original program of Kolla's images looks names up, and knows no numbers.
fn read_owner(item: &Node, r: &mut Reader) -> Option<String> {
    let owner = r.at(item, "owner", |scalar| Ok(scalar.text.clone()))?;
    let (user, group) = user_and_group(&owner.value);
    if [user, group].iter().any(|name| name.is_empty() || name.bytes().all(|byte| byte.is_ascii_digit())) {
        let message =
            format!("`{}` is no owner: write `user` or `user:group`, by their names in the image", owner.value);
        r.error(Diagnostic::error("V002", owner.place, message));
        return None;
    }
    Some(owner.value)
}

/// Four digits: what Kolla's check compares with.
fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
