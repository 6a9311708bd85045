//! What the kernel says the process occupies.

use std::fs;

/// Figures from `/proc/self/status` and `/proc/self/smaps_rollup`, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// The largest resident set so far (`VmHWM`).
    pub peak_rss_kib: u64,
    /// The resident set now (`VmRSS`).
    pub rss_kib: u64,
    /// The part of it that lies in hugepages (`AnonHugePages`).
    pub hugepages_kib: u64,
}

impl Memory {
    /// Reads the figures; those that the kernel does not have stay 0.
    pub fn of_this_process() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let smaps = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        Self {
            peak_rss_kib: field(&status, "VmHWM:"),
            rss_kib: field(&status, "VmRSS:"),
            hugepages_kib: field(&smaps, "AnonHugePages:"),
        }
    }
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_read_by_its_name() {
        let status = "VmPeak:\t  100 kB\nVmHWM:\t   42 kB\n";
        assert_eq!(field(status, "VmHWM:"), 42);
        assert_eq!(field(status, "VmRSS:"), 0);
    }
}
