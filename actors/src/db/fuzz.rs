//! What the fuzzer feeds to the database's parsers.

use super::connect::url::Target;
use super::write::spool;

/// A database URL: what is wrong with it is said without its password, and a good one has the password that
/// it names. The files of `sslrootcert` are no business of the fuzzer's.
pub(crate) fn fuzz_database_url(data: &[u8]) {
    const PASSWORD: &str = "kw0tZr1ddl3";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let reads_a_file = text.matches("sslrootcert=").count() > text.matches("sslrootcert=system").count();
    if reads_a_file || text.contains(PASSWORD) {
        return;
    }
    let url = text.replacen("PASSWORD", PASSWORD, 1);
    let (_, behind) = url.split_once("://").unwrap_or(("", &url));
    let authority = behind.split(['/', '?']).next().unwrap_or_default();
    let has_password = authority.contains(&format!(":{PASSWORD}@"));
    match Target::parse(&url) {
        Ok(target) => {
            let read = target.config.get_password().map(String::from_utf8_lossy).unwrap_or_default();
            let read = read.contains(PASSWORD);
            assert!(read || !has_password || behind.contains("password="), "{url}");
        }
        Err(bad) => assert!(!has_password || !format!("{bad} {bad:?}").contains(PASSWORD), "{bad}"),
    }
}

/// A record on disk, of this version or of any other.
pub(crate) fn fuzz_spooled_record(data: &[u8]) {
    spool::fuzz_record(data);
}
