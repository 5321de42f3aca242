//! A webhook's parameters, as Twilio posts them (reference: twilio.md sections 1 and 5).

use std::fmt;

/// The parameters of one `application/x-www-form-urlencoded` body, in the order received. Blank values and
/// duplicates are kept: the signature covers them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Never fails: what is no parameter is an odd one, and the signature decides. The body's size is the
    /// caller's to bound.
    pub fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The first value of that name; blank is a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The first value of that name, unless it is blank: of a parameter that comes several times, everybody
    /// reads this one.
    pub fn told(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Names only: the values are callers' numbers.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form")?;
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_duplicates_and_order_are_kept() {
        let form = Form::parse(b"To=%2B15005550006&FromCity=&Media=b&Media=a&Body=a+b%26c%3Dd+%C3%BC");
        let pairs: Vec<_> = form.iter().collect();
        assert_eq!(
            pairs,
            [("To", "+15005550006"), ("FromCity", ""), ("Media", "b"), ("Media", "a"), ("Body", "a b&c=d ü")]
        );
        assert_eq!(form.get("Media"), Some("b"));
        assert_eq!(form.get("FromCity"), Some(""));
        assert_eq!(form.get("CallSid"), None);
    }

    #[test]
    fn of_several_values_the_first_is_told_and_a_blank_one_is_none() {
        let form = Form::parse(b"CallSid=CA1&CallSid=CA2&Digits=&Digits=1&To=+&From=");
        assert_eq!(form.told("CallSid"), Some("CA1"));
        assert_eq!([form.told("Digits"), form.told("To"), form.told("From"), form.told("None")], [None; 4]);
    }

    #[test]
    fn printing_a_form_shows_no_value() {
        assert_eq!(format!("{:?}", Form::parse(b"From=%2B14155550100")), r#"Form["From"]"#);
    }
}
