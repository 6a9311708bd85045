//! More threads than CPUs do everything at once while CPUs are emptied, threads are moved and signals arrive.
//!
//! What no model shows: whether the sections really end or begin anew at every instruction. `STRATA_STRESS_SECONDS`
//! sets the duration of each test, `STRATA_SEED` the seed.

use crate::{ground, source::CountedSource, upkeep::assert_limits_add_up};
use core::{
    sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    time::Duration,
};
use std::{thread, time::Instant};
use strata_cpu_cache::{CpuCache, IdKind, StopRefusal};
use strata_os::{Seed, SystemPages, allowed_cpus, for_each_allowed_cpu, thread_id};
use strata_size_classes::SizeClass;
use strata_sync::Mutex;

/// How long after one worker the next gets a signal: 5000 a second.
const SIGNAL_PERIOD: Duration = Duration::from_micros(200);

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// One of the two tests at a time: each wants all CPUs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// What the threads share.
struct Storm {
    cache: CpuCache,
    source: CountedSource,
    classes: Vec<SizeClass>,
    /// Objects in nobody's hands, which any worker may give up.
    passed_on: Mutex<Vec<(SizeClass, usize)>>,
    /// The kernel's numbers of the workers, once they run.
    workers: Vec<AtomicI32>,
    over: AtomicBool,
}

/// One worker's part: what it holds.
struct Worker<'a> {
    storm: &'a Storm,
    own: Vec<(SizeClass, *mut u8)>,
    random: Seed,
    operations: usize,
}

impl Worker<'_> {
    fn run(mut self) -> usize {
        while !self.storm.over.load(Ordering::Relaxed) {
            self.step();
            self.operations += 1;
        }
        while let Some((class, object)) = self.own.pop() {
            self.give(class, object);
        }
        self.operations
    }

    fn step(&mut self) {
        let class = self.storm.classes[self.random.below(self.storm.classes.len())];
        match self.random.below(20) {
            0..9 if self.own.len() < 400 => self.take(class),
            9 if self.own.len() < 400 => self.take_batch(class),
            10 => self.give_batch(class),
            11 => self.pass_on(),
            _ => {
                if let Some(place) = self.own.len().checked_sub(1) {
                    let (class, object) = self.own.swap_remove(self.random.below(place + 1));
                    self.give(class, object);
                }
            }
        }
    }

    fn take(&mut self, class: SizeClass) {
        // SAFETY: the cache is set up, glibc registered this thread.
        let mut object = unsafe { self.storm.cache.pop(class) };
        if object.is_null() {
            // SAFETY: the cache is set up, glibc registered this thread.
            object = unsafe { self.storm.cache.refill(&self.storm.source, class) };
        }
        if !object.is_null() {
            self.storm.source.received(class, object);
            self.own.push((class, object));
        }
    }

    fn give(&mut self, class: SizeClass, object: *mut u8) {
        self.storm.source.given_up(class, object);
        // SAFETY: the cache is set up, glibc registered this thread; the object is this thread's.
        if !unsafe { self.storm.cache.push(class, object) } {
            // SAFETY: the cache is set up, glibc registered this thread.
            unsafe { self.storm.cache.overflow(&self.storm.source, class, object) };
        }
    }

    fn take_batch(&mut self, class: SizeClass) {
        let mut objects = [core::ptr::null_mut(); 40];
        let wanted = self.random.below(objects.len() + 1);
        // SAFETY: the cache is set up, glibc registered this thread.
        let taken = unsafe { self.storm.cache.pop_batch(class, &mut objects[..wanted]) };
        for &object in &objects[..taken] {
            self.storm.source.received(class, object);
            self.own.push((class, object));
        }
    }

    fn give_batch(&mut self, class: SizeClass) {
        let mut objects = Vec::new();
        self.own.retain(|&(of, object)| {
            let goes = of == class && objects.len() < 40;
            if goes {
                objects.push(object);
            }
            !goes
        });
        objects.iter().for_each(|&object| self.storm.source.given_up(class, object));
        // SAFETY: the cache is set up, glibc registered this thread; the objects are this thread's.
        let given = unsafe { self.storm.cache.push_batch(class, &objects) };
        for &object in &objects[given..] {
            self.storm.source.kept(class, object);
            self.own.push((class, object));
        }
    }

    /// Leaves objects to others, and gives up what others left.
    fn pass_on(&mut self) {
        let mut passed_on = self.storm.passed_on.lock();
        let rest = passed_on.len().saturating_sub(20);
        let found: Vec<_> = passed_on.drain(rest..).collect();
        let left = self.own.len().saturating_sub(10);
        passed_on.extend(self.own.drain(left..).map(|(class, object)| (class, object.addr())));
        drop(passed_on);
        for (class, object) in found {
            self.give(class, core::ptr::without_provenance_mut(object));
        }
    }
}

impl Storm {
    /// Empties CPUs at random, makes their regions longer and shorter, and moves limits between them; says how often it
    /// stopped one.
    fn stop_at_random(&self, mut random: Seed) -> usize {
        let (cache, source, pages) = (&self.cache, &self.source, SystemPages::new());
        let mut stops = 0;
        while !self.over.load(Ordering::Relaxed) {
            let id = random.below(cache.ids() as usize);
            let id = u32::try_from(id).expect("an id");
            let stopped = match random.below(8) {
                0..2 => cache.drain(source, id).map(|_| ()),
                2..4 => cache.lengthen(&pages, id).map(|_| ()),
                4..6 => cache.shorten(source, &pages, id).map(|_| ()),
                6 => {
                    cache.shuffle(source);
                    cache.recall(source, id);
                    Ok(())
                }
                _ => {
                    cache.drain_idle(source, &pages, 1);
                    cache.shorten_roomy(source, &pages, 1);
                    Ok(())
                }
            };
            match stopped {
                Ok(()) => stops += 1,
                Err(refusal) => assert_eq!(refusal, StopRefusal::Busy),
            }
            thread::sleep(Duration::from_micros(100));
        }
        stops
    }

    /// Moves workers to other CPUs.
    fn move_at_random(&self, mut random: Seed) {
        let mut cpus = Vec::new();
        for_each_allowed_cpu(|cpu| cpus.push(cpu as usize));
        while !self.over.load(Ordering::Relaxed) {
            let worker = self.workers[random.below(self.workers.len())].load(Ordering::Relaxed);
            if worker != 0 {
                let one = [cpus[random.below(cpus.len())]];
                ground::bind(worker, if random.below(3) == 0 { &cpus } else { &one });
            }
            thread::sleep(Duration::from_micros(150));
        }
    }

    /// Sends each worker a signal in turn, 5000 a second.
    fn signal_in_turn(&self) {
        // SAFETY: asks a number.
        let process = unsafe { libc::getpid() };
        let mut due = Instant::now();
        for worker in self.workers.iter().cycle() {
            while Instant::now() < due {
                thread::sleep(SIGNAL_PERIOD);
            }
            due += SIGNAL_PERIOD;
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let worker = worker.load(Ordering::Relaxed);
            if worker != 0 {
                // SAFETY: the thread is of this process; its handler adds to an atomic.
                unsafe { libc::syscall(libc::SYS_tgkill, process, worker, libc::SIGUSR1) };
            }
        }
    }

    fn work(&self, number: usize, seed: Seed) -> usize {
        let own = i32::try_from(thread_id()).expect("a thread's number");
        self.workers[number].store(own, Ordering::Relaxed);
        let random = seed.derived(number as u64);
        Worker { storm: self, own: Vec::new(), random, operations: 0 }.run()
    }

    /// Runs everything at once for as long as the environment says; says how many operations the workers did.
    fn rage(&self, seed: Seed) -> usize {
        let duration = std::env::var("STRATA_STRESS_SECONDS").ok();
        let seconds = duration.and_then(|seconds| seconds.parse().ok()).unwrap_or(2.0);
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        thread::scope(|scope| {
            // Two of these, so that one meets the other.
            let stoppers = [1, 2].map(|number| {
                scope.spawn(move || self.stop_at_random(seed.derived(u64::MAX - number)))
            });
            scope.spawn(|| self.move_at_random(seed.derived(u64::MAX - 3)));
            let signals = scope.spawn(|| self.signal_in_turn());
            let workers: Vec<_> = (0..self.workers.len())
                .map(|number| scope.spawn(move || self.work(number, seed)))
                .collect();
            while Instant::now() < end && !workers.iter().any(|worker| worker.is_finished()) {
                thread::sleep(Duration::from_millis(5));
            }
            self.over.store(true, Ordering::Relaxed);
            signals.join().expect("no panic");
            let stops: usize =
                stoppers.into_iter().map(|stopper| stopper.join().expect("no panic")).sum();
            println!("{stops} stops, {} signals", SIGNALS.load(Ordering::Relaxed));
            workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
        })
    }

    /// At rest: every object is in one place, every byte of capacity is counted.
    fn assert_in_order(&self) {
        let mut balance = 0;
        for id in 0..self.cache.ids() {
            let stats = self.cache.cpu_stats(id);
            assert_eq!(
                stats.capacity_bytes + stats.available_bytes,
                stats.granted_bytes,
                "capacity of {id}: {stats:?}"
            );
            assert!(stats.granted_bytes <= stats.limit_bytes, "{id}: {stats:?}");
            assert!(stats.held_bytes <= stats.capacity_bytes, "{id}: {stats:?}");
            balance += stats.refilled_objects as i64 - stats.flushed_objects as i64;
        }
        assert_limits_add_up(&self.cache);
        let mut out = 0;
        for &class in &self.classes {
            let held: u64 = (0..self.cache.ids()).map(|id| self.cache.objects(id, class)).sum();
            assert_eq!(held, self.source.out(class) as u64, "{class:?}: what is out is in caches");
            out += held as i64;
        }
        assert_eq!(balance, out, "what came less what went is what is here");
    }
}

fn storm(id_kind: IdKind) {
    let _one = ONE_AT_A_TIME.lock();
    let Some(cache) = ground::cache(id_kind, 96 << 10) else { return };
    let seed = Seed::from_environment();
    // SAFETY: the handler adds to an atomic; system calls that it interrupts are begun anew.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = count_signal as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is complete.
    let refused =
        unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, core::ptr::null_mut()) };
    assert_eq!(refused, 0);

    let workers = 3 * allowed_cpus() as usize + 1;
    let storm = Storm {
        cache,
        source: CountedSource::new(2000 * workers),
        classes: [8, 16, 64, 256, 1024, 4096].map(ground::class).into(),
        passed_on: Mutex::default(),
        workers: (0..workers).map(|_| AtomicI32::new(0)).collect(),
        over: AtomicBool::new(false),
    };
    let operations = storm.rage(seed);
    println!("{operations} operations by {workers} threads on {id_kind:?}");

    for (class, object) in core::mem::take(&mut *storm.passed_on.lock()) {
        let object = core::ptr::without_provenance_mut(object);
        storm.source.given_up(class, object);
        // SAFETY: the object was left to us; the cache is set up and glibc registered this thread.
        unsafe { storm.cache.overflow(&storm.source, class, object) };
    }
    storm.assert_in_order();
    let populated = |&id: &u32| storm.cache.cpu_stats(id).populated;
    assert_ne!((0..storm.cache.ids()).filter(populated).count(), 0);
    for id in 0..storm.cache.ids() {
        let held = storm.cache.cpu_stats(id).held_bytes;
        assert_eq!(storm.cache.drain(&storm.source, id), Ok(held));
        let stats = storm.cache.cpu_stats(id);
        assert_eq!((stats.held_bytes, stats.capacity_bytes), (0, 0), "{id}: {stats:?}");
    }
    storm.assert_in_order();
    storm.source.assert_whole();
}

#[test]
fn nothing_is_lost_or_doubled_on_numbers_of_cpus() {
    storm(IdKind::Cpu);
}

#[test]
fn nothing_is_lost_or_doubled_on_concurrency_ids() {
    storm(IdKind::Concurrency);
}
