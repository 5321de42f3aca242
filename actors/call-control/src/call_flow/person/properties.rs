//! Whatever the people do, whatever order requests come in and whatever of them is lost: the caller is always
//! with a person, in music with a deadline, at the voicemail box, or gone.
//!
//! A model of the network follows the decisions second by second. Chance decides what people do, which
//! requests to the REST API fail, and whether a failed one was carried out all the same.

use proptest::prelude::*;

use super::Caller;
use super::attempt::{Attempt, Way};
use super::steps::{
    AfterDial, Fate, Staff, Waits, Whisper, Wish, after_dial, is_alone, while_waiting, whispered,
};
use crate::policy::destinations::{Destination, Manner, PERSON_ON_DUTY};

/// A piece of music, with what is said before it, at its longest.
const PIECE_SECONDS: u64 = 12;
/// A request and its answer, at their slowest.
const REQUEST_SECONDS: u64 = 15;
const OURS: &str = "+15005550006";
const FROM: &str = "+14155550100";
const NAMES: [(&str, &str); 3] =
    [("reception", "+14155550101"), ("nurse", "+14155550102"), ("billing", "+14155550103")];

/// Where the caller is.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// It rings until then, and then `<Dial>` ends like this.
    Dialling {
        attempt: Attempt,
        until: u64,
        status: &'static str,
        is_bridged: bool,
    },
    /// The music ends then.
    Music {
        attempt: Attempt,
        until: u64,
    },
    /// Alone, until the piece of music ends.
    Alone {
        attempt: Attempt,
        until: u64,
    },
    WithPerson,
    VoicemailBox,
}

/// A person's call that the REST API has made.
#[derive(Debug, Clone)]
struct Leg {
    attempt: Attempt,
    /// What it comes to, and when.
    does: Does,
    at: u64,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    PressesKey,
    EndsAs(&'static str),
}

/// Draws from a list that chance has made.
struct Chance<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Chance<'_> {
    fn below(&mut self, limit: u64) -> u64 {
        let (high, low) = (self.0.next().copied().unwrap_or(0), self.0.next().copied().unwrap_or(0));
        (u64::from(high) << 8 | u64::from(low)) % limit
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

struct World<'a> {
    staff: Staff<'a>,
    chance: Chance<'a>,
    now: u64,
    place: Place,
    legs: Vec<Leg>,
    /// Everybody who was rung, in order.
    rung: Vec<String>,
}

fn caller() -> Caller<'static> {
    Caller { from: Some(FROM), to: Some(OURS), is_inbound: true, has_hung_up: false }
}

impl World<'_> {
    fn rings(&mut self, attempt: Option<Attempt>) {
        let Some(attempt) = attempt else {
            self.place = Place::VoicemailBox;
            return;
        };
        if self.rung.last() != Some(&attempt.name) {
            assert!(!self.rung.contains(&attempt.name), "nobody is rung twice: {:?}", self.rung);
            self.rung.push(attempt.name.clone());
        }
        match attempt.way {
            Way::Waiting => self.calls(attempt),
            _ => self.dials(attempt),
        }
    }

    /// The REST API does it, fails, or fails to say that it did it.
    fn calls(&mut self, attempt: Attempt) {
        let is_made = !self.chance.one_in(3);
        let is_known = self.chance.below(3) > 0;
        if is_made {
            let rings = self.chance.below(30);
            let thinks = self.chance.below(70);
            let (does, at) = match self.chance.below(5) {
                0 => (Does::EndsAs("busy"), 2),
                1 => (Does::EndsAs("no-answer"), rings),
                2 => (Does::EndsAs("completed"), rings + 20), // a machine, or no key
                _ => (Does::PressesKey, rings + thinks),
            };
            self.legs.push(Leg { attempt: attempt.clone(), does, at: self.now + at, is_over: false });
        } else if is_known {
            return self.dials(attempt.by_dial()); // it certainly failed
        }
        let sid = "CA00000000000000000000000000000002".parse().expect("an identifier");
        let attempt = Attempt { person_sid: (is_made && is_known).then_some(sid), ..attempt };
        self.place = Place::Music { attempt, until: self.now + 1 + self.chance.below(PIECE_SECONDS) };
    }

    fn dials(&mut self, attempt: Attempt) {
        let number = self.staff.find(&attempt.name).expect("it was chosen from them").number.as_str();
        assert!(number != OURS && number != FROM, "the call itself is dialled");
        let status = ["completed", "busy", "no-answer", "failed", "canceled"][self.chance.below(5) as usize];
        let is_bridged = status == "completed" && self.chance.one_in(2);
        let until = self.now + 1 + self.chance.below(35);
        self.place = Place::Dialling { attempt, until, status, is_bridged };
    }

    fn next(&mut self, attempt: &Attempt) {
        let next = self.staff.next(attempt, caller(), self.now);
        self.rings(next);
    }

    /// What is due now happens: first at the caller's end, or first at the persons'.
    fn second(&mut self) {
        if self.chance.one_in(2) {
            self.persons();
            self.callers();
        } else {
            self.callers();
            self.persons();
        }
        self.now += 1;
    }

    fn callers(&mut self) {
        match self.place.clone() {
            Place::Dialling { attempt, until, status, is_bridged } if self.now >= until => {
                match after_dial(&attempt, status, is_bridged, self.staff, caller()) {
                    AfterDial::Farewell => self.place = Place::WithPerson,
                    AfterDial::Again(again) => self.rings(Some(again)),
                    AfterDial::Next(_) => self.next(&attempt),
                    AfterDial::Nothing { .. } => panic!("nobody has hung up"),
                }
            }
            Place::Music { attempt, until } if self.now >= until => {
                let person = self.asks_about(&attempt);
                match while_waiting(&attempt, caller(), None, person, self.now) {
                    Waits::Music => {
                        let until = self.now + 1 + self.chance.below(PIECE_SECONDS);
                        self.place = Place::Music { attempt: attempt.later(), until };
                    }
                    Waits::Next(_) => self.next(&attempt),
                    Waits::Message | Waits::Nothing => panic!("the caller does nothing"),
                }
            }
            Place::Alone { attempt, until } if self.now >= until => {
                if is_alone(&attempt, self.now) {
                    self.next(&attempt); // asked again with each piece until the REST API does it
                } else {
                    let until = self.now + 1 + self.chance.below(PIECE_SECONDS);
                    self.place = Place::Alone { attempt: attempt.later(), until };
                }
            }
            _ => {}
        }
    }

    /// How the person's call stands, if the REST API says so.
    fn asks_about(&mut self, attempt: &Attempt) -> Option<Fate> {
        let leg = self.legs.iter().find(|leg| leg.attempt.ordinal == attempt.ordinal)?;
        let is_over = leg.is_over || leg.at <= self.now;
        let Does::EndsAs(status) = leg.does else { return None };
        let is_known = attempt.person_sid.is_some() && is_over && self.chance.below(3) > 0;
        is_known.then(|| Fate::of_status(status)).flatten()
    }

    fn persons(&mut self) {
        for at in 0..self.legs.len() {
            let Leg { attempt, does, at: due, is_over } = self.legs[at].clone();
            if is_over || due > self.now {
                continue;
            }
            self.legs[at].is_over = true;
            if does != Does::PressesKey {
                continue;
            }
            match whispered(&attempt, Some("1"), self.now) {
                Whisper::TooLate => {}
                Whisper::Taken => self.fetches(&attempt),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The REST API brings the caller into the conference; the person comes, or hangs up just then.
    fn fetches(&mut self, attempt: &Attempt) {
        if self.chance.one_in(4) {
            return; // it fails: the person is put off, and gives up
        }
        let waits_for_them =
            matches!(&self.place, Place::Music { attempt: heard, .. } if heard.ordinal == attempt.ordinal);
        assert!(waits_for_them, "{:?} is taken away by {:?}", self.place, attempt.name);
        self.place = if self.chance.one_in(4) {
            Place::Alone { attempt: attempt.in_room(self.now), until: self.now + PIECE_SECONDS }
        } else {
            Place::WithPerson
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_caller_meets_a_person_or_the_voicemail_box_in_a_bounded_time(
        chance in prop::collection::vec(any::<u8>(), 1..200),
        has_rest in any::<bool>(),
        cold in prop::collection::vec(any::<bool>(), 3),
        chosen in prop::option::of(0..4_usize),
    ) {
        let file: Vec<_> = NAMES.iter().zip(cold).map(|((name, number), is_cold)| Destination {
            name: (*name).into(),
            manner: if is_cold { Manner::Cold } else { Manner::Warm },
            ..Destination::person_on_duty(number)
        }).collect();
        let on_duty = Destination::person_on_duty("+14155550123");
        let staff = Staff { destinations: &file, on_duty: Some(&on_duty), ours: Some(OURS), has_rest };
        let destination = chosen.map(|at| NAMES.get(at).map_or(PERSON_ON_DUTY, |(name, _)| *name));
        let sid = "CA00000000000000000000000000000001".parse().expect("an identifier");
        let start = 1_800_000_000;
        let wish = Wish { destination, reason: None };
        let first = staff.first(sid, caller(), wish, start);
        let (place, legs, rung) = (Place::VoicemailBox, vec![], vec![]);
        let mut world = World { staff, chance: Chance(chance.iter().cycle()), now: start, place, legs, rung };
        world.rings(first);
        if let Some(destination) = destination {
            prop_assert_eq!(world.rung[0].as_str(), destination);
        }
        // Ringing, announcement, key and grace; then the conference, alone; each with its music and requests.
        let an_attempt = 20 + 5 + 40 + 5 + 10 + 3 * (PIECE_SECONDS + REQUEST_SECONDS);
        while !matches!(world.place, Place::WithPerson | Place::VoicemailBox) {
            world.second();
            prop_assert!(world.now < start + 4 * an_attempt, "{:?}", world.place);
        }
        // Late keys change nothing for a caller who is elsewhere by now.
        for _ in 0..200 {
            world.second();
        }
    }
}
