//! The people a caller can be given to, and the order in which they are rung.

use crate::twilio::number::can_be_caller_id;

/// The name of whoever has `HUMAN_FALLBACK_NUMBER`: the last destination, which needs no agent file.
pub const PERSON_ON_DUTY: &str = "person on duty";
/// How many destinations an agent has at most: a caller waits for each of them in turn.
pub const MAX_DESTINATIONS: usize = 8;
/// How long a destination is rung, in seconds.
pub const RING_SECONDS: u32 = 20;
pub const LEAST_RING_SECONDS: u32 = 5;
pub const MOST_RING_SECONDS: u32 = 60;
/// The longest name of a destination, in characters.
const MAX_NAME_CHARS: usize = 40;
/// A name with so many digits may be a telephone number.
const NUMBER_DIGITS: usize = 5;

/// A person, or a desk, that takes callers over.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// The agent, the log and the person themselves know it by this name.
    pub name: String,
    /// For whom it is, in the words that the agent is told.
    pub description: String,
    /// E.164.
    pub number: String,
    pub manner: Manner,
    pub ring_seconds: u32,
}

/// How a caller is given to a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manner {
    /// The person hears who is calling and why, and takes the call with a key.
    #[default]
    Warm,
    /// Whoever answers has the call at once, also a machine.
    Cold,
}

impl Manner {
    pub const ALL: [Self; 2] = [Self::Warm, Self::Cold];

    /// The word used in the agent file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }

    /// The manner of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manner| manner.as_str() == word)
    }
}

impl Destination {
    /// Whoever has `HUMAN_FALLBACK_NUMBER`.
    pub fn person_on_duty(number: &str) -> Self {
        Self {
            name: PERSON_ON_DUTY.to_owned(),
            description: "The person on duty, for everybody whom nobody else can help.".to_owned(),
            number: number.to_owned(),
            manner: Manner::Warm,
            ring_seconds: RING_SECONDS,
        }
    }
}

/// Without the number.
impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, manner, ring_seconds, .. } = self;
        f.debug_struct("Destination")
            .field("name", name)
            .field("manner", manner)
            .field("ring_seconds", ring_seconds)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a name, if anything. It stands in the log and in the agent's instructions.
pub fn name_fault(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_alphanumeric() || " .-_'".contains(c);
    if name.trim() != name || name.is_empty() || !name.chars().all(is_plain) {
        Some("is not a plain name of letters, digits, spaces and `.-_'`")
    } else if name.chars().count() > MAX_NAME_CHARS {
        Some("is longer than 40 characters")
    } else if name.chars().filter(|c| c.is_numeric()).count() >= NUMBER_DIGITS {
        Some("looks like a telephone number")
    } else {
        None
    }
}

/// Everybody a caller can be given to: those of the agent file in its order, then the person on duty, unless
/// one of the file has the same number or name.
pub fn everybody<'a>(
    of_file: &'a [Destination],
    on_duty: Option<&'a Destination>,
) -> impl Iterator<Item = &'a Destination> + Clone {
    let is_new =
        |last: &&Destination| of_file.iter().all(|one| one.number != last.number && one.name != last.name);
    of_file.iter().chain(on_duty.filter(is_new))
}

/// The order in which they are rung: the chosen one, then the others. A name that nobody has chooses nobody.
/// `avoided` are the numbers that are part of the call itself; dialling them would ring the caller, or us.
pub fn order<'a>(
    everybody: impl Iterator<Item = &'a Destination> + Clone,
    chosen: Option<&str>,
    avoided: &[&str],
) -> Vec<&'a Destination> {
    let is_chosen = |one: &&Destination| Some(one.name.as_str()) == chosen;
    let first = everybody.clone().filter(is_chosen);
    let others = everybody.filter(|one| !is_chosen(one));
    first.chain(others).filter(|one| !avoided.contains(&one.number.as_str())).collect()
}

/// Whether a number can be dialled: E.164, and not one that stands for a withheld number.
pub fn can_be_dialled(number: &str) -> bool {
    can_be_caller_id(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, number: &str) -> Destination {
        Destination { name: name.to_owned(), ..Destination::person_on_duty(number) }
    }

    fn names<'a>(order: &[&'a Destination]) -> Vec<&'a str> {
        order.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn the_chosen_one_is_rung_first_then_the_others_in_the_files_order_then_the_person_on_duty() {
        let file =
            [at("reception", "+14155550101"), at("nurse", "+14155550102"), at("billing", "+14155550103")];
        let on_duty = Destination::person_on_duty("+14155550123");
        let all = || everybody(&file, Some(&on_duty));
        assert_eq!(
            names(&order(all(), Some("nurse"), &[])),
            ["nurse", "reception", "billing", PERSON_ON_DUTY]
        );
        let from_the_top = ["reception", "nurse", "billing", PERSON_ON_DUTY];
        assert_eq!(names(&order(all(), None, &[])), from_the_top);
        assert_eq!(names(&order(all(), Some("nobody"), &[])), from_the_top);
        assert_eq!(names(&order(all(), Some(PERSON_ON_DUTY), &[]))[0], PERSON_ON_DUTY);
        assert_eq!(names(&order(everybody(&[], Some(&on_duty)), None, &[])), [PERSON_ON_DUTY]);
        assert_eq!(order(everybody(&[], None), Some("nurse"), &[]), Vec::<&Destination>::new());
    }

    #[test]
    fn a_number_that_is_part_of_the_call_is_never_dialled() {
        let file =
            [at("reception", "+15005550006"), at("doctor", "+14155550100"), at("nurse", "+14155550102")];
        let avoided = ["+15005550006", "+14155550100"];
        assert_eq!(names(&order(everybody(&file, None), Some("reception"), &avoided)), ["nurse"]);
    }

    #[test]
    fn nobody_is_rung_twice_because_the_file_names_the_person_on_duty_too() {
        let on_duty = Destination::person_on_duty("+14155550123");
        for known in [at("night desk", "+14155550123"), at(PERSON_ON_DUTY, "+14155550124")] {
            let file = [known];
            assert_eq!(everybody(&file, Some(&on_duty)).count(), 1, "{file:?}");
        }
    }

    #[test]
    fn a_name_is_plain_short_and_no_number() {
        for name in ["reception", "Dr. Müller", "Desk 24", "person on duty", "O'Neill_2-b", "受付"] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in
            ["", " ", " desk", "desk\n", "a/b", "<b>", "+14155550123", "call 415 555", &"a".repeat(41)]
        {
            assert!(name_fault(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn printing_a_destination_shows_no_number() {
        assert!(!format!("{:?}", at("reception", "+14155550101")).contains("555"));
    }
}
