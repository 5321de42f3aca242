//! The benches that criterion does not run take its arguments, and keep and compare their figures, as it does.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

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

/// What a bench has measured.
pub struct Figures {
    bench: &'static str,
    measured: Vec<(String, f64)>,
}

impl Figures {
    pub fn of(bench: &'static str) -> Self {
        Self { bench, measured: vec![] }
    }

    /// The name says the unit, too.
    pub fn add(&mut self, name: impl Into<String>, figure: f64) {
        self.measured.push((name.into(), figure));
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
            self.compare(name, &serde_json::from_slice(&kept)?);
        }
        Ok(())
    }

    fn compare(&self, name: &str, kept: &BTreeMap<String, f64>) {
        println!("{:<48} {name:>10} {:>10} {:>10}", self.bench, "now", "change");
        for (figure, now) in &self.measured {
            let (before, change) = match kept.get(figure) {
                Some(before) => (format!("{before:.2}"), format!("{:+.1} %", (now / before - 1.0) * 100.0)),
                None => ("-".to_owned(), String::new()),
            };
            println!("{figure:<48} {before:>10} {now:>10.2} {change:>10}");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        folder(name).join(self.bench).with_extension("json")
    }
}

/// `target/bench/NAME`.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench").join(name)
}
