//! What the kernel says of this process.

use std::fs;
use std::time::Duration;

use crate::report::metrics::ProcessStatistics;

/// Ticks a second in /proc: part of Linux' interface to programs, the same on all machines that matter.
const TICKS: u64 = 100;

/// Reads it now; what cannot be read stays 0.
pub fn statistics() -> ProcessStatistics {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    // One of them was open only to count them.
    let open_files = open_files.saturating_sub(1);
    let known =
        parse(&read("/proc/self/status"), &read("/proc/self/stat"), &read("/proc/self/limits"), &read("/proc/stat"));
    ProcessStatistics { open_files, ..known }
}

fn parse(status: &str, stat: &str, limits: &str, system: &str) -> ProcessStatistics {
    let word_after = |text: &str, start: &str| -> u64 {
        text.lines()
            .find_map(|line| line.strip_prefix(start)?.split_whitespace().next()?.parse().ok())
            .unwrap_or_default()
    };
    // The name of the program, in brackets, may contain anything: what counts comes after the last bracket.
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    ProcessStatistics {
        resident_bytes: word_after(status, "VmRSS:") * 1024,
        virtual_bytes: word_after(status, "VmSize:") * 1024,
        threads: word_after(status, "Threads:"),
        cpu: Duration::from_millis((field(14) + field(15)) * 1000 / TICKS),
        open_files: 0,
        max_files: word_after(limits, "Max open files"),
        started_at: {
            let since_boot = Duration::from_millis(field(22) * 1000 / TICKS).as_secs_f64();
            #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are exact")]
            let boot = word_after(system, "btime ") as f64;
            boot + since_boot
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "77 (a) b) c) S 1 77 77 0 -1 4194560 1200 0 0 0 250 50 0 0 20 0 4 0 1200 9000000 700 \
                    18446744073709551615";
        let status = "Name:\ta\nVmSize:\t    9000 kB\nVmRSS:\t    2800 kB\nThreads:\t4\n";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      4096      files\n";
        let found = parse(status, stat, limits, "cpu 1 2\nbtime 1700000000\n");
        assert_eq!(
            found,
            ProcessStatistics {
                resident_bytes: 2800 * 1024,
                virtual_bytes: 9000 * 1024,
                threads: 4,
                cpu: Duration::from_secs(3),
                open_files: 0,
                max_files: 1024,
                started_at: 1_700_000_012.0,
            }
        );
        assert_eq!(parse("", "", "", ""), ProcessStatistics::default());
    }

    #[test]
    fn this_process_is_there() {
        let found = statistics();
        assert!(found.resident_bytes > 1_000_000 && found.threads >= 1 && found.open_files >= 3);
        assert!(found.started_at > 1_600_000_000.0 && found.max_files >= found.open_files);
    }
}
