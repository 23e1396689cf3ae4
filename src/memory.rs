//! How much memory is free: what would not fit is refused before it is tried, since a system that has promised too much
//! kills without a word.

use std::path::Path;

/// Bytes of the processor's memory that can be had without swapping, where the system tells: free ones, and no more than the
/// process's control groups and its limit of address space (`ulimit -v`) have left.
pub fn available() -> Option<u64> {
    let free = field("/proc/meminfo", "MemAvailable:")? * KIBIBYTE;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = left_in_groups(&groups, Path::new("/sys/fs/cgroup"));
    let of_addresses = field("/proc/self/limits", "Max address space").zip(field("/proc/self/status", "VmSize:"));
    let of_addresses = of_addresses.map(|(most, taken)| most.saturating_sub(taken * KIBIBYTE));
    [Some(free), of_groups, of_addresses].into_iter().flatten().min()
}

const KIBIBYTE: u64 = 1024;

/// How a version of Linux's control groups calls what it tells of a group's memory.
struct GroupFiles {
    /// Below the folder of all groups.
    folder: &'static str,
    most: &'static str,
    taken: &'static str,
    /// In `memory.stat`: files that were read, which count as taken, but give way.
    files: &'static str,
}

const VERSION_1: GroupFiles = GroupFiles {
    folder: "memory",
    most: "memory.limit_in_bytes",
    taken: "memory.usage_in_bytes",
    files: "total_inactive_file",
};
const VERSION_2: GroupFiles =
    GroupFiles { folder: "", most: "memory.max", taken: "memory.current", files: "inactive_file" };

impl GroupFiles {
    /// Bytes that a group has left; `None` without a limit.
    fn left(&self, group: &Path) -> Option<u64> {
        let number = |file: &str| field(group.join(file), "");
        let files = field(group.join("memory.stat"), self.files).unwrap_or(0);
        Some(number(self.most)?.saturating_sub(number(self.taken)?.saturating_sub(files)))
    }
}

/// Bytes that the groups of a process and all that they are in have left; `groups` is its `/proc/self/cgroup`, `root` the folder of
/// all groups. Inside a container the groups' paths may be those outside, and the container's own group be the root.
fn left_in_groups(groups: &str, root: &Path) -> Option<u64> {
    let of_line = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let version = match controllers {
            "" => VERSION_2,
            _ if controllers.split(',').any(|controller| controller == "memory") => VERSION_1,
            _ => return None,
        };
        let folder = root.join(version.folder);
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(|group| version.left(&folder.join(group))).min()
    };
    groups.lines().filter_map(of_line).min()
}

/// The number behind `name` in one of the system's files; `None` where there is none, or no limit.
fn field(file: impl AsRef<Path>, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_a_part_of_what_the_machine_has() {
        let Some(available) = available() else {
            assert!(!std::path::Path::new("/proc/meminfo").exists(), "the system tells");
            return;
        };
        let all = field("/proc/meminfo", "MemTotal:").unwrap() * KIBIBYTE;
        assert!(available > 0 && available < all, "{available} of {all}");
    }

    #[test]
    fn what_has_no_limit_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("limits");
        std::fs::write(&file, "Max data size       unlimited   unlimited\nMax address space   4096   unlimited\n")
            .unwrap();
        let field = |name: &str| field(&file, name);
        assert_eq!(field("Max address space"), Some(4096));
        assert_eq!(field("Max data size"), None);
        assert_eq!(field("Max open files"), None);
    }

    #[test]
    fn the_narrowest_group_that_the_process_is_in_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let left = |groups: &str| left_in_groups(groups, root.path());
        assert_eq!(left("0::/user.slice/app.scope\n"), None);
        write("user.slice/app.scope/memory.max", "max\n");
        write("user.slice/app.scope/memory.current", "100\n");
        assert_eq!(left("0::/user.slice/app.scope\n"), None);
        write("user.slice/memory.max", "5000\n");
        write("user.slice/memory.current", "2000\n");
        write("user.slice/memory.stat", "anon 7\ninactive_file 500\n");
        assert_eq!(left("0::/user.slice/app.scope\n"), Some(3500));
        write("user.slice/app.scope/memory.max", "1000\n");
        assert_eq!(left("0::/user.slice/app.scope\n"), Some(900));
        assert_eq!(left("0::/user.slice\n"), Some(3500));
        // The path of a container as it is outside; inside, its group is the root.
        write("memory.max", "600\n");
        write("memory.current", "0\n");
        assert_eq!(left("0::/docker/1f2e\n"), Some(600));
        write("memory/job/memory.limit_in_bytes", "400\n");
        write("memory/job/memory.usage_in_bytes", "350\n");
        write("memory/job/memory.stat", "inactive_file 10\ntotal_inactive_file 50\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/memory.usage_in_bytes", "700\n");
        assert_eq!(left("3:cpu,cpuacct:/x\n2:memory:/job\n"), Some(100));
        assert_eq!(left("damaged\n:\n"), None);
    }
}
