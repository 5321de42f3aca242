//! The parameters of the log.
//!
//! `page` (from 1) or `cursor`, `pageSize` (1 to 200), `sort` (`startedAt`, `durationSeconds`, `costUsd`;
//! behind a minus: descending), `from`, `to` (numbers, or their last digits), `since`, `until` (RFC 3339, or
//! a day in UTC: `until` takes it in), `outcome`, `urgent`, `hasRecording` (`true`, `false`), `q` (words
//! said). An empty one is none; one that is not known is refused.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::str::FromStr;

use actors::call::end::Outcome;
use actors::db::{CallFilter, CallQuery, Cursor, Sort, Start};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use crate::http::problem::ApiError;
use crate::nearest::nearest;

pub(in crate::http) const PAGE_SIZES: RangeInclusive<u32> = 1..=200;
const DEFAULT_PAGE_SIZE: u32 = 50;
/// In characters. A number is no longer than a SIP URI, and nobody types more words.
pub(in crate::http) const LONGEST_TEXT: usize = 255;
/// So much of the name of a parameter that nobody knows is said back.
const LONGEST_NAME: usize = 64;

/// Those that choose calls and their order.
pub(in crate::http) const FILTERS: [&str; 9] =
    ["sort", "from", "to", "since", "until", "outcome", "urgent", "hasRecording", "q"];
/// Those that choose a page.
pub(in crate::http) const PAGES: [&str; 3] = ["page", "cursor", "pageSize"];

/// What `GET /api/call-logs` asks.
pub(super) fn page(query_string: &str) -> Result<CallQuery, ApiError> {
    let parameters = Parameters::of(query_string, &[&PAGES[..], &FILTERS[..]].concat())?;
    let sort = parameters.sort()?;
    let number = parameters.parsed("page", "must be a whole number from 1", |text| {
        digits::<u32>(text).filter(|&page| page >= 1)
    })?;
    let page_size = parameters.parsed("pageSize", "must be a whole number from 1 to 200", |text| {
        digits(text).filter(|size| PAGE_SIZES.contains(size))
    })?;
    let cursor: Option<Cursor> =
        parameters.parsed("cursor", "must be a `nextCursor` of this API", |text| text.parse().ok())?;
    let start = match cursor {
        None => Start::Page(number.unwrap_or(1), sort.unwrap_or(Sort::NEWEST_FIRST)),
        Some(_) if number.is_some() => return Err(wrong("page", "must not come with a cursor")),
        Some(cursor) if sort.is_some_and(|sort| sort != cursor.sort) => {
            return Err(wrong("sort", "must be that of the cursor"));
        }
        Some(cursor) => Start::After(cursor),
    };
    Ok(CallQuery { filter: parameters.filter()?, start, page_size: page_size.unwrap_or(DEFAULT_PAGE_SIZE) })
}

/// What `GET /api/call-logs.csv` asks: the same without pages.
pub(super) fn export(query_string: &str) -> Result<(CallFilter, Sort), ApiError> {
    let parameters = Parameters::of(query_string, &FILTERS)?;
    Ok((parameters.filter()?, parameters.sort()?.unwrap_or(Sort::NEWEST_FIRST)))
}

/// Refuses a parameter that the route does not know: whoever misspells a filter would take all calls for
/// those asked for.
///
/// # Errors
/// 400: it names the parameter, and the one that was probably meant.
pub(in crate::http) fn only(query_string: &str, known: &[&'static str]) -> Result<(), ApiError> {
    let mut given = form_urlencoded::parse(query_string.as_bytes());
    let Some((unknown, _)) = given.find(|(name, _)| !known.contains(&name.as_ref())) else { return Ok(()) };
    let hint = match (nearest(&unknown, known.iter().copied()), known) {
        (Some(meant), _) => format!("is `{meant}` meant?"),
        (None, []) => "it takes none".to_owned(),
        (None, [one]) => format!("use `{one}`"),
        (None, [first @ .., last]) => format!("use `{}` or `{last}`", first.join("`, `")),
    };
    Err(ApiError::UnknownParameter { name: unknown.chars().take(LONGEST_NAME).collect(), hint })
}

fn wrong(field: &'static str, wrong: &'static str) -> ApiError {
    ApiError::BadRequest { field, wrong }
}

/// A number that is written without a sign.
pub(in crate::http) fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Names and values, decoded.
pub(in crate::http) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    pub(in crate::http) fn of(query_string: &'a str, known: &[&'static str]) -> Result<Self, ApiError> {
        only(query_string, known)?;
        Ok(Self(form_urlencoded::parse(query_string.as_bytes()).collect()))
    }

    /// The value of a parameter that is given and not empty; of several the last.
    fn get(&self, name: &str) -> Option<&str> {
        let mut given = self.0.iter().rev().filter(|(given, _)| given == name);
        given.next().map(|(_, value)| value.as_ref()).filter(|value| !value.is_empty())
    }

    pub(in crate::http) fn parsed<T>(
        &self,
        name: &'static str,
        must: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.get(name).map(|text| parse(text).ok_or(wrong(name, must))).transpose()
    }

    fn sort(&self) -> Result<Option<Sort>, ApiError> {
        let must = "must be `startedAt`, `durationSeconds` or `costUsd`, behind a `-` for descending";
        self.parsed("sort", must, |text| text.parse().ok())
    }

    fn filter(&self) -> Result<CallFilter, ApiError> {
        let (number, time) = ("must have at most 255 characters", "must be a date or an RFC 3339 time");
        let (flag, words) = ("must be `true` or `false`", "must have a word, and at most 255 characters");
        let outcome = "must be `completed`, `transferred`, `voicemail`, `abandoned`, `refused` or `failed`";
        Ok(CallFilter {
            from: self.parsed("from", number, telephone_number)?,
            to: self.parsed("to", number, telephone_number)?,
            since: self.parsed("since", time, |text| moment(text, 0))?,
            until: self.parsed("until", time, |text| moment(text, 1))?,
            outcome: self.parsed("outcome", outcome, |text| {
                Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
            })?,
            urgent: self.parsed("urgent", flag, |text| text.parse().ok())?,
            has_recording: self.parsed("hasRecording", flag, |text| text.parse().ok())?,
            words: self.parsed("q", words, |text| {
                let has_word = text.chars().any(char::is_alphanumeric);
                (has_word && text.chars().count() <= LONGEST_TEXT).then(|| text.to_owned())
            })?,
        })
    }
}

/// A plus that nobody encoded came as a space. What people write between digits is left out.
fn telephone_number(text: &str) -> Option<String> {
    let number = text.strip_prefix(' ').map_or(Cow::Borrowed(text), |digits| format!("+{digits}").into());
    let plain: String = number.chars().filter(|c| !" -.()/".contains(*c)).collect();
    let digits = plain.strip_prefix('+').unwrap_or(&plain);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { plain } else { number.into_owned() };
    (number.chars().count() <= LONGEST_TEXT).then_some(number)
}

/// The years 1 to 9999. The offset of a time may lead out of them; it is then the first or the last.
const FIRST: DateTime<Utc> = DateTime::from_timestamp(-62_135_596_800, 0).expect("1 January of the year 1");
const LAST: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).expect("the last second of 9999");

/// A time; or midnight so many days after a day's.
pub(in crate::http) fn moment(text: &str, days_after: u64) -> Option<DateTime<Utc>> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        let midnight = day.checked_add_days(Days::new(days_after))?.and_time(NaiveTime::MIN).and_utc();
        return Some(midnight).filter(in_the_calendar);
    }
    let text = text.replace(' ', "+"); // of the offset; the same
    DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc().clamp(FIRST, LAST))
}

/// Four digits of a year: the database has no others that matter.
fn in_the_calendar(time: &DateTime<Utc>) -> bool {
    use chrono::Datelike as _;
    (1..10_000).contains(&time.year())
}

/// A question to the log, as it comes behind the question mark: what is understood is within its limits, and
/// asked again in other words it is the same; what is not is told in a few words.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::http) fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = match page(text) {
        Ok(query) => query,
        Err(error) => return assert!(error.to_string().chars().count() < 400, "{error}"),
    };
    assert!(PAGE_SIZES.contains(&query.page_size));
    let CallFilter { from, to, since, until, outcome, urgent, has_recording, words } = &query.filter;
    for text in [from, to, words].into_iter().flatten() {
        assert!((1..=LONGEST_TEXT).contains(&text.chars().count()), "{text}");
    }
    for time in [since, until].into_iter().flatten() {
        assert!(in_the_calendar(time), "{time}");
    }
    let mut again = form_urlencoded::Serializer::new(String::new());
    again.append_pair("pageSize", &query.page_size.to_string());
    match &query.start {
        Start::Page(page, sort) => {
            assert!(*page >= 1);
            again.append_pair("page", &page.to_string()).append_pair("sort", &sort.to_string());
        }
        Start::After(cursor) => {
            again.append_pair("cursor", &cursor.to_string());
        }
    }
    for (name, value) in [
        ("from", from.clone()),
        ("to", to.clone()),
        ("since", since.map(|time| time.to_rfc3339())),
        ("until", until.map(|time| time.to_rfc3339())),
        ("outcome", outcome.map(|outcome| outcome.as_str().to_owned())),
        ("urgent", urgent.map(|urgent| urgent.to_string())),
        ("hasRecording", has_recording.map(|has_recording| has_recording.to_string())),
        ("q", words.clone()),
    ] {
        again.extend_pairs(value.map(|value| (name, value)));
    }
    let again = again.finish();
    assert_eq!(page(&again).ok().as_ref(), Some(&query), "{again}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query_string: &str) -> CallFilter {
        page(query_string).unwrap().filter
    }

    fn time(text: &str) -> Option<DateTime<Utc>> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn without_parameters_it_is_the_newest_fifty() {
        let query = page("").unwrap();
        assert_eq!(query.filter, CallFilter::default());
        assert_eq!((query.start, query.page_size), (Start::Page(1, Sort::NEWEST_FIRST), 50));
        assert_eq!(page("from=&urgent=&page=&cursor=").unwrap().filter, CallFilter::default());
    }

    #[test]
    fn a_time_whose_offset_leads_out_of_the_calendar_is_the_first_or_the_last() {
        let first = filter("since=0001-01-01T01:01:00%2B03:04").since;
        assert_eq!(first, time("0001-01-01T00:00:00Z"));
        assert_eq!(filter("until=9999-12-31T23:59:00-01:00").until, time("9999-12-31T23:59:59Z"));
    }

    #[test]
    fn a_number_of_a_page_has_no_sign() {
        assert_eq!((digits::<u32>("7"), digits::<u32>("007")), (Some(7), Some(7)));
        for text in ["+7", "-7", "", "7 ", "4294967296"] {
            assert_eq!(digits::<u32>(text), None, "{text}");
        }
        assert!(page("page=%2B1").is_err() && page("pageSize=%2B1").is_err());
    }

    #[test]
    fn a_number_is_found_with_its_plus_encoded_or_not() {
        for query in ["from=%2B15550100", "from=+15550100", "from=1&from=%2B15550100"] {
            assert_eq!(filter(query).from.as_deref(), Some("+15550100"), "{query}");
        }
        assert_eq!(filter("to=sip:a@b.example").to.as_deref(), Some("sip:a@b.example"));
        assert_eq!(filter("from=%2B1+(415)+555-0003").from.as_deref(), Some("+14155550003"));
        assert_eq!(filter("from=415.555.0003").from.as_deref(), Some("4155550003"));
        assert_eq!(filter("from=J.+Doe").from.as_deref(), Some("J. Doe"));
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused_with_the_one_that_was_meant() {
        let refused = |asked: Result<(), ApiError>| asked.unwrap_err().to_string();
        let of_page = |query: &str| refused(page(query).map(|_| ()));
        assert_eq!(of_page("outcom=failed"), "`outcom` is no parameter of this route: is `outcome` meant?");
        for (slip, meant) in [
            ("Outcome", "outcome"),
            ("page_size", "pageSize"),
            ("has_recording", "hasRecording"),
            ("form", "from"),
        ] {
            assert!(of_page(&format!("{slip}=1")).contains(&format!("is `{meant}` meant")), "{slip}");
        }
        assert!(of_page("q=door&caller=1").ends_with(
            "use `page`, `cursor`, `pageSize`, `sort`, `from`, `to`, \
            `since`, `until`, `outcome`, `urgent`, `hasRecording` or `q`"
        ));
        let of_file = |query: &str| refused(export(query).map(|_| ()));
        assert!(of_file("page=2").starts_with("`page` is no parameter of this route"), "a file has no pages");
        assert!(export("outcome=failed").is_ok());
        assert_eq!(refused(only("outcom=", &[])), "`outcom` is no parameter of this route: it takes none");
        assert!(of_page(&format!("{}=1", "x".repeat(1_000))).len() < 300);
    }

    #[test]
    fn a_day_is_taken_in_whole() {
        let day = filter("since=2026-11-23&until=2026-11-23");
        assert_eq!(day.since, time("2026-11-23T00:00:00Z"));
        assert_eq!(day.until, time("2026-11-24T00:00:00Z"));
        assert_eq!(filter("since=2026-11-23T10:00:00+02:00").since, time("2026-11-23T08:00:00Z"));
        assert_eq!(filter("until=2026-11-23T10:00:00Z").until, time("2026-11-23T10:00:00Z"));
    }

    #[test]
    fn all_that_is_given_is_asked() {
        let query =
            page("outcome=voicemail&urgent=true&hasRecording=false&q=blue+door&sort=costUsd&pageSize=7");
        let query = query.unwrap();
        let expected = CallFilter {
            outcome: Some(Outcome::Voicemail),
            urgent: Some(true),
            has_recording: Some(false),
            words: Some("blue door".to_owned()),
            ..CallFilter::default()
        };
        assert_eq!(query.filter, expected);
        assert_eq!((query.start, query.page_size), (Start::Page(1, "costUsd".parse().unwrap()), 7));
    }
}
