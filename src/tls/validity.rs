//! Until when a certificate holds: the one part of X.509 that we read ourselves (RFC 5280, section 4.1).

use chrono::{DateTime, NaiveDateTime, Utc};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]` around the version.
const VERSION: u8 = 0xa0;

/// From when until when a certificate in DER holds; none if it cannot be read.
pub(super) fn of(certificate: &[u8]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?; // what is signed
    if rest.first() == Some(&VERSION) {
        rest = element(rest, VERSION)?.1;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = element(rest, tag)?.1; // serial number, algorithm, issuer
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (from, rest) = time(validity)?;
    let (until, _) = time(rest)?;
    Some((from, until))
}

/// The content of the element that begins here, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn time(bytes: &[u8]) -> Option<(DateTime<Utc>, &[u8])> {
    let (text, rest, century) = match *bytes.first()? {
        UTC_TIME => {
            let (text, rest) = element(bytes, UTC_TIME)?;
            let is_of_this_century = text.first().is_some_and(|decade| *decade < b'5');
            (text, rest, if is_of_this_century { "20" } else { "19" })
        }
        GENERALIZED_TIME => {
            let (text, rest) = element(bytes, GENERALIZED_TIME)?;
            (text, rest, "")
        }
        _ => return None,
    };
    let text = format!("{century}{}", str::from_utf8(text).ok()?);
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some((time.and_utc(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn issued(from: i32, until: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(["voice.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 2);
        params.not_after = date_time_ymd(until, 3, 4);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_until_when_it_holds() {
        for (from, until) in [(1999, 2026), (2026, 2049), (2026, 2050), (2050, 2126)] {
            let (begin, end) = of(&issued(from, until)).unwrap();
            assert_eq!(begin.to_rfc3339(), format!("{from}-01-02T00:00:00+00:00"));
            assert_eq!(end.to_rfc3339(), format!("{until}-03-04T00:00:00+00:00"));
        }
    }

    proptest! {
        #[test]
        fn what_is_no_certificate_has_no_validity_and_does_no_harm(
            at in 0..200_usize,
            byte in any::<u8>(),
            keep in 0..400_usize,
        ) {
            let mut certificate = issued(2020, 2030);
            certificate[at] = byte;
            certificate.truncate(keep);
            let _ = of(&certificate);
        }
    }
}
