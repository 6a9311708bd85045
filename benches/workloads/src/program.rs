//! The program of a peer.

use core::time::Duration;
use std::env;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::thread;

use crate::{Memory, Pace, STEADY_HEAP, Scale, WORKLOADS, Workload};

/// What the arguments ask for.
struct Order {
    workload: &'static Workload,
    scale: Scale,
    pace: Pace,
    idle: Duration,
}

/// Does the workload named by the first argument and prints its figures as one line of JSON; then
/// stays idle for a while, and prints what it still occupies as a second.
///
/// Arguments: `WORKLOAD [PERCENT [unwatched|watched [IDLE_SECONDS]]]`.
pub fn main() -> ExitCode {
    let Some(order) = order(&env::args().skip(1).collect::<Vec<_>>()) else {
        eprintln!("usage: WORKLOAD [PERCENT [unwatched|watched [IDLE_SECONDS]]]\n");
        WORKLOADS.iter().for_each(|w| eprintln!("{:<20}{}", w.name, w.operation));
        return ExitCode::from(2);
    };
    let figures = order.workload.measure(order.scale, order.pace);
    let Memory { peak_rss_kib, rss_kib, .. } = Memory::of_this_process();
    let name = order.workload.name;
    let mut written = writeln!(
        stdout(),
        "{{\"workload\":\"{name}\",{figures},\"peak_rss_kib\":{peak_rss_kib},\"rss_kib\":{rss_kib}}}"
    );
    if !order.idle.is_zero() {
        thread::sleep(order.idle);
        let Memory { rss_kib, .. } = Memory::of_this_process();
        written = written.and(writeln!(stdout(), "{{\"idle_rss_kib\":{rss_kib}}}"));
    }
    if written.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Nothing where the arguments make no sense.
fn order(arguments: &[String]) -> Option<Order> {
    let mut arguments = arguments.iter().map(String::as_str);
    let name = arguments.next()?;
    let mut workloads = WORKLOADS.iter().chain([const { &STEADY_HEAP }]);
    let workload = workloads.find(|workload| workload.name == name)?;
    let scale = arguments
        .next()
        .map_or(Some(Scale::FULL), |percent| percent.parse().ok().map(Scale::from_percent))?;
    let pace = match arguments.next() {
        None | Some("unwatched") => Pace::Unwatched,
        Some("watched") => Pace::Watched,
        Some(_) => return None,
    };
    let idle = arguments
        .next()
        .map_or(Some(Duration::ZERO), |seconds| seconds.parse().ok().map(Duration::from_secs))?;
    arguments.next().is_none().then_some(Order { workload, scale, pace, idle })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::order;
    use crate::Pace;

    fn parsed(line: &str) -> Option<(&'static str, Pace, Duration)> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        order(&words).map(|order| (order.workload.name, order.pace, order.idle))
    }

    #[test]
    fn arguments_are_read_in_their_order_and_may_be_left_out() {
        let second = Duration::from_secs(1);
        assert_eq!(parsed("large"), Some(("large", Pace::Unwatched, Duration::ZERO)));
        assert_eq!(parsed("large 5 watched 1"), Some(("large", Pace::Watched, second)));
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        for line in
            ["", "larg", "large x", "large 5 quick", "large 5 watched x", "large 5 watched 1 1"]
        {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
