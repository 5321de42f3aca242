//! docs/openapi.json is what the code says: `UPDATE_DOCS=1 cargo test --lib docs::openapi` writes it, and
//! without the variable the same test compares it.

use super::{page, root};
use crate::http::openapi;

const PAGE: &str = "docs/openapi.json";

#[test]
fn the_description_in_the_repository_is_that_of_the_code() {
    let described = openapi::text();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(PAGE), described).unwrap();
    } else {
        assert!(page(PAGE) == described, "{PAGE} is old: write it with UPDATE_DOCS=1");
    }
}
