//! Telephone numbers as Twilio writes them in `From` and `To` (reference: twilio.md section 1).

/// What a network sends for a withheld number: a word in the digits of a telephone's keys.
const WITHHELD: [&str; 5] = [
    "+266696687",   // ANONYMOUS
    "+2562533",     // BLOCKED
    "+7378742833",  // RESTRICTED
    "+86282452253", // UNAVAILABLE
    "+8656696",     // UNKNOWN
];

/// Whether `text` is a telephone number that a call can be made from: E.164, and not one that stands for a
/// withheld number. `sip:` and `client:` addresses and words such as `anonymous` are none.
pub fn can_be_caller_id(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+').map(str::as_bytes) else { return false };
    let is_number = digits.iter().all(u8::is_ascii_digit)
        && match digits {
            [b'1', area, ..] => digits.len() == 11 && *area >= b'2',
            [first, ..] => (7..=15).contains(&digits.len()) && *first != b'0',
            [] => false,
        };
    is_number && !WITHHELD.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_telephone_number_that_is_not_withheld_can_be_a_caller_id() {
        for number in ["+14155550100", "+442079460000", "+4930123456", "+6834002", "+8613812345678"] {
            assert!(can_be_caller_id(number), "{number}");
        }
        for none in [
            "",
            "+",
            "+1",
            "+1415555010",
            "+10000000000",
            "+11111111111",
            "+0441632960000",
            "+1234567890123456",
            "14155550100",
            "+1 4155550100",
            "+1415555010a",
            "+١٤١٥٥٥٥٠١٠٠",
            "anonymous",
            "Anonymous",
            "unknown",
            "client:alice",
            "sip:alice@pbx.example.com",
            "sip:+14155550100@pbx.example.com",
            "+266696687",
            "+7378742833",
            "+2562533",
            "+8656696",
            "+86282452253",
            "+464",
        ] {
            assert!(!can_be_caller_id(none), "{none}");
        }
    }
}
