//! What libtest says at the end of a run, counted.

use core::ops::AddAssign;

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Adds up the `test result:` lines of an output.
    pub(crate) fn in_output(output: &str) -> Self {
        output.lines().fold(Self::default(), |mut sum, line| {
            sum += Self::in_line(line);
            sum
        })
    }

    /// The figures of one `test result: ok. 3 passed; 0 failed; …` line; zero for any other.
    pub(crate) fn in_line(line: &str) -> Self {
        let Some(results) = line.trim_start().strip_prefix("test result:") else {
            return Self::default();
        };
        let figure = |what: &str| {
            let before = results.split(what).next().filter(|before| before.len() < results.len());
            before.and_then(|text| text.split_whitespace().next_back()?.parse().ok()).unwrap_or(0)
        };
        Self { passed: figure("passed"), failed: figure("failed") }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests;
