use super::*;
use std::vec::Vec;

fn parsed(text: &str) -> (Config, Vec<Problem>) {
    let mut problems = Vec::new();
    let config = Config::parse(text.as_bytes(), |complaint| problems.push(complaint.problem));
    (config, problems)
}

#[test]
fn nothing_said_leaves_the_defaults() {
    for text in ["", ",", " , ,"] {
        assert_eq!(parsed(text), (Config::DEFAULT, Vec::new()), "{text:?}");
    }
}

#[test]
fn every_key_acts() {
    let (config, problems) = parsed(
        "page_heap:legacy,front_end:per_thread,cpu_id:cpu,max_per_cpu_cache_size:64K,\
         max_total_thread_cache_bytes:0x100000,exit_report:tcmalloc,\
         snapshot_file:/tmp/a:b-%p.json,snapshot_interval:30,snapshot_detail:figures,\
         background_thread:true,release_rate:1M,release_delay:5s,release_inside_spans:false,\
         memory_limit:1G,soft_memory_limit:cgroup,system_calls:memory",
    );
    assert_eq!(problems, []);
    assert_eq!(config.page_heap, PageHeapChoice::Legacy);
    assert_eq!(config.front_end, FrontEndChoice::PerThread);
    assert_eq!(config.cpu_id, CpuIdChoice::Cpu);
    assert_eq!(config.max_per_cpu_cache_size, 64 << 10);
    assert_eq!(config.max_total_thread_cache_bytes, 1 << 20);
    assert_eq!(config.exit_report, ExitReport::Tcmalloc);
    for (name, form) in [
        ("none", ExitReport::None),
        ("tcmalloc", ExitReport::Tcmalloc),
        ("tcmalloc-today", ExitReport::TcmallocToday),
        ("pbtxt", ExitReport::Pbtxt),
        ("pbtxt-today", ExitReport::PbtxtToday),
        ("brief", ExitReport::Brief),
        ("explain", ExitReport::Explain),
        ("json", ExitReport::Json),
    ] {
        let (config, problems) = parsed(&std::format!("exit_report:{name}"));
        assert_eq!((config.exit_report, problems.len()), (form, 0));
    }
    assert_eq!(config.snapshot_interval_seconds, 30);
    assert_eq!(config.snapshot_detail, SnapshotDetail::Figures);
    assert_eq!(config.background_thread, BackgroundThread::On);
    assert_eq!((config.release_rate, config.release_delay_ms), (1 << 20, 5000));
    assert!(!config.release_inside_spans);
    assert_eq!(config.memory_limit, MemoryLimit::Bytes(1 << 30));
    assert_eq!(config.soft_memory_limit, MemoryLimit::Cgroup);
    assert_eq!(config.system_calls, SystemCalls::Memory);
}

#[test]
fn the_last_usable_path_counts() {
    let path = |text: &[u8]| Config::snapshot_file(text).map(|path| path.as_bytes().to_vec());
    assert_eq!(path(b"snapshot_interval:1"), None);
    assert_eq!(path(b"snapshot_file"), None);
    assert_eq!(path(b"snapshot_file:a, snapshot_file:b:c ,x"), Some(b"b:c".to_vec()));
    assert_eq!(path(b"snapshot_file:a,snapshot_file:"), Some(b"a".to_vec()));
}

#[test]
fn times_have_units() {
    let delay = |text: &str| parsed(text).0.release_delay_ms;
    assert_eq!(delay("release_delay:1500ms"), 1500);
    assert_eq!(delay("release_delay:0s"), 0);
    assert_eq!(delay("release_delay:never"), u64::MAX);
    for text in ["5", "s", "ms", "1.5s", "-1s", "1Ks", "0x1s", "3601s", "99999999999999999999s"] {
        let (config, problems) = parsed(&std::format!("release_delay:{text}"));
        assert_eq!((config, problems), (Config::DEFAULT, [Problem::BadValue].into()), "{text}");
    }
}

#[test]
fn bad_pairs_are_named_and_change_nothing() {
    for (text, problem) in [
        ("page_heap", Problem::NoValue),
        ("page_heap:", Problem::BadValue),
        ("page_heap:Legacy", Problem::BadValue),
        ("page_heaps:legacy", Problem::UnknownKey),
        ("max_per_cpu_cache_size:-1", Problem::BadValue),
        ("max_per_cpu_cache_size:+1", Problem::BadValue),
        ("max_per_cpu_cache_size:1.5M", Problem::BadValue),
        ("max_per_cpu_cache_size:99999999999999999999", Problem::BadValue),
        ("max_per_cpu_cache_size:99999999999T", Problem::BadValue),
        ("exit_report:loud", Problem::BadValue),
        ("snapshot_file:", Problem::BadValue),
        ("snapshot_interval:1s", Problem::BadValue),
        ("snapshot_interval:", Problem::BadValue),
        ("snapshot_detail:all", Problem::BadValue),
        ("snapshot_interval:1", Problem::NoSnapshotFile),
        ("snapshot_detail:figures", Problem::NoSnapshotFile),
        ("memory_limit:0", Problem::BadValue),
        ("memory_limit:some", Problem::BadValue),
        (":", Problem::UnknownKey),
    ] {
        assert_eq!(parsed(text), (Config::DEFAULT, [problem].into()), "{text:?}");
    }
}

#[test]
fn the_last_pair_of_a_key_counts() {
    let (config, problems) = parsed("page_heap:legacy,page_heap:temeraire");
    assert_eq!((config.page_heap, problems.len()), (PageHeapChoice::Temeraire, 0));
}

#[test]
fn what_is_said_of_caches_gets_a_line_where_a_hardened_heap_has_none() {
    let hardened = parsed("hardened:true").0;
    for pair in [
        "front_end:per_thread",
        "front_end:per_cpu",
        "cpu_id:cpu",
        "max_per_cpu_cache_size:64K",
        "max_total_thread_cache_bytes:1M",
    ] {
        for text in [
            std::format!("hardened:true,{pair}"),
            std::format!("{pair},hardened:false,hardened:true"),
        ] {
            assert_eq!(parsed(&text), (hardened, [Problem::NoCaches].into()), "{text}");
        }
        assert_eq!(parsed(&std::format!("hardened:true,{pair},hardened:false")).1, [], "{pair}");
    }
    let both = "hardened:true,front_end:per_thread,cpu_id:neither";
    assert_eq!(parsed(both), (hardened, [Problem::NoCaches, Problem::BadValue].into()));
}

#[test]
fn a_complaint_names_key_and_value() {
    let mut line = std::string::String::new();
    Config::parse(b"page_heap:l\xffx", |complaint| line = std::format!("{complaint}"));
    assert_eq!(line, "STRATA_CONF: bad value for key 'page_heap', value 'l\\xffx': ignored");
}

#[test]
fn skip_intervals_are_times_and_never_is_none() {
    let heap = |text: &str| {
        let heap: crate::Heap = crate::Heap::with(parsed(text).0);
        // SAFETY: the block was had a moment ago.
        unsafe { heap.deallocate(heap.allocate(1)) };
        heap.core().and_then(|core| core.page_heap().skip_intervals())
    };
    let of = |short_ms: u64, long_ms: u64| {
        let (short_ns, long_ns) = (short_ms * 1_000_000, long_ms * 1_000_000);
        Some(strata_temeraire::SkipIntervals { short_ns, long_ns })
    };
    assert_eq!(heap(""), of(60_000, 300_000));
    let both = "skip_subrelease_short_interval:1s,skip_subrelease_long_interval:2500ms";
    assert_eq!(heap(both), of(1000, 2500));
    assert_eq!(heap("page_heap:legacy"), None);
    for bad in ["never", "5", "-1s", ""] {
        let (config, problems) = parsed(&std::format!("skip_subrelease_short_interval:{bad}"));
        assert_eq!(problems.len(), 1, "{bad}");
        assert_eq!(config, Config::DEFAULT);
    }
}

#[test]
fn the_page_heap_that_is_chosen_decides_what_goes_back_by_itself_unless_that_is_said() {
    let policy = |text: &str| {
        let (config, problems) = parsed(text);
        assert_eq!(problems, []);
        (config.release_rate, config.release_delay_ms)
    };
    let default = policy("");
    assert_eq!(default, (Config::DEFAULT.release_rate, Config::DEFAULT.release_delay_ms));
    assert_eq!(policy("page_heap:legacy,page_heap:temeraire"), default);
    let legacy = policy("page_heap:temeraire,page_heap:legacy");
    assert_eq!(legacy, (4 << 20, 2000));
    assert_eq!(policy("release_rate:7,page_heap:legacy"), (7, legacy.1));
    let said = std::format!("release_rate:{},release_delay:1s,page_heap:legacy", default.0);
    assert_eq!(policy(&said), (default.0, 1000), "what is said holds, the default of another too");
}
