//! Figures as people read them.

/// Stands for a figure that could not be known.
pub const UNKNOWN: &str = "unknown";

/// About three digits, without zeros at the end, thousands apart: `0.25`, `12.5`, `340`, `24,101`.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let rounded = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = rounded.split_once('.').unwrap_or((&rounded, ""));
    let fraction = fraction.trim_end_matches('0');
    let mut text = String::with_capacity(rounded.len() + whole.len() / 3 + 1);
    if value < 0.0 && (!fraction.is_empty() || whole != "0") {
        text.push('-');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// The figure, or [`UNKNOWN`].
pub fn known(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_the_digits_that_matter() {
        let written = |value| figure(value);
        assert_eq!(written(0.0), "0");
        assert_eq!(written(0.254), "0.25");
        assert_eq!(written(1.5), "1.5");
        assert_eq!(written(9.999), "10");
        assert_eq!(written(12.34), "12.3");
        assert_eq!(written(99.96), "100");
        assert_eq!(written(340.4), "340");
        assert_eq!(written(999.6), "1,000");
        assert_eq!(written(24_101.0), "24,101");
        assert_eq!(written(1_234_567.0), "1,234,567");
        assert_eq!(written(-1_200.0), "-1,200");
        assert_eq!(written(-0.001), "0");
        assert_eq!(written(f64::NAN), "unknown");
        assert_eq!(known(None), "unknown");
    }
}
