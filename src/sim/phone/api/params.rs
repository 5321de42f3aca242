//! The parameters of a request, checked against what an operation knows.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use url::Url;

use super::Asked;
use super::reply::Fault;
use crate::sim::phone::network::NUMBER;
use crate::sim::phone::twiml::{self, Method, Target, Verb};

/// The longest inline document, in characters.
const MAX_TWIML_CHARS: usize = 4_000;

/// What a parameter may hold.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// At most so many characters.
    Text(usize),
    /// E.164.
    Number,
    /// Our own number.
    OwnNumber,
    /// Absolute, http or https.
    Url,
    /// As [`Kind::Url`], or empty.
    UrlOrNone,
    Method,
    Bool,
    Within(u32, u32),
    OneOf(&'static [&'static str]),
    /// May be repeated, or hold several separated by spaces.
    Several(&'static [&'static str]),
    /// `YYYY-MM-DD`, or a moment in ISO 8601, as Twilio's own clients write it.
    When,
    Twiml,
}

/// A checked [`Kind::When`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Day(NaiveDate),
    Moment(DateTime<Utc>),
}

impl When {
    fn parse(text: &str) -> Option<Self> {
        let moment = || text.parse().or_else(|_| text.parse().map(|local: NaiveDateTime| local.and_utc()));
        text.parse().map(Self::Day).or_else(|_| moment().map(Self::Moment)).ok()
    }

    fn day(self) -> NaiveDate {
        match self {
            Self::Day(day) => day,
            Self::Moment(at) => at.date_naive(),
        }
    }

    fn first(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
            Self::Moment(at) => at,
        }
    }

    fn last(self) -> DateTime<Utc> {
        match self {
            Self::Day(_) => self.first() + TimeDelta::days(1) - TimeDelta::milliseconds(1),
            Self::Moment(at) => at,
        }
    }
}

/// Names and kinds of an operation's parameters.
pub type Known = [(&'static str, Kind)];

/// Every list takes these.
pub const PAGING: [(&str, Kind); 2] =
    [("PageSize", Kind::Within(1, 1_000)), ("Page", Kind::Within(0, 100_000))];

/// The parameters of a request, in order.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a GET or DELETE, the form of a POST.
    pub fn read(asked: &Asked) -> Result<Self, Fault> {
        let parse = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect();
        if asked.method != "POST" {
            return Ok(Self(parse(asked.query.as_bytes())));
        }
        let form = asked
            .content_type
            .as_deref()
            .is_some_and(|text| text.starts_with("application/x-www-form-urlencoded"));
        if !form {
            return Err(Fault::new(400, 20001, "the body is not a form").violation());
        }
        if !asked.query.is_empty() {
            return Err(Fault::new(400, 20001, "a POST takes its parameters in its body").violation());
        }
        Ok(Self(parse(&asked.body)))
    }

    /// Refuses unknown, repeated and misshapen parameters, and the absence of `required` ones.
    pub fn check(&self, known: &Known, required: &[&str]) -> Result<(), Fault> {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let Some((_, kind)) = known.iter().find(|(known, _)| known == name) else {
                return Err(Fault::new(400, 20001, format!("unknown parameter {name}")).violation());
            };
            let repeated = self.0[..at].iter().any(|(earlier, _)| earlier == name);
            if repeated && !matches!(kind, Kind::Several(_)) {
                return Err(Fault::new(400, 20001, format!("{name} is given twice")).violation());
            }
            check(name, *kind, value)?;
        }
        match required.iter().find(|name| self.get(name).is_none()) {
            Some(name) => Err(Fault::new(400, missing(name), format!("{name} is missing")).violation()),
            None => Ok(()),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// A checked number.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// A checked boolean.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value == "true")
    }

    /// The words of a checked list; `default` if it is not given.
    pub fn several(&self, name: &str, default: &str) -> Vec<String> {
        let given = self.0.iter().filter(|(known, _)| known == name);
        let words: Vec<_> = given.flat_map(|(_, value)| value.split(' ')).map(str::to_owned).collect();
        if words.is_empty() { vec![default.to_owned()] } else { words }
    }

    /// A checked URL and the method that belongs to it.
    pub fn target(&self, url: &str, method: &str) -> Option<Target> {
        let method = if self.get(method) == Some("GET") { Method::Get } else { Method::Post };
        self.owned(url).map(|url| Target { url, method })
    }

    /// The verbs of a checked document.
    pub fn twiml(&self) -> Option<Vec<Verb>> {
        self.get("Twiml")
            .and_then(|text| twiml::read(Some("text/xml"), text.as_bytes()).ok())
            .map(|(verbs, _)| verbs)
    }

    /// Whether `at` passes the three filters of a time: `Name` (on that day), `Name>` and `Name<` (from, up
    /// to).
    pub fn admits_time(&self, [on, from, to]: [&str; 3], at: DateTime<Utc>) -> bool {
        let given = |name| self.get(name).and_then(When::parse);
        given(on).is_none_or(|when| when.day() == at.date_naive())
            && given(from).is_none_or(|when| when.first() <= at)
            && given(to).is_none_or(|when| at <= when.last())
    }

    /// Whether `value` passes the filter `name`, which may not be given.
    pub fn admits(&self, name: &str, value: &str) -> bool {
        self.get(name).is_none_or(|wanted| wanted == value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn missing(name: &str) -> u32 {
    match name {
        "To" => 21201,
        "From" => 21603,
        "Body" => 21602,
        _ => 20001,
    }
}

fn check(name: &str, kind: Kind, value: &str) -> Result<(), Fault> {
    let (fits, code) = match kind {
        Kind::Text(most) => (value.chars().count() <= most, 20001),
        Kind::Number => (is_e164(value), 21211),
        Kind::OwnNumber => (value == NUMBER, 21606),
        Kind::Url => (is_url(value), 21205),
        Kind::UrlOrNone => (value.is_empty() || is_url(value), 21205),
        Kind::Method => (["GET", "POST"].contains(&value), 20001),
        Kind::Bool => (["true", "false"].contains(&value), 20001),
        Kind::Within(least, most) => {
            (value.parse().is_ok_and(|number: u32| (least..=most).contains(&number)), 20001)
        }
        Kind::OneOf(words) => (words.contains(&value), 20001),
        Kind::Several(words) => (value.split(' ').all(|word| words.contains(&word)), 20001),
        Kind::When => (When::parse(value).is_some(), 20001),
        Kind::Twiml => return check_twiml(value),
    };
    // The value may be a number of somebody's: it is not repeated.
    if fits { Ok(()) } else { Err(Fault::new(400, code, format!("{name} is not valid")).violation()) }
}

fn check_twiml(document: &str) -> Result<(), Fault> {
    if document.chars().count() > MAX_TWIML_CHARS {
        return Err(Fault::new(400, 20001, "Twiml is longer than 4000 characters").violation());
    }
    let refuse = |fault: twiml::Fault| Fault::new(400, fault.code, fault.detail).violation();
    let (_, faults) = twiml::read(Some("text/xml"), document.as_bytes()).map_err(refuse)?;
    faults.into_iter().next().map_or(Ok(()), |fault| Err(refuse(fault)))
}

fn is_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()))
}

fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &Known =
        &[("To", Kind::Number), ("Muted", Kind::Bool), ("Event", Kind::Several(&["start", "end"]))];

    fn check(form: &str) -> Result<(), u32> {
        let params = Params(form_urlencoded::parse(form.as_bytes()).into_owned().collect());
        params.check(KNOWN, &["To"]).map_err(|fault| fault.code)
    }

    #[test]
    fn a_time_is_a_day_or_a_moment_and_each_filter_includes_its_own() {
        let names = ["StartTime", "StartTime>", "StartTime<"];
        let at: DateTime<Utc> = "2026-03-04T12:00:00Z".parse().unwrap();
        let admits = |form: &str| {
            let params = Params(form_urlencoded::parse(form.as_bytes()).into_owned().collect());
            params.check(&names.map(|name| (name, Kind::When)), &[]).map_err(|fault| fault.code)?;
            Ok::<_, u32>(params.admits_time(names, at))
        };
        for form in [
            "StartTime%3E=2026-01-01T00%3A00%3A00Z",
            "StartTime%3E=2026-03-04",
            "StartTime%3C=2026-03-04",
            "StartTime=2026-03-04",
            "StartTime=2026-03-04T23%3A00%3A00Z",
            "StartTime%3C=2026-03-04T12%3A00%3A00",
            "StartTime%3E=2026-03-04T12%3A00%3A00%2B00%3A00",
        ] {
            assert_eq!(admits(form), Ok(true), "{form}");
        }
        for form in [
            "StartTime%3E=2026-03-05",
            "StartTime%3C=2026-03-03",
            "StartTime=2026-03-05",
            "StartTime%3C=2026-03-04T11%3A59%3A59Z",
        ] {
            assert_eq!(admits(form), Ok(false), "{form}");
        }
        assert_eq!(admits("StartTime=yesterday"), Err(20001));
    }

    #[test]
    fn only_known_parameters_of_their_kinds_are_taken() {
        assert_eq!(check("To=%2B14155550100&Muted=true&Event=start&Event=end"), Ok(()));
        assert_eq!(check("To=%2B14155550100&Event=start+end"), Ok(()));
        assert_eq!(check("Muted=true"), Err(21201));
        assert_eq!(check("To=+14155550100"), Err(21211), "the plus was not escaped");
        for refused in ["muted=true", "Muted=yes", "Event=begin", "Muted=true&Muted=true", "Nonsense="] {
            assert_eq!(check(&format!("To=%2B14155550100&{refused}")), Err(20001), "{refused}");
        }
    }
}
