//! The benches that criterion does not run take its arguments, and keep and compare their figures, as it
//! does.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What `cargo bench` says, and what may follow its `--`.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// Said by `cargo bench`; without it, as under `cargo test`, nothing is measured
    #[arg(long)]
    bench: bool,
    /// Only the benches whose name has this in it
    filter: Option<String>,
    /// Keep the figures by this name
    #[arg(long, value_name = "NAME", conflicts_with = "baseline")]
    save_baseline: Option<String>,
    /// Show the figures beside those kept by this name
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
}

impl Asked {
    /// Whether this bench is to run.
    pub fn is_for(&self, bench: &str) -> bool {
        self.bench && self.filter.as_ref().is_none_or(|filter| bench.contains(filter.as_str()))
    }
}

/// A figure, as often as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Figure {
    /// # Panics
    /// It was never measured.
    pub fn of(measured: impl IntoIterator<Item = f64>) -> Self {
        let mut measured: Vec<_> = measured.into_iter().collect();
        measured.sort_by(f64::total_cmp);
        let (least, most) = (measured[0], measured[measured.len() - 1]);
        Self { least, median: measured[measured.len() / 2], most }
    }
}

impl fmt::Display for Figure {
    /// `1.17 (1.12 to 1.31)`; of one that was measured once, itself.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, median, most } = self;
        let text = if least < most {
            format!("{median:.2} ({least:.2} to {most:.2})")
        } else {
            format!("{median:.2}")
        };
        formatter.pad(&text)
    }
}

/// What a bench has measured.
pub struct Figures {
    bench: String,
    measured: Vec<(String, Figure)>,
}

impl Figures {
    /// What changes the figures, such as a size, belongs into the bench's name: others are not compared with
    /// them.
    pub fn of(bench: impl Into<String>) -> Self {
        Self { bench: bench.into(), measured: vec![] }
    }

    /// The name says the unit, too; answers the figure.
    pub fn add(&mut self, name: impl Into<String>, measured: impl IntoIterator<Item = f64>) -> Figure {
        let figure = Figure::of(measured);
        self.measured.push((name.into(), figure));
        figure
    }

    /// Keeps them, or shows them beside those that were kept, if that is asked for. Fails if none were.
    pub fn finish(self, asked: &Asked) -> anyhow::Result<()> {
        if let Some(name) = &asked.save_baseline {
            let measured: BTreeMap<_, _> = self.measured.iter().cloned().collect();
            fs::create_dir_all(folder(name))?;
            fs::write(self.file(name), serde_json::to_vec_pretty(&measured)?)?;
        }
        if let Some(name) = &asked.baseline {
            let kept = fs::read(self.file(name))
                .with_context(|| format!("no figures of {} are kept as {name}", self.bench))?;
            let kept =
                serde_json::from_slice(&kept).with_context(|| self.file(name).display().to_string())?;
            self.compare(name, &kept);
        }
        Ok(())
    }

    fn compare(&self, name: &str, kept: &BTreeMap<String, Figure>) {
        println!("{:<48} {name:>26} {:>26} {:>10}", self.bench, "now", "change");
        for (figure, now) in &self.measured {
            let (before, change) = match kept.get(figure) {
                Some(before) => {
                    let change = (now.median / before.median - 1.0) * 100.0;
                    (before.to_string(), format!("{change:+.1} %"))
                }
                None => ("-".to_owned(), String::new()),
            };
            println!("{figure:<48} {before:>26} {now:>26} {change:>10}");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        folder(name).join(&self.bench).with_extension("json")
    }
}

/// `target/bench/NAME`.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench").join(name)
}
