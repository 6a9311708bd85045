//! How much memory a heap may have, as the options say.

use crate::{Config, MemoryLimit};
use strata_os::{CgroupLimits, cgroup_limits, warn_line};
use strata_page_heap::MemoryLimits;

/// The limits that the options name. Those of the control group are read now; where they cannot be, a line on
/// standard error says so, and there is none.
pub(crate) fn limits_of(config: &Config) -> MemoryLimits {
    let asks = [config.memory_limit, config.soft_memory_limit].contains(&MemoryLimit::Cgroup);
    let group = if asks { limits_of_the_group() } else { CgroupLimits::default() };
    limits_with(config, group)
}

/// Those of the control group, or none and a line about it. Away from what each program runs: few ask, and it is long.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
fn limits_of_the_group() -> CgroupLimits {
    let group = cgroup_limits();
    if group.is_none() {
        warn_line!("STRATA_CONF: the limits of the control group cannot be read: none is set");
    }
    group.unwrap_or_default()
}

/// The same, of a control group with these limits.
fn limits_with(config: &Config, group: CgroupLimits) -> MemoryLimits {
    let hard = match config.memory_limit {
        MemoryLimit::None => None,
        MemoryLimit::Bytes(bytes) => Some(bytes),
        MemoryLimit::Cgroup => group.max_bytes,
    };
    let soft = match (config.soft_memory_limit, config.memory_limit) {
        (MemoryLimit::Bytes(bytes), _) => Some(bytes),
        // What the kernel slows the group down at, or else ends it at.
        (MemoryLimit::Cgroup, _) => group.high_bytes.or(group.max_bytes),
        (MemoryLimit::None, MemoryLimit::Cgroup) => group.high_bytes,
        (MemoryLimit::None, _) => None,
    };
    // A limit of 0 is none to the page heap.
    let bytes = |limit: Option<u64>| limit.map_or(0, |bytes| bytes.max(1));
    MemoryLimits { soft_bytes: bytes(soft), hard_bytes: bytes(hard) }
}

#[cfg(test)]
mod tests;
