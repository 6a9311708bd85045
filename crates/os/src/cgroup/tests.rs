use super::*;
use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    string::{String, ToString},
};

/// A made-up tree of files, gone at the end.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(std::format!("strata-cgroup-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        Self(root)
    }

    fn with(self, path: &str, text: &str) -> Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn limits(&self) -> Option<CgroupLimits> {
        cgroup_limits_in(self.0.as_os_str().as_bytes())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const MOUNTS_V2: &str = "\
21 27 0:19 / /sys rw,nosuid - sysfs sysfs rw
24 21 0:22 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

#[test]
fn the_smallest_limit_on_the_way_up_counts() {
    let tree = Tree::new("v2")
        .with("proc/self/cgroup", "0::/user.slice/job.scope\n")
        .with("proc/self/mountinfo", MOUNTS_V2)
        .with("sys/fs/cgroup/user.slice/job.scope/memory.max", "max\n")
        .with("sys/fs/cgroup/user.slice/job.scope/memory.high", "268435456\n")
        .with("sys/fs/cgroup/user.slice/memory.max", "536870912\n")
        .with("sys/fs/cgroup/user.slice/memory.high", "402653184\n");
    let limits = CgroupLimits { max_bytes: Some(512 << 20), high_bytes: Some(256 << 20) };
    assert_eq!(tree.limits(), Some(limits));
}

#[test]
fn no_limit_is_none_and_no_file_is_unknown() {
    let tree = Tree::new("none").with("proc/self/cgroup", "0::/a\n");
    assert_eq!(tree.limits(), None, "nothing is mounted");
    let tree = tree.with("proc/self/mountinfo", MOUNTS_V2);
    assert_eq!(tree.limits(), None, "the group of all has no such files");
    let tree = tree.with("sys/fs/cgroup/a/memory.max", "max\n");
    assert_eq!(tree.limits(), Some(CgroupLimits::default()));
}

#[test]
fn version_1_counts_where_it_has_the_memory() {
    let mounts = "\
30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 /docker/abc /sys/fs/cgroup/memory ro shared:16 master:7 - cgroup cgroup rw,memory
";
    let tree = Tree::new("v1")
        .with(
            "proc/self/cgroup",
            "12:cpu,cpuacct:/docker/abc\n9:hugetlb,memory:/docker/abc/sub\n0::/docker/abc\n",
        )
        .with("proc/self/mountinfo", mounts)
        .with("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n")
        .with("sys/fs/cgroup/memory/sub/memory.limit_in_bytes", "9223372036854771712\n")
        .with("sys/fs/cgroup/memory/sub/memory.soft_limit_in_bytes", "805306368\n");
    let limits = CgroupLimits { max_bytes: Some(1 << 30), high_bytes: Some(768 << 20) };
    assert_eq!(tree.limits(), Some(limits));
}

#[test]
fn a_group_outside_of_the_mount_shows_as_the_mount() {
    let mounts = MOUNTS_V2.replace("0:22 / ", "0:22 /kubepods/pod1 ");
    for path in ["/kubepods/pod2", "/../..", "/kubepods/pod10", "/"] {
        let tree = Tree::new("outside")
            .with("proc/self/cgroup", &std::format!("0::{path}\n"))
            .with("proc/self/mountinfo", &mounts)
            .with("sys/fs/cgroup/memory.max", "1048576\n");
        assert_eq!(tree.limits().unwrap().max_bytes, Some(1 << 20), "{path}");
    }
}

#[test]
fn mounts_with_blanks_in_their_names_are_found() {
    let mounts = MOUNTS_V2.replace("/sys/fs/cgroup", "/a\\040b");
    let tree = Tree::new("blank")
        .with("proc/self/cgroup", "0::/x\n")
        .with("proc/self/mountinfo", &mounts)
        .with("a b/x/memory.max", "4096\n");
    assert_eq!(tree.limits().unwrap().max_bytes, Some(4096));
}

#[test]
fn nonsense_is_no_limit() {
    let long = core::iter::repeat_n('x', 2000).collect::<String>();
    for (group, mounts, limit) in [
        ("", MOUNTS_V2.to_string(), "4096"),
        ("0:", MOUNTS_V2.to_string(), "4096"),
        ("0::/x", "24 21 0:22".to_string(), "4096"),
        ("0::/x", MOUNTS_V2.to_string(), "many"),
        ("0::/x", MOUNTS_V2.to_string(), ""),
        (&*std::format!("0::/{long}"), "garbage".to_string(), "4096"),
    ] {
        let tree = Tree::new("nonsense")
            .with("proc/self/cgroup", group)
            .with("proc/self/mountinfo", &mounts)
            .with("sys/fs/cgroup/x/memory.max", limit);
        assert_eq!(tree.limits(), None, "{group:.20} {mounts:.20} {limit}");
    }
}
