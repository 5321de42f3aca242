//! A changed migration makes the crate that embeds it stale.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
}
