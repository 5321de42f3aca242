//! When the service says, in an error's text, that a request may be made again (reference: OpenAI Realtime,
//! "Errors").

use crate::Millis;

/// Longer waits make no difference.
const LONGEST: f64 = 365.0 * 86_400_000.0;

/// Reads "Please try again in 6m0s." and the like; none where it says nothing of the kind.
pub fn retry_after(message: &str) -> Option<Millis> {
    let (_, rest) = message.split_once("try again in ")?;
    let mut rest = rest.trim_start();
    let mut millis: Option<f64> = None;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(number) = rest[..digits].trim_end_matches('.').parse::<f64>() else { break };
        let after_number = rest[digits..].trim_start();
        let letters = after_number.find(|c: char| !c.is_alphabetic()).unwrap_or(after_number.len());
        let (unit, after_unit) = after_number.split_at(letters);
        let unit = if rest[..digits].ends_with('.') { "" } else { unit }; // the end of the sentence
        let Some(unit) = unit_ms(unit) else { break };
        millis = Some(millis.unwrap_or(0.0) + number * unit);
        rest = after_unit;
        if let Some(more) = rest.trim_start().strip_prefix("and ") {
            rest = more;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    millis.map(|millis| millis.min(LONGEST) as Millis)
}

/// The length of a unit. A number without one is of seconds.
fn unit_ms(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" | "msec" | "millisecond" | "milliseconds" => 1.0,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 86_400_000.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_and_their_sums_are_read() {
        for (text, millis) in [
            ("350ms", 350),
            ("1.898s", 1_898),
            ("20s", 20_000),
            ("6m0s", 360_000),
            ("1h2m3.5s", 3_723_500),
            ("2 minutes", 120_000),
            ("1 minute and 30 seconds", 90_000),
            ("1 day", 86_400_000),
            ("7", 7_000),
        ] {
            let message =
                format!("Rate limit reached. Please try again in {text}. Visit the page to learn more.");
            assert_eq!(retry_after(&message), Some(millis), "{text}");
        }
        for text in ["Please try again later.", "Please try again in a moment.", ""] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }
}
