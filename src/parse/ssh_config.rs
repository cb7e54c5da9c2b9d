//! OpenSSH's client configuration, as far as it says how a host is reached.
//!
//! In: the texts of the files, and the name of a host. Out: [`HostConfig`]. As in OpenSSH the first value of a key counts,
//! and several `IdentityFile`s add up. What would change the way to the host and is not honoured here is an error; blocks
//! whose condition is not understood are left out with a warning.

use super::known_hosts::fits;

/// What the files say of one host; nothing where they are silent. Paths are not yet expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `HostName`: where it is.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// `IdentityFile`, in order.
    pub identity_files: Vec<String>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<bool>,
    /// `IdentityAgent`: `none`, `SSH_AUTH_SOCK`, `$VARIABLE` or a path.
    pub identity_agent: Option<String>,
    /// `ProxyJump`, as written.
    pub proxy_jump: Option<String>,
    /// `ProxyCommand`, with the place that says so.
    pub proxy_command: Option<String>,
    /// `UserKnownHostsFile`.
    pub user_known_hosts: Option<Vec<String>>,
    /// `GlobalKnownHostsFile`.
    pub global_known_hosts: Option<Vec<String>>,
    /// `ServerAliveInterval`, in seconds.
    pub alive_interval: Option<u64>,
    /// `ServerAliveCountMax`.
    pub alive_count: Option<u64>,
    /// `ConnectTimeout`, in seconds.
    pub connect_timeout: Option<u64>,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<String>,
    /// What was left out.
    pub warnings: Vec<String>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct ConfigFault {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// What.
    pub what: String,
}

/// A file: its path, and what stands in it.
pub type File = (String, String);

/// The files that a pattern after `Include` means; the first is the path of the file that has it.
pub type Include<'a> = &'a dyn Fn(&str, &str) -> Vec<File>;

/// Files inside files, at most.
const DEPTH: usize = 16;

/// Reads the files for a host, the one that wins first.
pub fn read(files: &[File], host: &str, include: Include<'_>) -> Result<HostConfig, ConfigFault> {
    let mut reading = Reading { host: host.to_ascii_lowercase(), include, found: HostConfig::default() };
    for file in files {
        reading.file(file, true, 0)?;
    }
    Ok(reading.found)
}

struct Reading<'a> {
    host: String,
    include: Include<'a>,
    found: HostConfig,
}

impl Reading<'_> {
    fn file(&mut self, (path, text): &File, outer: bool, depth: usize) -> Result<(), ConfigFault> {
        let mut active = outer;
        for (index, line) in text.lines().enumerate() {
            let fault = |what: String| ConfigFault { file: path.clone(), line: index + 1, what };
            let Some((key, words)) = split(line).map_err(fault)? else { continue };
            let Some(first) = words.first() else { return Err(fault(format!("`{key}` has no value"))) };
            match key.as_str() {
                "host" => active = outer && self.is_meant(&words),
                "match" => active = outer && self.is_matched(&words, &format!("{path}:{}", index + 1)),
                _ if !active => {}
                "include" => {
                    if depth >= DEPTH {
                        return Err(fault("files include each other".to_owned()));
                    }
                    for pattern in &words {
                        for file in (self.include)(path, pattern) {
                            self.file(&file, true, depth + 1)?;
                        }
                    }
                }
                _ => self.set(&key, first, &words, &format!("{path}:{}", index + 1)).map_err(fault)?,
            }
        }
        Ok(())
    }

    fn is_meant(&self, patterns: &[String]) -> bool {
        let hits = |excludes: bool| {
            patterns.iter().any(|pattern| match pattern.strip_prefix('!') {
                Some(not) => excludes && fits(&not.to_ascii_lowercase(), &self.host),
                None => !excludes && fits(&pattern.to_ascii_lowercase(), &self.host),
            })
        };
        hits(false) && !hits(true)
    }

    /// `all`, `host` and `originalhost`; what else may stand there needs a program or a second reading.
    fn is_matched(&mut self, words: &[String], place: &str) -> bool {
        let mut words = words.iter();
        let mut matched = true;
        while let Some(condition) = words.next() {
            let (not, condition) = match condition.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, condition.as_str()),
            };
            match condition.to_ascii_lowercase().as_str() {
                "all" => matched &= !not,
                "host" | "originalhost" => {
                    let patterns: Vec<String> =
                        words.next().map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default();
                    matched &= self.is_meant(&patterns) != not;
                }
                _ => {
                    self.found
                        .warnings
                        .push(format!("{place}: `Match {condition}` is not understood; its block is left out"));
                    return false;
                }
            }
        }
        matched
    }

    fn set(&mut self, key: &str, first: &str, words: &[String], place: &str) -> Result<(), String> {
        let found = &mut self.found;
        let text = |slot: &mut Option<String>| {
            slot.get_or_insert_with(|| first.to_owned());
        };
        let list = |slot: &mut Option<Vec<String>>| {
            slot.get_or_insert_with(|| words.to_vec());
        };
        match key {
            "hostname" => text(&mut found.host_name),
            "user" => text(&mut found.user),
            "identityagent" => text(&mut found.identity_agent),
            "hostkeyalias" => text(&mut found.host_key_alias),
            "identityfile" => found.identity_files.push(first.to_owned()),
            "userknownhostsfile" => list(&mut found.user_known_hosts),
            "globalknownhostsfile" => list(&mut found.global_known_hosts),
            "port" => {
                let port = first.parse().ok().filter(|port| *port > 0);
                found.port = found.port.or(Some(port.ok_or_else(|| format!("`{first}` is no port"))?));
            }
            "identitiesonly" => {
                let only = match first.to_ascii_lowercase().as_str() {
                    "yes" | "true" => true,
                    "no" | "false" => false,
                    _ => return Err(format!("`{first}` is neither yes nor no")),
                };
                found.identities_only = found.identities_only.or(Some(only));
            }
            "serveraliveinterval" => found.alive_interval = found.alive_interval.or(Some(seconds(first)?)),
            "connecttimeout" if first == "none" => found.connect_timeout = found.connect_timeout.or(Some(0)),
            "connecttimeout" => found.connect_timeout = found.connect_timeout.or(Some(seconds(first)?)),
            "serveralivecountmax" => {
                let count = first.parse().map_err(|_| format!("`{first}` is no number"))?;
                found.alive_count = found.alive_count.or(Some(count));
            }
            // Whichever comes first counts, and shuts out the other.
            "proxyjump" if found.proxy_command.is_none() => text(&mut found.proxy_jump),
            "proxycommand" if found.proxy_jump.is_none() && found.proxy_command.is_none() => {
                found.proxy_command = (!first.eq_ignore_ascii_case("none")).then(|| place.to_owned());
            }
            "certificatefile" | "revokedhostkeys" | "knownhostscommand" | "pkcs11provider" => {
                found.warnings.push(format!("{place}: `{key}` is not honoured"));
            }
            // Much is said of terminals, forwardings and ciphers that does not concern us.
            _ => {}
        }
        Ok(())
    }
}

/// The key in small letters and the words after it; none for an empty line.
fn split(line: &str) -> Result<Option<(String, Vec<String>)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Ok(Some((key.to_ascii_lowercase(), words(rest)?)))
}

/// Words between blanks; a quoted one may hold blanks. What stands behind `#` is a comment.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = characters.peek().copied() else { return Ok(found) };
        if first == '#' {
            return Ok(found);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(character) = characters.peek().copied() {
            match (character, quote) {
                (c, Some(open)) if c == open => quote = None,
                ('"' | '\'', None) => quote = Some(character),
                (c, None) if c.is_whitespace() => break,
                ('\\', _) => {
                    characters.next();
                    match characters.peek().copied() {
                        Some(escaped @ ('"' | '\'' | '\\')) => word.push(escaped),
                        Some(' ') if quote.is_none() => word.push(' '),
                        Some(other) => word.extend(['\\', other]),
                        None => word.push('\\'),
                    }
                }
                (c, _) => word.push(c),
            }
            characters.next();
        }
        if quote.is_some() {
            return Err("a quote is not closed".to_owned());
        }
        found.push(word);
    }
}

/// `90`, `90s`, `1m30s`.
fn seconds(text: &str) -> Result<u64, String> {
    let fail = || format!("`{text}` is no length of time such as `30` or `1m`");
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..end].parse().map_err(|_| fail())?;
        let mut after = rest[end..].chars();
        let unit = match after.next().map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            Some(_) => return Err(fail()),
        };
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(fail)?;
        rest = after.as_str();
    }
    if text.is_empty() { Err(fail()) } else { Ok(total) }
}

/// What stands for what in a path or name.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// `~` and `%d`.
    pub home: &'a str,
    /// `%u`: who runs this.
    pub local_user: &'a str,
    /// `%n`: the host as it was asked for.
    pub original: &'a str,
    /// `%h`: the host as it is reached.
    pub host: &'a str,
    /// `%p`.
    pub port: u16,
    /// `%r`: whom to log in as.
    pub user: &'a str,
}

/// Puts the values of tokens and of `${VARIABLE}`s in.
pub fn expand(text: &str, tokens: Tokens<'_>, get: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            out.push_str(tokens.home);
            rest
        }
        _ => text,
    };
    while let Some(at) = rest.find(['%', '$']) {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        if let Some(variable) = tail.strip_prefix("${") {
            let (name, after) = variable.split_once('}').ok_or_else(|| format!("`{text}` has a `${{` without `}}`"))?;
            out.push_str(&get(name).ok_or_else(|| format!("`{text}` names the variable {name}, which is not set"))?);
            rest = after;
            continue;
        }
        let mut characters = tail.chars();
        match (characters.next(), characters.clone().next()) {
            (Some('%'), Some(token)) => {
                characters.next();
                match token {
                    '%' => out.push('%'),
                    'd' => out.push_str(tokens.home),
                    'h' => out.push_str(tokens.host),
                    'n' => out.push_str(tokens.original),
                    'p' => out.push_str(&tokens.port.to_string()),
                    'r' => out.push_str(tokens.user),
                    'u' => out.push_str(tokens.local_user),
                    other => return Err(format!("`%{other}` in `{text}` is not known here")),
                }
            }
            (Some(plain), _) => out.push(plain),
            (None, _) => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn none(_: &str, _: &str) -> Vec<File> {
        Vec::new()
    }

    fn of(text: &str, host: &str) -> HostConfig {
        read(&[("config".to_owned(), text.to_owned())], host, &none).unwrap()
    }

    fn fault(text: &str) -> String {
        read(&[("config".to_owned(), text.to_owned())], "a", &none).unwrap_err().to_string()
    }

    #[test]
    fn the_first_value_counts_and_identities_add_up() {
        let text = "
# mine
User first
Host *.example !bad.example
    HostName=10.0.0.1
    Port = 2222
    IdentityFile \"~/.ssh/with blank\"
    ConnectTimeout 1m30s   # a comment
    UserKnownHostsFile ~/a ~/b
Host bad.example
    IdentityFile bad
Host *
    IdentityFile ~/.ssh/id_x
    User second
    Port 22
    ServerAliveInterval 5
    ServerAliveCountMax 7
    IdentitiesOnly yes
    ForwardX11 yes
";
        let found = of(text, "A.example");
        assert_eq!(found.host_name.as_deref(), Some("10.0.0.1"));
        assert_eq!((found.port, found.user.as_deref()), (Some(2222), Some("first")));
        assert_eq!(found.identity_files, ["~/.ssh/with blank", "~/.ssh/id_x"]);
        assert_eq!((found.connect_timeout, found.alive_interval, found.alive_count), (Some(90), Some(5), Some(7)));
        assert_eq!(found.user_known_hosts.unwrap(), ["~/a", "~/b"]);
        assert_eq!(found.identities_only, Some(true));
        assert_eq!(of(text, "bad.example").identity_files, ["bad", "~/.ssh/id_x"]);
        assert_eq!(of(text, "other").host_name, None);
    }

    #[test]
    fn includes_belong_to_their_block() {
        let include = |from: &str, pattern: &str| {
            assert_eq!((from, pattern), ("config", "config.d/*"));
            vec![("one".to_owned(), "Host b\nUser b\nHost a\nUser a\n".to_owned())]
        };
        let read = |text: &str| read(&[("config".to_owned(), text.to_owned())], "a", &include).unwrap().user;
        assert_eq!(read("Include config.d/*\nUser later").as_deref(), Some("a"));
        assert_eq!(read("Host x\nInclude config.d/*\nHost a\nUser own").as_deref(), Some("own"));
    }

    #[test]
    fn files_that_include_each_other_end() {
        let again = |_: &str, _: &str| vec![("config".to_owned(), "Include config".to_owned())];
        let error = super::read(&again("", ""), "a", &again).unwrap_err();
        assert_eq!(error.to_string(), "config:1: files include each other");
    }

    #[test]
    fn conditions_that_are_not_understood_leave_their_block_out() {
        let text = "Match all\nUser all\nMatch exec \"true\"\nPort 1\nMatch host a,b !originalhost c\nPort 2\n";
        let found = of(text, "a");
        assert_eq!((found.user.as_deref(), found.port), (Some("all"), Some(2)));
        assert_eq!(found.warnings, ["config:3: `Match exec` is not understood; its block is left out"]);
        assert_eq!(of("Match !host a\nPort 2", "a").port, None);
    }

    #[test]
    fn a_proxy_is_a_jump_or_a_command_whichever_comes_first() {
        let found = of("ProxyJump b\nProxyCommand nc %h %p\n", "a");
        assert_eq!((found.proxy_jump.as_deref(), found.proxy_command), (Some("b"), None));
        let found = of("Host a\nProxyCommand nc %h %p\nProxyJump b\n", "a");
        assert_eq!((found.proxy_jump, found.proxy_command.as_deref()), (None, Some("config:2")));
        assert_eq!(of("ProxyCommand none\nProxyJump b\n", "a").proxy_jump.as_deref(), Some("b"));
    }

    #[test]
    fn lines_that_cannot_be_read_are_named() {
        insta::assert_snapshot!(fault("\nPort x"), @"config:2: `x` is no port");
        insta::assert_snapshot!(fault("User"), @"config:1: `user` has no value");
        insta::assert_snapshot!(fault("User \"a"), @"config:1: a quote is not closed");
        insta::assert_snapshot!(fault("ConnectTimeout 5x"), @"config:1: `5x` is no length of time such as `30` or `1m`");
        insta::assert_snapshot!(fault("IdentitiesOnly maybe"), @"config:1: `maybe` is neither yes nor no");
    }

    #[test]
    fn tokens_and_variables_are_put_in() {
        let tokens =
            Tokens { home: "/home/me", local_user: "me", original: "a", host: "10.0.0.1", port: 22, user: "you" };
        let get = |name: &str| (name == "DIR").then(|| "/d".to_owned());
        assert_eq!(expand("~/.ssh/%r@%h:%p-%n-%u-%%", tokens, get).unwrap(), "/home/me/.ssh/you@10.0.0.1:22-a-me-%");
        assert_eq!(expand("${DIR}/x$y", tokens, get).unwrap(), "/d/x$y");
        assert_eq!(expand("${NO}", tokens, get).unwrap_err(), "`${NO}` names the variable NO, which is not set");
        assert_eq!(expand("%C", tokens, get).unwrap_err(), "`%C` in `%C` is not known here");
        assert_eq!(expand("~other/x", tokens, get).unwrap(), "~other/x");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail_otherwise_than_by_its_error(text in "([a-zA-Z*!=\"'#%$\\\\ \n\t]|Host |Match |Include ){0,60}") {
            let _ = read(&[("config".to_owned(), text.clone())], "a", &none);
            let tokens = Tokens { home: "/", local_user: "a", original: "a", host: "a", port: 1, user: "a" };
            let _ = expand(&text, tokens, |_| None);
        }
    }
}
