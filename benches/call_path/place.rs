//! The CPUs that subjects and load run on, each on a core of its own where there is a choice.

use std::fmt;
use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::subject::Kind;

/// Which they are, by the kernel's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// All subjects' at once, so that whatever else happens there falls on all alike.
    subjects: usize,
    /// None where there is one CPU only: subjects and load would delay each other.
    load: Option<usize>,
    /// For the second worker of [`Kind::Across`].
    second: Option<usize>,
}

impl Place {
    /// Chooses among those that this process may use.
    pub fn choose() -> anyhow::Result<Self> {
        let usable = sched_getaffinity(None)?;
        let mut cpus: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&cpu| usable.is_set(cpu)).collect();
        // The first thread of each core, then the second ones.
        cpus.sort_by_cached_key(|&cpu| {
            siblings(cpu).into_iter().filter(|&at| at < cpu && usable.is_set(at)).count()
        });
        Ok(Self { subjects: cpus[0], load: cpus.get(1).copied(), second: cpus.get(2).copied() })
    }

    /// Binds this thread, and with it the subject that it starts next, to where that one runs.
    pub fn take_for(&self, kind: Kind) -> anyhow::Result<()> {
        let second = self.second.filter(|_| kind == Kind::Across);
        pin(self.subjects, second)
    }

    /// Binds this thread to where the load runs.
    pub fn take_for_load(&self) -> anyhow::Result<()> {
        pin(self.load.unwrap_or(self.subjects), None)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subjects, load, second } = self;
        match (load, second) {
            (None, _) => {
                write!(formatter, "all on CPU {subjects}, the load, too: the figures do not compare")
            }
            (Some(load), None) => {
                write!(formatter, "on CPU {subjects}, the load on CPU {load}; two workers share the one CPU")
            }
            (Some(load), Some(second)) => {
                write!(
                    formatter,
                    "on CPU {subjects}, the load on CPU {load}; two workers on CPUs {subjects} and {second}"
                )
            }
        }
    }
}

fn pin(cpu: usize, other: Option<usize>) -> anyhow::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    other.into_iter().for_each(|other| cpus.set(other));
    Ok(sched_setaffinity(None, &cpus)?)
}

/// The CPUs on the same core, itself among them: `0,4` or `0-1`. None where the kernel does not tell.
fn siblings(cpu: usize) -> Vec<usize> {
    let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let list = fs::read_to_string(file).unwrap_or_default();
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}
