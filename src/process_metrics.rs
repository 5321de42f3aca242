//! The standard `process_*` metrics, from `/proc` and the process' own clock, read when they are asked for.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Registered once per process. What cannot be read keeps its last value.
pub struct ProcessMetrics {
    /// Held by the scrape that reads the time: the counter is moved on by what it lacks, which two would do
    /// at once.
    reading: Mutex<()>,
    /// Total user and system CPU time spent in seconds.
    cpu_seconds: Counter,
    /// Resident memory size in bytes.
    resident_memory: Gauge,
    /// Virtual memory size in bytes.
    virtual_memory: Gauge,
    /// Number of open file descriptors.
    open_fds: Gauge,
    /// Maximum number of open file descriptors.
    max_fds: Gauge,
    /// Number of OS threads in the process.
    threads: Gauge,
    /// Start time of the process since the Unix epoch in seconds.
    start_time: Gauge,
}

impl ProcessMetrics {
    /// Taken at the start of the process: the moment it is made is the start time that it reports.
    pub fn new() -> prometheus::Result<Self> {
        let start_time = Gauge::new(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch in seconds",
        )?;
        start_time.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        Ok(Self {
            reading: Mutex::new(()),
            cpu_seconds: Counter::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds",
            )?,
            resident_memory: Gauge::new("process_resident_memory_bytes", "Resident memory size in bytes")?,
            virtual_memory: Gauge::new("process_virtual_memory_bytes", "Virtual memory size in bytes")?,
            open_fds: Gauge::new("process_open_fds", "Number of open file descriptors")?,
            max_fds: Gauge::new("process_max_fds", "Maximum number of open file descriptors")?,
            threads: Gauge::new("process_threads", "Number of OS threads in the process")?,
            start_time,
        })
    }

    fn read_cpu(&self) {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.cpu_seconds.inc_by((cpu_seconds() - self.cpu_seconds.get()).max(0.0));
    }

    fn read(&self) {
        self.read_cpu();
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            if let Some(kibibytes) = field(&status, "VmRSS:") {
                self.resident_memory.set(kibibytes * 1024.0);
            }
            if let Some(kibibytes) = field(&status, "VmSize:") {
                self.virtual_memory.set(kibibytes * 1024.0);
            }
            if let Some(threads) = field(&status, "Threads:") {
                self.threads.set(threads);
            }
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            self.max_fds.set(most as f64);
        }
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            self.open_fds.set(fds.count().saturating_sub(1) as f64); // one is the listing itself
        }
    }

    fn all(&self) -> [&dyn Collector; 7] {
        let Self {
            cpu_seconds, resident_memory, virtual_memory, open_fds, max_fds, threads, start_time, ..
        } = self;
        [cpu_seconds, resident_memory, virtual_memory, open_fds, max_fds, threads, start_time]
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

fn cpu_seconds() -> f64 {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9
}

fn field(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_at_once_add_no_time_twice() {
        let metrics = ProcessMetrics::new().unwrap();
        let look = || {
            metrics.read_cpu();
            let (counted, spent) = (metrics.cpu_seconds.get(), cpu_seconds());
            assert!(counted < spent + 1e-9, "{counted} of {spent}"); // sums of differences are rounded
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100_000).for_each(|_| look()));
            }
        });
    }

    #[test]
    fn the_process_measures_itself() {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(ProcessMetrics::new().unwrap())).unwrap();
        let value = |name: &str| {
            let families = registry.gather();
            let metric = &families.iter().find(|family| family.name() == name).unwrap().get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        let before = value("process_cpu_seconds_total");
        assert!(before > 0.0);
        while value("process_cpu_seconds_total") <= before {} // each look costs time, so it must grow
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
    }
}
