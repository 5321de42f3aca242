//! The page of a load test, in a real browser.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::DateTime;
use serde::Deserialize;
use switchboard::loadtest::page;
use switchboard::loadtest::result::{Bucket, Check, LoadTest, Sample, Scenario, Verdict};
use switchboard::sim::report::{CallsReport, Percentiles};
use tempfile::TempDir;

use crate::support::chromium::open;

/// CSS pixels.
const TELEPHONE: u32 = 390;
const SCREEN: u32 = 1_100;

const BLUE: [u8; 3] = [0x00, 0x72, 0xB2];
const GREEN: [u8; 3] = [0x00, 0x9E, 0x73];
const GREY: [u8; 3] = [0x59, 0x59, 0x59];
const AMBER: [u8; 3] = [0xB9, 0x7A, 0x00];
const RED: [u8; 3] = [0xB5, 0x33, 0x1F];
const BLUE_IN_THE_DARK: [u8; 3] = [0x56, 0xB4, 0xE9];

/// Each plot by its title, and the colours of its marks.
const PLOTS: [(&str, &[[u8; 3]]); 6] = [
    ("Latency added to frames (ms)", &[BLUE, AMBER, RED]),
    ("Time to the answer", &[BLUE, AMBER, RED]),
    ("Database connections", &[BLUE, GREEN, GREY, AMBER]),
    ("Memory (MiB)", &[BLUE, GREY, AMBER, RED]),
    ("Calls", &[BLUE, GREY]),
    ("Errors a second", &[BLUE]),
];

/// Opens the page in frames of several widths and says what is where in them.
const RULER: &str = r#"<!doctype html>
<style>body { margin: 0 } iframe { border: 0; height: 6000px; display: block }</style>
<iframe src="report.html" style="width: 390px"></iframe>
<iframe src="report.html" style="width: 1100px"></iframe>
<pre></pre>
<script>
const box = element => {
  const { x, y, width, height } = element.getBoundingClientRect();
  return { x, y, width, height };
};
const apart = (a, b) =>
  a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
const within = (a, b) =>
  a.x >= b.x && a.y >= b.y && a.x + a.width <= b.x + b.width && a.y + a.height <= b.y + b.height;
const measured = figure => {
  const svg = figure.querySelector("svg"), texts = [...svg.querySelectorAll("text")], boxes = texts.map(box);
  return {
    title: figure.querySelector("figcaption").textContent,
    ...box(svg),
    textSizes: texts.map(text => parseFloat(getComputedStyle(text).fontSize) * box(svg).width / svg.viewBox.baseVal.width),
    textsApart: boxes.every((a, i) => boxes.every((b, j) => i == j || apart(a, b))),
    textsWithin: boxes.every(text => within(text, box(svg))),
  };
};
addEventListener("load", () => {
  const pages = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    return {
      width: page.documentElement.scrollWidth,
      height: Math.ceil(page.body.getBoundingClientRect().height),
      plots: [...page.querySelectorAll("figure")].map(measured),
    };
  });
  document.querySelector("pre").textContent = JSON.stringify(pages);
});
</script>"#;

#[derive(Debug, Deserialize)]
struct Layout {
    width: u32,
    height: u32,
    plots: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    title: String,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    /// CSS pixels.
    text_sizes: Vec<f64>,
    texts_apart: bool,
    texts_within: bool,
}

/// Four minutes in which every line has something to show.
fn test() -> LoadTest {
    let sample = |at: u32| Sample {
        at_seconds: f64::from(at),
        response_p95_ms: (at % 60 != 7).then(|| 900.0 + 700.0 * (f64::from(at) / 30.0).sin()),
        errors: u64::from(at.is_multiple_of(50)),
        active_calls: Some(u64::from(at.min(19))),
        calls_limit: Some(20),
        pool_busy: Some(u64::from(3 + at % 8)),
        pool_waiting: Some(u64::from(at / 40)),
        pool_limit: Some(20),
        memory_mib: Some(60.0 + f64::from(at) / 40.0),
        memory_limit_mib: Some(128.0),
    };
    let bucket = |power: u32| Bucket {
        up_to_ms: 500.0 * 1.06_f64.powi(power as i32),
        count: u64::from(power % 9 + 1),
    };
    let scenario = Scenario {
        name: "calls".to_owned(),
        task: "20 calls of 4 minutes, started within 30 s".to_owned(),
        seconds: 240.0,
        verdict: Verdict::Critical,
        checks: vec![
            Check::new("response time P95", Some(2_300.0), "ms", 2_000.0, 5_000.0),
            Check::new("added latency P99", Some(1_600.0), "ms", 1_000.0, 1_500.0),
            Check::new("database pool in demand", Some(50.0), "%", 80.0, 100.0),
            Check::new("memory", Some(52.0), "%", 70.0, 85.0),
        ],
        asked: 20,
        errors: Vec::new(),
        upstream: Vec::new(),
        response_ms: Percentiles { p50: Some(900.0), p95: Some(1_600.0), p99: None },
        distribution: (0..20).map(bucket).collect(),
        own_lag_ms: Percentiles::default(),
        samples: (0..240).map(sample).collect(),
        calls: Some(CallsReport::default()),
    };
    LoadTest {
        version: "1.2.3".to_owned(),
        started_at: DateTime::UNIX_EPOCH,
        target: "http://127.0.0.1:8080".to_owned(),
        cpus: 2,
        verdict: Verdict::Critical,
        scenarios: vec![scenario],
    }
}

/// A folder with the page.
fn laid_out() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("report.html"), page::html(&test())).unwrap();
    folder
}

/// Opens the page of this folder; answers the titles of its plots, each of which is seen.
pub async fn plots_on_a_screen(folder: &Path) -> Vec<String> {
    let (_, screen) = layouts(folder).await;
    assert_eq!(screen.width, SCREEN, "nothing sticks out");
    for plot in &screen.plots {
        assert!(plot.width >= 290.0 && plot.height >= 150.0 && plot.texts_within, "{plot:?}");
    }
    screen.plots.into_iter().map(|plot| plot.title).collect()
}

/// What Chromium says of a page of the folder.
async fn chromium(folder: &Path, page: &str, options: &[String]) -> String {
    let all = ["--allow-file-access-from-files".to_owned()];
    let url = format!("file://{}", folder.join(page).display());
    open(&url, &folder.join("browser"), &[&all, options].concat()).await
}

/// The page's layout on a telephone and on a screen.
async fn layouts(folder: &Path) -> (Layout, Layout) {
    std::fs::write(folder.join("ruler.html"), RULER).unwrap();
    let dom = chromium(folder, "ruler.html", &["--dump-dom".to_owned()]).await;
    let (_, found) = dom.split_once("<pre>").unwrap();
    let (found, _) = found.split_once("</pre>").unwrap();
    serde_json::from_str(found).unwrap_or_else(|why| panic!("{why}: {found}"))
}

/// The page as it is seen on a screen, in pixels.
async fn screenshot(folder: &Path, height: u32, options: &[&str]) -> Picture {
    let file = folder.join("screenshot.png");
    let mut all =
        vec![format!("--screenshot={}", file.display()), format!("--window-size={SCREEN},{height}")];
    all.extend(options.iter().map(|option| (*option).to_owned()));
    chromium(folder, "report.html", &all).await;
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(file).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    Picture { width: info.width as usize, depth: info.color_type.samples(), bytes }
}

struct Picture {
    width: usize,
    /// Bytes a pixel, the first three of them red, green and blue.
    depth: usize,
    bytes: Vec<u8>,
}

impl Picture {
    /// Pixels of about this colour where a plot is.
    fn count(&self, plot: &Measured, color: [u8; 3]) -> usize {
        let rows = self.bytes.chunks_exact(self.width * self.depth);
        let rows = rows.skip(plot.y as usize).take(plot.height as usize);
        let row = |row: &[u8]| {
            let pixels = row.chunks_exact(self.depth).skip(plot.x as usize).take(plot.width as usize);
            pixels.filter(|pixel| pixel.iter().zip(color).all(|(is, asked)| is.abs_diff(asked) < 16)).count()
        };
        rows.map(row).sum()
    }
}

#[tokio::test]
async fn every_plot_is_seen_and_legible_on_a_telephone_and_on_a_screen() {
    let folder = laid_out();
    let (telephone, screen) = layouts(folder.path()).await;
    for (layout, width) in [(&telephone, TELEPHONE), (&screen, SCREEN)] {
        assert_eq!(layout.width, width, "nothing sticks out");
        let titles: Vec<_> = layout.plots.iter().map(|plot| plot.title.as_str()).collect();
        assert_eq!(titles, PLOTS.map(|(title, _)| title));
        for plot in &layout.plots {
            assert!(plot.width >= 290.0 && plot.height >= 150.0, "{plot:?}");
            assert!(plot.x >= 0.0 && plot.x + plot.width <= f64::from(width), "{plot:?}");
            assert!(plot.text_sizes.len() >= 5, "{plot:?}");
            assert!(plot.text_sizes.iter().all(|size| *size >= 9.0), "{plot:?}");
            assert!(plot.texts_apart && plot.texts_within, "{plot:?}");
        }
    }

    let light = screenshot(folder.path(), screen.height, &[]).await;
    let colors: BTreeMap<_, _> = PLOTS.into_iter().collect();
    for plot in &screen.plots {
        for &color in colors[plot.title.as_str()] {
            let seen = light.count(plot, color);
            assert!(seen >= 40, "{}: {color:02X?} has {seen} pixels", plot.title);
        }
    }

    let dark = screenshot(folder.path(), screen.height, &["--blink-settings=preferredColorScheme=0"]).await;
    for plot in &screen.plots {
        let seen = dark.count(plot, BLUE_IN_THE_DARK);
        assert!(seen >= 40, "{}: {seen} pixels", plot.title);
        assert_eq!(dark.count(plot, [0xFF; 3]), 0, "{} has a light ground", plot.title);
    }
}
