//! Test suites that run again and again, each round with another seed.

use core::time::Duration;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;

use crate::command::shown;
use crate::workspace::Workspace;

/// A test target, or a part of one, that is random.
#[derive(Clone, Copy)]
pub(crate) struct RandomSuite {
    pub(crate) package: &'static str,
    /// What cargo gets: `--test NAME` or `--lib`.
    target: &'static [&'static str],
    /// Tests whose names contain this.
    filter: &'static str,
    /// The variable that sets how much it does, and its values in the short and the long form.
    amount: Option<(&'static str, &'static str, &'static str)>,
}

impl RandomSuite {
    /// All tests of a target, each as long as it is by itself.
    pub(crate) const fn new(package: &'static str, target: &'static [&'static str]) -> Self {
        Self { package, target, filter: "", amount: None }
    }

    /// Only the tests whose names contain `filter`.
    pub(crate) const fn only(self, filter: &'static str) -> Self {
        Self { filter, ..self }
    }

    /// As long as `variable` says: `short`, or `long` in the long form.
    pub(crate) const fn amount(
        self,
        variable: &'static str,
        short: &'static str,
        long: &'static str,
    ) -> Self {
        Self { amount: Some((variable, short, long)), ..self }
    }
}

/// What the commands that run such suites have in common.
#[derive(Args)]
pub(crate) struct RoundOptions {
    /// So many rounds, however long they take
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,

    /// The seed of the first round; the next ones count from it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// No suite begins later than so many minutes after the first; without it, no round later than half an hour
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
}

/// How often the suites run, and with what.
pub(crate) struct Rounds {
    /// The first round's seed; the next ones count from it.
    seed: u64,
    /// Rounds, or as many as fit into half an hour.
    most: Option<u64>,
    /// After so long no suite begins.
    longest: Option<Duration>,
    long: bool,
}

const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

/// The profile of the root manifest that the suites are built with: fast, and with every assertion in.
const PROFILE: &str = "matrix";

/// A seed that is not the last one's.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() * 1000
}

impl Rounds {
    /// As the options say; without a number of rounds, one in the short form.
    pub(crate) fn new(options: &RoundOptions, long: bool) -> Self {
        Self {
            seed: options.seed.unwrap_or_else(fresh_seed),
            most: options.rounds.or((!long).then_some(1)),
            longest: options.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
            long,
        }
    }

    /// Runs all suites, round after round, and stops at the first failure, whose command is printed.
    pub(crate) fn run(&self, workspace: &Workspace, suites: &[RandomSuite]) -> Result<ExitCode> {
        let start = Instant::now();
        let mut round = 0;
        while self.most.map_or(round == 0 || start.elapsed() < HALF_AN_HOUR, |most| round < most) {
            for suite in suites {
                if self.longest.is_some_and(|longest| start.elapsed() >= longest) {
                    println!("time is up in round {}: what ran is green", round + 1);
                    return Ok(ExitCode::SUCCESS);
                }
                if !self.run_suite(workspace, suite, self.seed.wrapping_add(round))? {
                    return Ok(ExitCode::FAILURE);
                }
            }
            round += 1;
            println!("round {round} is green");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whether the suite was green.
    fn run_suite(&self, workspace: &Workspace, suite: &RandomSuite, seed: u64) -> Result<bool> {
        let seed = seed.to_string();
        let mut command = workspace.cargo("test");
        command
            .args(["--quiet", "--profile", PROFILE, "--package", suite.package])
            .args(suite.target)
            .args(["--", suite.filter])
            .env("STRATA_SEED", &seed);
        let mut said = format!("STRATA_SEED={seed}");
        if let Some((variable, short, long)) = suite.amount {
            let amount = if self.long { long } else { short };
            command.env(variable, amount);
            said += &format!(" {variable}={amount}");
        }
        println!("{said} {}", shown(&command));
        let status = command.status().with_context(|| format!("starting {}", shown(&command)))?;
        if !status.success() {
            println!("red: {said} {}", shown(&command));
        }
        Ok(status.success())
    }
}
