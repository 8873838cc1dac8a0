//! How much memory the process may have.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Returns the bytes of memory that the process may have: those of the machine, or less if a control group
/// (cgroups(7)) or a resource limit (getrlimit(2)) says so. None when nothing is known.
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let resources = [Resource::As, Resource::Data].map(|resource| getrlimit(resource).current);
    let of_groups = groups
        .lines()
        .filter_map(|line| group_limit(line, Path::new(CGROUPS)));
    let of_machine = machine.as_deref().and_then(total);
    of_groups
        .chain(of_machine)
        .chain(resources.into_iter().flatten())
        .min()
}

/// Returns the smallest limit of a group, given by its line in /proc/self/cgroup, and of those around it.
fn group_limit(line: &str, mounted: &Path) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mounted, file) = match controllers {
        "" => (mounted.to_path_buf(), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (mounted.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // In a container the path may be one of the host's; the mounted root is then the container's group.
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    groups
        .map(|group| mounted.join(group).join(file))
        .filter_map(|file: PathBuf| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}

/// Returns the memory of the machine, from /proc/meminfo.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_a_group_and_those_around_it_counts() {
        let mounted = std::env::temp_dir().join(format!("portal-cgroup-{}", std::process::id()));
        let write = |path: &str, limit: &str| {
            let file = mounted.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, limit).unwrap();
        };
        write("memory.max", "max\n");
        write("a/memory.max", "4096\n");
        write("a/b/memory.max", "8192\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/c/memory.limit_in_bytes", "2048\n");
        for (line, limit) in [
            ("0::/", None),
            ("0::/a/b", Some(4096)),
            ("0::/a/gone", Some(4096)),
            ("4:memory:/c", Some(2048)),
            ("4:cpu,memory:/elsewhere", Some(9223372036854771712)),
            ("7:cpu:/a", None),
            ("", None),
        ] {
            assert_eq!(group_limit(line, &mounted), limit, "{line}");
        }
        fs::remove_dir_all(&mounted).unwrap();
    }

    #[test]
    fn this_machine_has_memory() {
        assert_eq!(
            total("MemFree: 1 kB\nMemTotal:       2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total("MemTotal: many\n"), None);
        assert!(memory_limit().is_some_and(|limit| limit > 1 << 20));
    }
}
