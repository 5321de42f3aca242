//! The files in deploy/ agree with the program: waiting times, the compiler, the metrics that alerts and the
//! dashboard name, and what the tools that read the files say.

use std::path::Path;
use std::process::Command;

use super::{files, page, root};

mod alerts;
mod levels;
mod metrics;
mod promql;

/// What stands behind the first `marker`, up to the end of the line.
fn behind<'a>(text: &'a str, marker: &str) -> &'a str {
    let (_, rest) = text.split_once(marker).unwrap_or_else(|| panic!("no {marker}"));
    rest.lines().next().unwrap_or_default().trim()
}

/// Runs a tool on files of deploy/; what it says if it objects.
fn objections(tool: &str, arguments: &[&str], folder: &Path) -> Option<String> {
    let output = Command::new(tool).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error}; `make test` installs it"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let objects = !output.status.success() || !output.stderr.is_empty() && tool == "systemd-analyze";
    objects.then(|| said(&output.stdout) + &said(&output.stderr))
}

#[test]
fn every_supervisor_waits_longer_than_a_drain_takes() {
    let least = crate::serve::LONGEST_STOP.as_secs();
    for (path, marker) in [
        ("deploy/systemd/switchboard.service", "\nTimeoutStopSec="),
        ("deploy/compose.yaml", "\n  stop_grace_period: "),
        ("deploy/kubernetes/statefulset.yaml", "\n      terminationGracePeriodSeconds: "),
    ] {
        let text = page(path);
        let waits: u64 = behind(&text, marker).trim_end_matches('s').parse().unwrap();
        // Kubernetes counts the time of `preStop`, too.
        let before = if path.contains("kubernetes") { 5 } else { 0 };
        assert!(waits >= least + before, "{path} waits {waits} s, and a drain takes {least} s");
    }
}

#[test]
fn the_image_is_built_by_the_pinned_compiler() {
    let toolchain = page("rust-toolchain.toml");
    let compiler = behind(&toolchain, "channel = ").trim_matches('"');
    assert!(page("deploy/Dockerfile").contains(&format!("FROM rust:{compiler}-")), "{compiler}");
}

#[test]
fn no_file_for_deployment_has_a_password() {
    let compose = page("deploy/compose.yaml");
    for line in compose.lines().filter(|line| line.contains("PASSWORD") && !line.trim().starts_with('#')) {
        assert!(line.contains(":?") || line.contains("$$"), "{line}");
    }
    let secret = page("deploy/kubernetes/secret.example.yaml");
    let (_, values) = secret.split_once("stringData:\n").unwrap();
    for line in values.lines().filter(|line| !line.trim().starts_with('#')) {
        assert!(line.contains("REPLACE") || line.contains("USER:PASSWORD@HOST"), "{line}");
    }
}

#[test]
fn systemd_takes_the_units_and_finds_them_little_exposed() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let units = std::fs::read_dir(root().join("deploy/systemd")).unwrap();
    for unit in units.map(|unit| unit.unwrap().path()) {
        // The program that they start has to be there.
        let text = std::fs::read_to_string(&unit).unwrap();
        let text = text.replace("/usr/local/bin/switchboard", program.to_str().unwrap());
        std::fs::write(folder.path().join(unit.file_name().unwrap()), text).unwrap();
    }
    let services = ["switchboard.service", "switchboard-migrate.service"];
    let units = ["verify", "./switchboard.socket", "./switchboard.service", "./switchboard-migrate.service"];
    assert_eq!(objections("systemd-analyze", &units, folder.path()), None);
    for service in services {
        // In tenths: 2.0 of 10 at most.
        let service = format!("./{service}");
        let security = ["security", "--no-pager", "--offline=yes", "--threshold=20", &service];
        assert_eq!(objections("systemd-analyze", &security, folder.path()), None);
    }
}

#[test]
fn promtool_takes_the_configuration_the_rules_and_their_tests() {
    let folder = root().join("deploy/prometheus");
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        assert_eq!(objections("promtool", &arguments, &folder), None);
    }
}

#[test]
fn the_image_is_built_from_all_that_cargo_needs() {
    let ignored = page(".dockerignore");
    let kept: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for needed in
        ["Cargo.lock", "Cargo.toml", "actors", "benches", "docs/configuration.md", "migrations", "src"]
    {
        assert!(kept.contains(&needed), ".dockerignore leaves out {needed}");
    }
    // A file outside these folders that the code includes would be missing in the image.
    for path in files("src", "rs").into_iter().chain(files("actors/src", "rs")) {
        let product = page(&path);
        let product = product.split("#[cfg(test)]").next().unwrap_or_default();
        for outside in ["../docs/", "../deploy/", "../tests/", "README"] {
            let included = product.lines().filter(|line| line.contains("include_") && line.contains(outside));
            for line in included {
                assert!(kept.iter().any(|kept| line.contains(kept)), "{path}: the image lacks {line}");
            }
        }
    }
}
