//! What was measured on.

use core::fmt::{self, Display, Formatter};
use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

/// The facts about a machine without which figures say nothing.
#[derive(Deserialize, Serialize)]
pub(crate) struct Machine {
    cpus: usize,
    model: String,
    kernel: String,
    transparent_hugepages: String,
}

impl Machine {
    pub(crate) fn this_one() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name"));
        let hugepages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        let chosen = hugepages.split(['[', ']']).nth(1).unwrap_or("unknown");
        Self {
            cpus,
            model: model.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':'])).into(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            transparent_hugepages: chosen.to_owned(),
        }
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { cpus, model, kernel, transparent_hugepages } = self;
        write!(f, "{cpus} CPUs, {model}, Linux {kernel}, hugepages {transparent_hugepages}")
    }
}
