//! Times on the command line: `12h`, `90d`.

use chrono::TimeDelta;

/// A number of hours or days, at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    hours: u32,
}

const LONGEST_HOURS: u32 = 3_650 * 24;

impl From<Span> for TimeDelta {
    fn from(span: Span) -> Self {
        Self::hours(span.hours.into())
    }
}

/// Reads `12h` or `90d`.
pub fn parse(text: &str) -> Result<Span, String> {
    let hours = || {
        let digits = text.get(..text.len().checked_sub(1)?)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u32 = digits.parse().ok()?;
        let hours = match text.as_bytes().last()? {
            b'h' => Some(number),
            b'd' => number.checked_mul(24),
            _ => None,
        };
        hours.filter(|hours| (1..=LONGEST_HOURS).contains(hours))
    };
    let wanted = "expected a number of hours or days up to ten years, such as `12h` or `90d`";
    hours().map(|hours| Span { hours }).ok_or_else(|| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_hours_or_days_up_to_ten_years() {
        let hours = |text| parse(text).ok().map(|span| span.hours);
        assert_eq!((hours("1h"), hours("90d"), hours("3650d")), (Some(1), Some(2_160), Some(87_600)));
        for text in ["", "d", "0d", "90", "-1d", "+1d", "1 d", "1.5d", "3651d", "4294967296d", "90m", "9é"] {
            assert_eq!(hours(text), None, "{text:?}");
        }
    }
}
