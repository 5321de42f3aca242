//! Twilio's moments (reference: twilio.md sections 6.2 and 6.4): RFC 2822 in most places, ISO 8601 in others.

use chrono::{DateTime, Utc};

/// The moment that a parameter tells; none if it is in neither format.
pub fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc2822(text).or_else(|_| DateTime::parse_from_rfc3339(text));
    moment.ok().map(|moment| moment.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let expected = DateTime::from_timestamp(1_281_930_301, 0);
        assert_eq!(timestamp("Mon, 16 Aug 2010 03:45:01 +0000"), expected);
        assert_eq!(timestamp("2010-08-16T03:45:01Z"), expected);
        assert_eq!(timestamp("2010-08-16T05:45:01.000+02:00"), expected);
        assert_eq!(timestamp("yesterday"), None);
    }
}
