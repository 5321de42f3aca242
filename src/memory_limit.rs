//! How much memory this process may use: what its control group allows, or any above it, and never more than
//! the machine has.

use std::fs;
use std::path::Path;

use actors::metrics::{MetricSet as _, Registrar};
use prometheus::Gauge;

actors::metrics! {
    struct MemoryMetrics {
        /// Memory this process may use: what its control group allows, or what the machine has.
        limit: Gauge = "switchboard_memory_limit_bytes";
    }
}

/// Tells it as a metric. It is read once: a limit that is changed counts from the next start on.
pub fn register(metrics: &dyn Registrar) -> prometheus::Result<()> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let limit = allowed(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup"), &read("/proc/meminfo"));
    MemoryMetrics::register(metrics)?.limit.set(limit.map_or(f64::NAN, |bytes| bytes as f64));
    Ok(())
}

/// In bytes. `mount` is where the control groups are, `groups` what `/proc/self/cgroup` says; version 1 has a
/// hierarchy of its own for memory.
fn allowed(mount: &Path, groups: &str, meminfo: &str) -> Option<u64> {
    let of_groups = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let path = path.trim_start_matches('/');
        match controllers {
            "" => least(mount, path, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                least(&mount.join("memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    of_groups.chain(machine(meminfo)).min()
}

/// The least of what the group and those above it allow. A container sees its own group at the top.
fn least(top: &Path, group: &str, file: &str) -> Option<u64> {
    let groups = Path::new(group).ancestors().map(|group| top.join(group).join(file));
    groups.filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok()).min()
}

fn machine(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "MemFree: 1 kB\nMemTotal:  1000 kB\n";

    fn files(files: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = mount.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        mount
    }

    #[test]
    fn the_least_of_the_groups_above_counts() {
        let mount = files(&[("a/memory.max", "900000\n"), ("a/b/memory.max", "max\n")]);
        assert_eq!(allowed(mount.path(), "0::/a/b\n", MACHINE), Some(900_000));
    }

    #[test]
    fn the_first_version_has_memory_apart() {
        let mount = files(&[("memory/a/memory.limit_in_bytes", "700000\n")]);
        assert_eq!(allowed(mount.path(), "4:cpu,memory:/a\n0::/\n", MACHINE), Some(700_000));
    }

    #[test]
    fn without_a_limit_it_is_the_machine() {
        let mount = files(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(allowed(mount.path(), "4:memory:/elsewhere\n", MACHINE), Some(1_024_000));
        assert_eq!(allowed(mount.path(), "", ""), None);
    }
}
