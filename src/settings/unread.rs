//! Settings that are checked and have no effect yet: a value that cannot be meant is a fault all the same.

use super::reader::Reader;

pub(super) const CHECKED: [&str; 2] = ["SPEND_LIMIT_PER_CALL_USD", "SPEND_LIMIT_PER_DAY_USD"];

pub(super) fn check(reader: &mut Reader<'_>) {
    for name in CHECKED {
        reader.parsed(name, (), "an amount in dollars", |value| {
            value.parse().is_ok_and(|amount: f64| amount.is_finite() && amount > 0.0).then_some(())
        });
    }
    reader.parsed("LISTEN_FDS", (), "a number of sockets", |value| value.parse::<u16>().ok().map(|_| ()));
}
