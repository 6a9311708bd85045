//! What `cargo xtask simulate` runs: heaps up to a tebibyte, and days over hundreds of CPUs.

use core::error::Error;
use std::process::ExitCode;

use clap::Parser;
use strata_replay::simulation::{Demand, Level, Steady, days, growth, steady};
use strata_replay::{Layer, PageHeapKind, ReleasePolicy};

/// Simulate heaps that no machine here could hold
///
/// First each page heap grows to --gib, and the cost of its operations is taken on the way. Then a heap of a
/// gibibyte of small objects grows faster and slower, and has them replaced. Then a heap of --peak GiB goes through --hours
/// of day and night on --cpus CPUs. Nothing of that is touched; the heap's own books need about a thousandth of --gib.
/// Fails where a heap does not do what it is there for: small objects off hugepages, or a night on which memory
/// does not go back.
#[derive(Debug, Parser)]
#[command(name = "simulate", bin_name = "cargo xtask simulate")]
struct Options {
    /// Gibibytes that the page heaps grow to
    #[arg(long, value_name = "GIB", default_value_t = 1024)]
    gib: u64,

    /// Hours of simulated time
    #[arg(long, value_name = "N", default_value_t = 48)]
    hours: u64,

    /// CPUs
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    cpus: u32,

    /// Gibibytes that are live at noon
    #[arg(long, value_name = "GIB", default_value_t = 16)]
    peak: u64,

    /// MiB that go back to the kernel in a second, whether they were wanted of late or not
    #[arg(long, value_name = "MIB", default_value_t = ReleasePolicy::DEFAULT.rate >> 20)]
    release_rate: u64,

    /// Milliseconds after which memory that nobody wanted goes back
    #[arg(long, value_name = "MS", default_value_t = ReleasePolicy::DEFAULT.delay_ms)]
    release_delay: u64,
}

const GIB: f64 = 1073741824.0;

const HEAPS: [PageHeapKind; 2] = [PageHeapKind::Temeraire, PageHeapKind::Legacy];

/// The part of a heap of small objects that is to stand on hugepages.
const COVERED: f64 = 0.97;

fn main() -> ExitCode {
    let options = Options::parse();
    HEAPS.into_iter().for_each(|page_heap| show_growth(page_heap, &options));
    let shown = HEAPS.map(show_steady).into_iter();
    let shown = shown.chain(HEAPS.into_iter().map(|page_heap| show_days(page_heap, &options)));
    let mut code = ExitCode::SUCCESS;
    for failure in shown.filter_map(Result::err) {
        eprintln!("simulate: {failure}");
        code = ExitCode::FAILURE;
    }
    code
}

fn show_growth(page_heap: PageHeapKind, options: &Options) {
    let levels: Vec<u64> = [256, 64, 16, 4, 1].map(|part| (options.gib << 30) / part).into();
    println!("{page_heap:?}: ns of an operation as the heap grows\n");
    println!(
        "  in use GiB     spans  books MiB  page pair  small replaced  large replaced  release"
    );
    for Level { in_use_bytes, spans, metadata_bytes, costs, .. } in growth(page_heap, &levels) {
        println!(
            "{:>12.1} {spans:>9} {:>10.1} {:>10.0} {:>15.0} {:>15.0} {:>8.0}",
            in_use_bytes as f64 / GIB,
            metadata_bytes as f64 / 1048576.0,
            costs.page_pair,
            costs.small_replaced,
            costs.large_replaced,
            costs.release
        );
    }
    println!();
}

fn show_steady(page_heap: PageHeapKind) -> Result<(), Box<dyn Error>> {
    let mut least = 1.0_f64;
    println!(
        "{page_heap:?}: a gibibyte of small objects, of which 20 000 a second are then replaced for 15 s\n"
    );
    println!("  grows in s  on hugepages  and then  came and went MiB");
    for grows_s in [2, 8, 32, 128] {
        let demand = Steady { blocks: 524_288, grows_s, replaces_s: 15, replaced: 20_000, cpus: 4 };
        let ends = steady(page_heap, demand)?;
        println!(
            "{grows_s:>12} {:>11.1} % {:>7.1} % {:>19.1}",
            100.0 * ends.grown.hugepage_coverage(),
            100.0 * ends.replaced.hugepage_coverage(),
            ends.grown.refaulted_bytes as f64 / 1048576.0,
        );
        least = least.min(ends.grown.hugepage_coverage()).min(ends.replaced.hugepage_coverage());
    }
    println!();
    if least < COVERED {
        return Err(format!("{page_heap:?}: {:.1} % on hugepages", 100.0 * least).into());
    }
    Ok(())
}

fn show_days(page_heap: PageHeapKind, options: &Options) -> Result<(), Box<dyn Error>> {
    let demand = Demand {
        hours: options.hours,
        cpus: options.cpus,
        peak_bytes: options.peak << 30,
        replaced: 12_000,
        policy: ReleasePolicy {
            rate: options.release_rate << 20,
            delay_ms: options.release_delay,
            ..ReleasePolicy::DEFAULT
        },
    };
    println!("{page_heap:?}: days and nights on {} CPUs, GiB\n", options.cpus);
    println!(
        "  hour   live  backed  on hugepages  caches  page heap  released  refaulted  ns/operation"
    );
    let hours = days(page_heap, demand)?;
    for hour in hours.iter().filter(|hour| hour.hour.is_multiple_of(3)) {
        let moment = hour.moment;
        let gib = |bytes: u64| bytes as f64 / GIB;
        let caches = [Layer::CpuCaches, Layer::TransferCaches, Layer::CentralFreeLists];
        let caches: u64 = caches.into_iter().map(|layer| moment.in_layer(layer)).sum();
        println!(
            "{:>6} {:>6.2} {:>7.2} {:>13.2} {:>7.2} {:>10.2} {:>9.2} {:>10.2} {:>13.0}",
            hour.hour,
            gib(moment.live_bytes),
            gib(moment.backed_bytes),
            gib(moment.hugepage_bytes),
            gib(caches),
            gib(moment.in_layer(Layer::PageHeap)),
            gib(moment.released_bytes),
            gib(moment.refaulted_bytes),
            hour.ns
        );
    }
    println!();
    // At midnight a quarter lives of what did at noon.
    for day in hours.chunks_exact(24) {
        let backed = |hour: usize| day.get(hour - 1).map_or(0, |it| it.moment.backed_bytes);
        if backed(24) > backed(12) / 2 {
            return Err(format!("{page_heap:?}: {} of {} stay", backed(24), backed(12)).into());
        }
    }
    Ok(())
}
