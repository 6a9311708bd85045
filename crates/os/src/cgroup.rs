//! What the control group that this process is in may use of memory.
//!
//! Sources: cgroups(7); the kernel's `admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`; proc_pid_mountinfo(5).

use crate::KeepErrno;
use crate::kernel_file::{KernelFile, leading_number};
use core::ffi::CStr;

/// The limits of a control group, its ancestors' included: the smallest of each kind counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CgroupLimits {
    /// At which the kernel ends processes: `memory.max`, or `memory.limit_in_bytes` of version 1. None: no such limit.
    pub max_bytes: Option<u64>,
    /// At which the kernel slows processes down and takes memory away: `memory.high`, or
    /// `memory.soft_limit_in_bytes` of version 1. None: no such limit.
    pub high_bytes: Option<u64>,
}

/// The limits of this process's control group, as they are now; `None` where that cannot be told.
///
/// Allocates nothing, keeps `errno`; some system calls for each ancestor, and 20 KiB of stack.
///
/// ```
/// if let Some(limits) = strata_os::cgroup_limits() {
///     assert!(limits.max_bytes != Some(0));
/// }
/// ```
#[unsafe(link_section = ".text_rarely")]
#[cold]
#[inline(never)]
pub fn cgroup_limits() -> Option<CgroupLimits> {
    cgroup_limits_in(b"")
}

/// The same of a tree of files that begins at `root` in place of the system's: `root/proc/self/cgroup` and
/// `root/proc/self/mountinfo`, and the mounts that these name, behind `root`.
pub fn cgroup_limits_in(root: &[u8]) -> Option<CgroupLimits> {
    let _keep = KeepErrno::new();
    let own = OwnGroup::read(root)?;
    let mount = Mount::find(root, own.version)?;
    let mut directory = Path::of(&[root, mount.point.bytes()])?;
    let top = directory.length;
    directory.push(b"/")?;
    directory.push(below(own.path.bytes(), mount.root.bytes()))?;
    let mut limits = CgroupLimits::default();
    let mut known = false;
    loop {
        let [max, high] = own.version.files().map(|file| read_limit(&directory, file));
        known |= max.is_some() || high.is_some();
        limits.max_bytes = least(limits.max_bytes, max.flatten());
        limits.high_bytes = least(limits.high_bytes, high.flatten());
        if directory.length <= top || !directory.pop(top) {
            break;
        }
    }
    known.then_some(limits)
}

/// The part of a group's path that lies below a mounted group; nothing where it lies elsewhere, as it does for a
/// process that was moved out of what it sees.
fn below<'a>(path: &'a [u8], mounted: &[u8]) -> &'a [u8] {
    match path.strip_prefix(without_slashes(mounted)) {
        Some(rest) if rest.first() == Some(&b'/') && !rest.starts_with(b"/..") => rest,
        _ => b"",
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The files that hold the two limits.
    const fn files(self) -> [&'static [u8]; 2] {
        match self {
            Self::One => [b"/memory.limit_in_bytes", b"/memory.soft_limit_in_bytes"],
            Self::Two => [b"/memory.max", b"/memory.high"],
        }
    }
}

/// The group that this process is in, as the hierarchy names it.
struct OwnGroup {
    version: Version,
    path: Path,
}

impl OwnGroup {
    /// From `/proc/self/cgroup`, whose lines are `number:controllers:path`. Where version 1 has the controller of
    /// memory, it counts.
    fn read(root: &[u8]) -> Option<Self> {
        let file = Path::of(&[root, b"/proc/self/cgroup"])?;
        let file = KernelFile::open(file.as_c_str()?).ok()?;
        let mut found: Option<Self> = None;
        file.for_each_line_up_to::<{ Path::LONGEST }>(|line| {
            let mut fields = line.splitn(3, |&byte| byte == b':');
            let (Some(number), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return;
            };
            let version = if number == b"0" && controllers.is_empty() {
                Version::Two
            } else if controllers.split(|&byte| byte == b',').any(|name| name == b"memory") {
                Version::One
            } else {
                return;
            };
            let stands = found.as_ref().is_some_and(|found| found.version == Version::One);
            if let Some(path) = Path::of(&[path])
                && !stands
            {
                found = Some(Self { version, path });
            }
        })
        .ok()?;
        found
    }
}

/// Where a hierarchy is mounted, and which of its groups that is.
struct Mount {
    root: Path,
    point: Path,
}

impl Mount {
    /// From `/proc/self/mountinfo`, whose lines are
    /// `number parent device root point options [tags] - type source options`.
    fn find(root: &[u8], version: Version) -> Option<Self> {
        let file = Path::of(&[root, b"/proc/self/mountinfo"])?;
        let file = KernelFile::open(file.as_c_str()?).ok()?;
        let mut found = None;
        file.for_each_line_up_to::<{ 2 * Path::LONGEST }>(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            let (Some(group), Some(point)) = (fields.nth(3), fields.next()) else { return };
            let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
            let (kind, options) = (behind.next(), behind.nth(1));
            let fits = match version {
                Version::Two => kind == Some(b"cgroup2"),
                Version::One => {
                    kind == Some(b"cgroup")
                        && options.is_some_and(|options| {
                            options.split(|&byte| byte == b',').any(|name| name == b"memory")
                        })
                }
            };
            if fits && found.is_none() {
                found = Path::unescaped(group).zip(Path::unescaped(point));
            }
        })
        .ok()?;
        let (root, point) = found?;
        Some(Self { root, point })
    }
}

/// What a limit file says: the outer `None` if there is none to read, the inner one if it sets no limit.
fn read_limit(directory: &Path, file: &[u8]) -> Option<Option<u64>> {
    /// Version 1 writes "no limit" as the greatest multiple of a page below 2⁶³.
    const NONE: u64 = 1 << 62;
    let path = Path::of(&[directory.bytes(), file])?;
    let file = KernelFile::open(path.as_c_str()?).ok()?;
    let mut text = [0; 32];
    let text = file.read_whole(&mut text).ok()?;
    if text.trim_ascii() == b"max" {
        return Some(None);
    }
    leading_number(text).map(|bytes| (bytes < NONE).then_some(bytes))
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A path in a buffer of its own, with room for a zero byte at the end.
struct Path {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl Path {
    /// Longer paths are not looked at: the groups of container systems have some 300 bytes.
    const LONGEST: usize = 1024;

    /// The parts in a row; none if they are too long.
    fn of(parts: &[&[u8]]) -> Option<Self> {
        let mut path = Self { bytes: [0; Self::LONGEST], length: 0 };
        parts.iter().try_for_each(|part| path.push(part))?;
        Some(path)
    }

    /// A field of mountinfo, in which blanks and the like are written as `\040`.
    #[unsafe(link_section = ".text_rarely")]
    fn unescaped(field: &[u8]) -> Option<Self> {
        let mut path = Self::of(&[])?;
        let mut rest = field;
        while let Some((&first, behind)) = rest.split_first() {
            let octal = |digits: &[u8]| {
                digits.iter().try_fold(0_u8, |number, &digit| {
                    let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
                    number.checked_mul(8)?.checked_add(digit)
                })
            };
            match behind.get(..3).and_then(octal).filter(|_| first == b'\\') {
                Some(byte) => {
                    path.push(&[byte])?;
                    rest = behind.get(3..).unwrap_or_default();
                }
                None => {
                    path.push(&[first])?;
                    rest = behind;
                }
            }
        }
        Some(path)
    }

    fn push(&mut self, part: &[u8]) -> Option<()> {
        let end = self.length.checked_add(part.len()).filter(|end| *end < Self::LONGEST)?;
        self.bytes.get_mut(self.length..end)?.copy_from_slice(part);
        self.length = end;
        Some(())
    }

    /// Takes the last name off, down to the first `least` bytes; false if there is none.
    fn pop(&mut self, least: usize) -> bool {
        let trimmed = without_slashes(self.bytes());
        let Some(slash) = trimmed.iter().rposition(|&byte| byte == b'/') else { return false };
        let length = slash.max(least);
        if length >= self.length {
            return false;
        }
        if let Some(gone) = self.bytes.get_mut(length..) {
            gone.fill(0);
        }
        self.length = length;
        true
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).ok()
    }
}

/// A path without slashes at its end.
fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    path.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
