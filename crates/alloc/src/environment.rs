//! Options from the environment.

use crate::Config;
use strata_os::{environment, warn_line};

/// The options that `STRATA_CONF` gives. What it does not understand costs one line on stderr each.
pub(crate) fn config() -> Config {
    environment(c"STRATA_CONF")
        .map_or(Config::DEFAULT, |text| Config::parse(text, |complaint| warn_line!("{complaint}")))
}
