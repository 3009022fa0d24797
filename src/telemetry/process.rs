//! What the kernel says of this process, under the names that Prometheus's own libraries have for it.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::families::{Families, float};
use super::names;

/// A row of `/proc/self/stat`, in its own units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    /// User and system CPU time in ticks.
    cpu: u64,
    threads: u64,
    /// Ticks after the machine started.
    start: u64,
    /// Bytes.
    address_space: u64,
    /// Pages.
    resident: u64,
}

impl Stat {
    /// `None` for what is no such row. The program's name may hold anything, parentheses too.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and from the two before these.
        let field = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: field(14)? + field(15)?,
            threads: field(20)?,
            start: field(22)?,
            address_space: field(23)?,
            resident: field(24)?,
        })
    }
}

/// Adds what can be read.
pub fn gather(families: &mut Families) {
    let ticks = float(clock_ticks_per_second());
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.and_then(|text| Stat::parse(&text)) {
        families.add(names::PROCESS_CPU, &[], float(stat.cpu) / ticks);
        let resident = stat.resident * page_size() as u64;
        families.count(names::PROCESS_RESIDENT, &[], resident);
        families.count(names::PROCESS_VIRTUAL, &[], stat.address_space);
        families.count(names::PROCESS_THREADS, &[], stat.threads);
        let boot = fs::read_to_string("/proc/stat").ok();
        if let Some(boot) = boot.and_then(|text| booted(&text)) {
            let began = float(boot) + float(stat.start) / ticks;
            families.add(names::PROCESS_START, &[], began);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the one that this takes.
        let open = open.count().saturating_sub(1);
        families.count(names::PROCESS_FDS, &[], open as u64);
    }
    let most = getrlimit(Resource::Nofile).current;
    families.add(
        names::PROCESS_MAX_FDS,
        &[],
        most.map_or(f64::INFINITY, float),
    );
}

/// When the machine started, in seconds since 1970.
fn booted(stat: &str) -> Option<u64> {
    let mut lines = stat.lines();
    let row = lines.find_map(|line| line.strip_prefix("btime "))?;
    row.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_row_is_read_whatever_the_program_is_called() {
        let row = "77 (a) R (b c) S 1 77 77 0 -1 4194560 100 0 0 0 25 5 0 0 20 0 7 0 4321 123456789 321 18446744073709551615 1 1";
        let stat = Stat {
            cpu: 30,
            threads: 7,
            start: 4321,
            address_space: 123_456_789,
            resident: 321,
        };
        assert_eq!(Stat::parse(row), Some(stat));
        assert_eq!(Stat::parse("77 (a) S 1"), None);
        assert_eq!(
            booted("cpu 1 2\nbtime 1700000000\nprocesses 5\n"),
            Some(1_700_000_000)
        );
    }

    #[test]
    fn this_process_is_as_it_is() {
        let mut families = Families::default();
        gather(&mut families);
        let families = families.into_vec();
        assert_eq!(families.len(), 7);
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            family.unwrap().get_metric()[0].get_gauge().get_value()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - value(names::PROCESS_START);
        // The kernel tells the machine's start in whole seconds.
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(value(names::PROCESS_RESIDENT) > 1e5);
        assert!(value(names::PROCESS_VIRTUAL) > value(names::PROCESS_RESIDENT));
        assert!(value(names::PROCESS_THREADS) >= 1.0);
        assert!(value(names::PROCESS_FDS) < value(names::PROCESS_MAX_FDS));
    }
}
