//! A real browser.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// A browser takes a second; a busy machine takes it longer.
const BROWSER_DEADLINE: Duration = Duration::from_secs(60);

/// Opens a page, with a profile of its own, and waits until the browser is done; answers what it prints.
pub async fn open(url: &str, profile: &Path, options: &[String]) -> String {
    let browser = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
        .args(["--force-device-scale-factor=1", "--force-color-profile=srgb"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(options)
        .arg(url)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(BROWSER_DEADLINE, browser).await.expect("Chromium is done in time");
    let output = output.expect("Chromium is installed: `make test` does that");
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
