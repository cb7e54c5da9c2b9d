//! Where the start program keeps its records: Kolla's places as root, and otherwise where a plain user may write.

/// Kolla's own: the record of what the image had, the command, the marker.
const ORIGINAL: [&str; 3] = ["/etc/kolla/defaults", "/run_command", "/configured"];
/// Directories for a plain user, the best first. Those of an image's own file system outlive a restart.
const PLAIN: [&str; 2] = ["/var/lib/kolla/state", "/run/mastic-start"];

/// The places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The directory in which files of the image are kept.
    pub defaults: String,
    /// The file with the command.
    pub run_command: String,
    /// There once files have been copied with `COPY_ONCE`.
    pub configured: String,
}

impl Places {
    /// The file that says what was kept.
    pub fn record(&self) -> String {
        format!("{}/state", self.defaults)
    }

    fn original() -> Self {
        let [defaults, run_command, configured] = ORIGINAL.map(str::to_owned);
        Self { defaults, run_command, configured }
    }

    fn below(directory: &str) -> Self {
        let directory = directory.trim_end_matches('/');
        let [defaults, run_command, configured] =
            ["defaults", "run_command", "configured"].map(|name| format!("{directory}/{name}"));
        Self { defaults, run_command, configured }
    }
}

/// Chooses. `named` is the environment's word; `there` says whether a path exists, `usable` makes a directory that only
/// this user may write to, or says that it cannot.
///
/// Whoever looks later, as root perhaps, must find what an earlier start has written, so that comes first.
pub fn choose(
    named: Option<&str>,
    user: u32,
    there: impl Fn(&str) -> bool,
    mut usable: impl FnMut(&str) -> bool,
) -> Option<Places> {
    if let Some(named) = named {
        return Some(Places::below(named));
    }
    if there(&Places::original().run_command) {
        return Some(Places::original());
    }
    if let Some(directory) = PLAIN.into_iter().find(|directory| there(&Places::below(directory).run_command)) {
        return Some(Places::below(directory));
    }
    if user == 0 {
        return Some(Places::original());
    }
    let own = format!("/tmp/mastic-start-{user}");
    PLAIN.into_iter().chain([own.as_str()]).find(|directory| usable(directory)).map(Places::below)
}

#[cfg(test)]
mod tests {
    use super::choose;

    fn chosen(named: Option<&str>, user: u32, there: &str, usable: &str) -> Option<String> {
        choose(named, user, |path| path == there, |path| path == usable).map(|places| places.run_command)
    }

    #[test]
    fn root_keeps_records_where_kolla_does_and_others_where_they_may() {
        assert_eq!(chosen(None, 0, "", "").as_deref(), Some("/run_command"));
        assert_eq!(chosen(None, 5, "", "/var/lib/kolla/state").as_deref(), Some("/var/lib/kolla/state/run_command"));
        assert_eq!(chosen(None, 5, "", "/tmp/mastic-start-5").as_deref(), Some("/tmp/mastic-start-5/run_command"));
        assert_eq!(chosen(Some("/srv/"), 5, "", "").as_deref(), Some("/srv/run_command"));
        assert_eq!(chosen(None, 5, "", ""), None);
    }

    #[test]
    fn who_looks_later_finds_what_was_written() {
        let plain = "/run/mastic-start/run_command";
        assert_eq!(chosen(None, 0, plain, "").as_deref(), Some(plain));
        assert_eq!(chosen(None, 5, "/run_command", "/var/lib/kolla/state").as_deref(), Some("/run_command"));
    }
}
