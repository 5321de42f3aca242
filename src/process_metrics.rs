//! The standard `process_*` metrics, from `/proc` and the process' own clock, read when they are asked for.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use actors::metrics::{MetricSet as _, Registrar};
use prometheus::{Counter, Gauge};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

actors::metrics! {
    /// Registered once per process. What cannot be read keeps its last value.
    struct ProcessMetrics {
        /// Total user and system CPU time spent in seconds.
        cpu_seconds: Counter = "process_cpu_seconds_total";
        /// Resident memory size in bytes.
        resident_memory: Gauge = "process_resident_memory_bytes";
        /// Virtual memory size in bytes.
        virtual_memory: Gauge = "process_virtual_memory_bytes";
        /// Number of open file descriptors.
        open_fds: Gauge = "process_open_fds";
        /// Maximum number of open file descriptors.
        max_fds: Gauge = "process_max_fds";
        /// Number of OS threads in the process.
        threads: Gauge = "process_threads";
        /// Start time of the process since the Unix epoch in seconds.
        start_time: Gauge = "process_start_time_seconds";
    }
    beside {
        /// Held by the scrape that reads the time: the counter is moved on by what it lacks, which two would
        /// do at once.
        reading: Arc<Mutex<()>>;
    }
}

/// For the start of the process: the moment at which the metrics are registered is the start time that they
/// report.
///
/// # Errors
/// The registry has them already.
pub fn register(registry: &dyn Registrar) -> prometheus::Result<()> {
    let metrics = ProcessMetrics::build()?;
    metrics.start_time.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    metrics.register_read(registry, ProcessMetrics::read)
}

impl ProcessMetrics {
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
}

/// Seconds of CPU that this process has used.
pub fn cpu_seconds() -> f64 {
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
        let metrics = ProcessMetrics::build().unwrap();
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
        register(&registry).unwrap();
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
