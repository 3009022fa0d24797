//! The memory and CPU that this process may use, as its cgroups say.
//!
//! A limit anywhere above a process holds for it too, so every ancestor is read and the least counts.
//! Inside a container the paths in `/proc/self/cgroup` may be the host's, and only the root of
//! `/sys/fs/cgroup` is there to be read: what cannot be read sets no limit.

use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// Version 1 writes "no limit" as the largest multiple of a page; nothing has this much memory.
const NO_MEMORY_LIMIT: u64 = 1 << 60;

const MIB: usize = 1 << 20;

/// What a process may use; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    /// Bytes of memory.
    pub(super) memory: Option<u64>,
    /// Thousandths of a CPU.
    pub(super) millicores: Option<u64>,
}

impl Limits {
    /// This process's limits.
    pub(super) fn of_this_process() -> Self {
        Self::read(|path| std::fs::read_to_string(path).ok())
    }

    /// The limits that these files tell of. `contents` gives a file's text, `None` where there is none.
    fn read(contents: impl Fn(&Path) -> Option<String>) -> Self {
        let mut limits = Self::default();
        let own = contents(Path::new("/proc/self/cgroup")).unwrap_or_default();
        for line in own.lines() {
            // hierarchy-ID:controllers:path, cgroups(7)
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if controllers.is_empty() {
                for directory in upwards(ROOT, path) {
                    let file = |name| contents(&directory.join(name));
                    limits.lower(Self {
                        memory: file("memory.max").and_then(|text| memory(&text)),
                        millicores: file("cpu.max").and_then(|text| cpu_max(&text)),
                    });
                }
            }
            for controller in controllers.split(',') {
                for directory in upwards(&format!("{ROOT}/{controller}"), path) {
                    let file = |name| contents(&directory.join(name));
                    limits.lower(match controller {
                        "memory" => Self {
                            memory: file("memory.limit_in_bytes").and_then(|text| memory(&text)),
                            millicores: None,
                        },
                        "cpu" => Self {
                            memory: None,
                            millicores: file("cpu.cfs_quota_us")
                                .zip(file("cpu.cfs_period_us"))
                                .and_then(|(quota, period)| {
                                    millicores(quota.trim(), period.trim())
                                }),
                        },
                        _ => Self::default(),
                    });
                }
            }
        }
        limits
    }

    fn lower(&mut self, other: Self) {
        self.memory = least(self.memory, other.memory);
        self.millicores = least(self.millicores, other.millicores);
    }

    /// `l1.max_bytes = "auto"`: a quarter of the memory, at most 256 MiB; 64 MiB without a limit.
    pub(super) fn l1_max_bytes(self) -> usize {
        match self.memory {
            None => 64 * MIB,
            Some(bytes) => usize::try_from(bytes / 4)
                .unwrap_or(usize::MAX)
                .min(256 * MIB),
        }
    }

    /// `max_buffer_bytes = "auto"`: a quarter of the memory; 256 MiB without a limit.
    pub(super) fn max_buffer_bytes(self) -> usize {
        self.memory.map_or(256 * MIB, |bytes| {
            usize::try_from(bytes / 4).unwrap_or(usize::MAX)
        })
    }

    /// `workers = "auto"`: the CPUs, at most 4; 1 without a limit.
    pub(super) fn workers(self) -> usize {
        self.cpus().map_or(1, |cpus| cpus.clamp(1, 4))
    }

    /// CPUs, rounded up.
    fn cpus(self) -> Option<usize> {
        let cpus = self.millicores?.div_ceil(1000);
        Some(usize::try_from(cpus).unwrap_or(usize::MAX))
    }

    /// `allocation.memory = "auto"`: what the pod may use, in MiB.
    pub(super) fn memory_mib(self) -> Option<u64> {
        self.memory.map(|bytes| bytes >> 20)
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// `root/path`, its parent, and so on up to `root`.
fn upwards(root: &str, path: &str) -> Vec<PathBuf> {
    Path::new(path)
        .ancestors()
        .map(|ancestor| {
            let below = ancestor.strip_prefix("/").unwrap_or(ancestor);
            Path::new(root).join(below)
        })
        .collect()
}

fn memory(text: &str) -> Option<u64> {
    text.trim()
        .parse()
        .ok()
        .filter(|bytes| *bytes < NO_MEMORY_LIMIT)
}

fn cpu_max(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    millicores(quota, period)
}

/// At least one; a quota of `max` or -1 is none.
fn millicores(quota: &str, period: &str) -> Option<u64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    let millicores = quota.saturating_mul(1000).checked_div(period)?;
    Some(millicores.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Limits {
        Limits::read(|path| {
            files
                .iter()
                .find_map(|(name, text)| (Path::new(name) == path).then(|| (*text).to_owned()))
        })
    }

    #[test]
    fn nothing_to_read_is_no_limit() {
        let limits = read(&[]);
        assert_eq!(limits, Limits::default());
        assert_eq!(limits.l1_max_bytes(), 64 * MIB);
        assert_eq!(limits.max_buffer_bytes(), 256 * MIB);
        assert_eq!(limits.workers(), 1);
    }

    #[test]
    fn version_2_in_a_container() {
        let limits = read(&[
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "536870912\n"),
            ("/sys/fs/cgroup/cpu.max", "150000 100000\n"),
        ]);
        assert_eq!(limits.memory, Some(512 << 20));
        assert_eq!(
            (limits.millicores, limits.memory_mib()),
            (Some(1500), Some(512))
        );
        assert_eq!(limits.cpus(), Some(2));
        assert_eq!(limits.l1_max_bytes(), 128 * MIB);
        assert_eq!(limits.max_buffer_bytes(), 128 * MIB);
        assert_eq!(limits.workers(), 2);
    }

    #[test]
    fn version_2_without_limits() {
        let limits = read(&[
            ("/proc/self/cgroup", "0::/a.slice/b.scope\n"),
            ("/sys/fs/cgroup/a.slice/b.scope/memory.max", "max\n"),
            ("/sys/fs/cgroup/a.slice/b.scope/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn the_least_of_all_ancestors_counts() {
        let limits = read(&[
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n"),
            ("/sys/fs/cgroup/a/memory.max", "104857600\n"),
            ("/sys/fs/cgroup/a/cpu.max", "650000 100000\n"),
        ]);
        assert_eq!(limits.memory, Some(100 << 20));
        assert_eq!(limits.cpus(), Some(7));
        assert_eq!(limits.workers(), 4);
    }

    #[test]
    fn version_1_where_only_the_root_is_there() {
        let limits = read(&[
            (
                "/proc/self/cgroup",
                "5:cpu,cpuacct:/docker/0123\n4:memory:/docker/0123\n1:name=systemd:/docker/0123\n",
            ),
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "4294967296\n",
            ),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(limits.memory, Some(4 << 30));
        assert_eq!(limits.l1_max_bytes(), 256 * MIB);
        assert_eq!(limits.max_buffer_bytes(), 1024 * MIB);
        assert_eq!(limits.workers(), 1);
        assert_eq!(limits.cpus(), Some(1));
    }

    #[test]
    fn version_1_without_limits() {
        let limits = read(&[
            ("/proc/self/cgroup", "4:memory:/\n3:cpu:/\n"),
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(limits, Limits::default());
    }
}
