//! Urgent callers: whom the person on duty is still to be told of, when, and in which words. No clock: each
//! call comes with its time.
//!
//! An urgent caller is told at once, and again every [`REPEAT`] until somebody has marked the item of the
//! inbox as done, or for [`LONGEST`]. A text may hold several callers: a number gets at most [`BURST`] texts
//! at once, and one more every [`REFILL`].

use chrono::{DateTime, Utc};

use super::Millis;
use super::digest::LONGEST as LONGEST_TEXT;
use crate::twilio::number::can_be_caller_id;
use crate::twilio::sid::CallSid;

/// What nobody has marked is told again after this.
pub const REPEAT: Millis = 5 * 60 * 1_000;
/// What reached nobody, or may not have, is told again after this.
pub const AGAIN: Millis = 60 * 1_000;
/// An item that another process has raised is left to that process for this long.
pub const GRACE: Millis = 60 * 1_000;
/// After this nobody is told any more; the inbox still shows it.
pub const LONGEST: Millis = 60 * 60 * 1_000;
/// So many texts may go at once.
pub const BURST: u32 = 6;
/// One more may go after this.
pub const REFILL: Millis = 20 * 1_000;
/// More callers are not remembered: the one that was told last gives way.
pub const MOST: usize = 128;

/// A caller whose call is urgent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urgent {
    pub call_sid: CallSid,
    /// With the call's SID it names the item of the inbox.
    pub dedupe_key: String,
    /// As Twilio gives it.
    pub from: Option<String>,
    pub at: DateTime<Utc>,
}

impl Urgent {
    fn is_same(&self, other: &Self) -> bool {
        (self.call_sid, &self.dedupe_key) == (other.call_sid, &other.dedupe_key)
    }
}

/// What came of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It reached a person, and the other instances know.
    Shared,
    /// It reached a person; nobody else can know yet.
    Alone,
    /// It reached nobody, or nobody knows.
    Perhaps,
}

#[derive(Debug)]
struct Entry {
    urgent: Urgent,
    due: Millis,
    until: Millis,
    times: u32,
    is_shared: bool,
    /// It is being told.
    is_out: bool,
}

/// The urgent callers that nobody has marked as done.
#[derive(Debug)]
pub struct Waiting {
    entries: Vec<Entry>,
    texts: u32,
    refilled: Millis,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { entries: Vec::new(), texts: BURST, refilled: 0 }
    }
}

impl Waiting {
    /// A call of this process is urgent; `ago`: for how long it has been. Known ones change nothing.
    pub fn raise(&mut self, urgent: Urgent, ago: Millis, now: Millis) {
        self.add(urgent, ago, now, now);
    }

    /// The inbox has an open item; another process may be about to tell it.
    pub fn found(&mut self, urgent: Urgent, ago: Millis, now: Millis) {
        self.add(urgent, ago, now, now + GRACE);
    }

    fn add(&mut self, urgent: Urgent, ago: Millis, now: Millis, due: Millis) {
        if ago >= LONGEST {
            return;
        }
        if let Some(known) = self.find(&urgent) {
            known.urgent.from = known.urgent.from.take().or(urgent.from);
            if known.times == 0 {
                known.due = known.due.min(due);
            }
            return;
        }
        if self.entries.len() >= MOST {
            let told_last = self.entries.iter().enumerate().max_by_key(|(_, entry)| entry.due);
            if let Some((index, _)) = told_last {
                self.entries.swap_remove(index);
            }
        }
        let until = (now + LONGEST).saturating_sub(ago);
        let entry = Entry { urgent, due, until, times: 0, is_shared: false, is_out: false };
        self.entries.push(entry);
    }

    fn find(&mut self, urgent: &Urgent) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.urgent.is_same(urgent))
    }

    /// Somebody has marked it as done. True: it waited until then.
    pub fn done(&mut self, urgent: &Urgent) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !entry.urgent.is_same(urgent));
        self.entries.len() < before
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Those to be told now, in one text; each with whether it was told before. Empty: none is due, or no
    /// further text may go yet. They are [out](Self::told) until it is said what came of it.
    pub fn take_due(&mut self, now: Millis) -> Vec<(Urgent, bool)> {
        self.entries.retain(|entry| now < entry.until);
        self.refill(now);
        if self.texts == 0 {
            return Vec::new();
        }
        let due = self.entries.iter_mut().filter(|entry| !entry.is_out && entry.due <= now);
        let taken: Vec<_> = due
            .map(|entry| {
                entry.is_out = true;
                (entry.urgent.clone(), entry.times > 0)
            })
            .collect();
        self.texts -= u32::from(!taken.is_empty());
        taken
    }

    fn refill(&mut self, now: Millis) {
        let more = now.saturating_sub(self.refilled) / REFILL;
        self.refilled += more * REFILL;
        self.texts = BURST.min(self.texts.saturating_add(u32::try_from(more).unwrap_or(BURST)));
    }

    /// The sender of the callers that are out has panicked. A person is told of these callers again.
    pub fn nothing_is_out(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.is_out = false);
    }

    /// When [`take_due`](Self::take_due) is to be asked next. None: nothing is left to tell.
    pub fn next_due(&self) -> Option<Millis> {
        let due = self.entries.iter().filter(|entry| !entry.is_out).map(|entry| entry.due).min()?;
        Some(if self.texts == 0 { due.max(self.refilled + REFILL) } else { due })
    }

    /// What came of telling it.
    pub fn told(&mut self, urgent: &Urgent, told: Told, now: Millis) {
        let Some(entry) = self.find(urgent) else { return };
        entry.is_out = false;
        entry.times += u32::from(told != Told::Perhaps);
        entry.is_shared = told == Told::Shared;
        entry.due = now + if told == Told::Perhaps { AGAIN } else { REPEAT };
    }

    /// Another instance has sent the text. Any instance may send the next one.
    pub fn told_elsewhere(&mut self, urgent: &Urgent, now: Millis) {
        self.told(urgent, Told::Shared, now);
    }

    /// Those that were told while nobody else could know.
    pub fn unshared(&self) -> Vec<Urgent> {
        let told = self.entries.iter().filter(|entry| entry.times > 0 && !entry.is_shared && !entry.is_out);
        told.map(|entry| entry.urgent.clone()).collect()
    }

    /// The other instances know now that it was told.
    pub fn shared(&mut self, urgent: &Urgent) {
        if let Some(entry) = self.find(urgent) {
            entry.is_shared = true;
        }
    }
}

/// A text message: who rang, when, and where to look; in ASCII. A word of the caller is not in it.
pub fn text(callers: &[(Urgent, bool)], page: &str) -> String {
    say(callers, page, |urgent| {
        let number = urgent.from.as_deref().filter(|number| can_be_caller_id(number));
        format!("{} at {} UTC", number.unwrap_or("a hidden number"), urgent.at.format("%H:%M"))
    })
}

/// The same for a webhook, which may have many readers: without the numbers.
pub fn text_without_numbers(callers: &[(Urgent, bool)], page: &str) -> String {
    say(callers, page, |urgent| format!("at {} UTC", urgent.at.format("%H:%M")))
}

fn say(callers: &[(Urgent, bool)], page: &str, of: impl Fn(&Urgent) -> String) -> String {
    let is_repeat = callers.iter().all(|(_, was_told)| *was_told);
    let still = if is_repeat { "still URGENT" } else { "URGENT" };
    let head = match callers.len() {
        1 => format!("Switchboard {still}: a caller needs help. Rang: "),
        count => format!("Switchboard {still}: {count} callers need help. Rang: "),
    };
    let tail = format!(". See {page} and mark it as done: until then this is repeated.");
    let room = LONGEST_TEXT.saturating_sub(head.len() + tail.len() + ", and 128 more".len());
    let mut rang = String::new();
    let mut shown = 0;
    for (urgent, _) in callers {
        let one = of(urgent);
        if rang.len() + 2 + one.len() > room {
            break;
        }
        let comma = if shown == 0 { "" } else { ", " };
        rang = format!("{rang}{comma}{one}");
        shown += 1;
    }
    let rest = match callers.len() - shown {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{head}{rang}{rest}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urgent(call: u32) -> Urgent {
        Urgent {
            call_sid: format!("CA{call:032x}").parse().unwrap(),
            dedupe_key: "urgent".to_owned(),
            from: Some(format!("+1415555{call:04}")),
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    fn calls(due: &[(Urgent, bool)]) -> Vec<(String, bool)> {
        due.iter().map(|(urgent, again)| (urgent.from.clone().unwrap_or_default(), *again)).collect()
    }

    #[test]
    fn a_caller_is_told_at_once_and_again_until_somebody_has_marked_it() {
        let mut waiting = Waiting::default();
        waiting.raise(urgent(1), 0, 1_000);
        waiting.raise(urgent(1), 0, 1_000);
        assert_eq!(waiting.next_due(), Some(1_000));
        let due = waiting.take_due(1_000);
        assert_eq!(calls(&due), [("+14155550001".to_owned(), false)]);
        assert_eq!(waiting.take_due(1_000), [], "it is being told");
        waiting.told(&urgent(1), Told::Shared, 2_000);
        assert_eq!(waiting.next_due(), Some(2_000 + REPEAT));
        assert_eq!(waiting.take_due(1_999 + REPEAT), []);
        assert_eq!(calls(&waiting.take_due(2_000 + REPEAT)), [("+14155550001".to_owned(), true)]);
        assert!(waiting.done(&urgent(1)));
        assert!(!waiting.done(&urgent(1)), "it was known before that none is left");
        waiting.told(&urgent(1), Told::Shared, 3_000 + REPEAT);
        assert_eq!((waiting.next_due(), waiting.len()), (None, 0));
    }

    #[test]
    fn what_reached_nobody_is_told_sooner_and_nothing_longer_than_an_hour() {
        let mut waiting = Waiting::default();
        waiting.raise(urgent(1), 0, 0);
        waiting.take_due(0);
        waiting.told(&urgent(1), Told::Perhaps, 0);
        assert_eq!(waiting.next_due(), Some(AGAIN));
        let mut texts = 0;
        for now in (0..2 * LONGEST).step_by(1_000) {
            for (urgent, _) in waiting.take_due(now) {
                waiting.told(&urgent, Told::Alone, now);
                texts += 1;
            }
        }
        assert_eq!((texts, waiting.len()), (12, 0));
        waiting.raise(urgent(2), LONGEST, 0);
        assert!(waiting.is_empty(), "it is too old");
    }

    #[test]
    fn what_another_process_has_raised_is_left_to_it_for_a_while() {
        let mut waiting = Waiting::default();
        waiting.found(urgent(1), 0, 0);
        assert_eq!(waiting.take_due(GRACE - 1), []);
        assert_eq!(waiting.take_due(GRACE).len(), 1);
        waiting.nothing_is_out();
        assert_eq!(waiting.take_due(GRACE).len(), 1, "the instance that raised it is gone");
        waiting.told_elsewhere(&urgent(1), GRACE);
        assert_eq!(waiting.next_due(), Some(GRACE + REPEAT));
        waiting.found(urgent(2), 0, 0);
        waiting.raise(urgent(2), 0, 10);
        assert_eq!(waiting.next_due(), Some(10), "it was ours: the inbox was faster");
    }

    #[test]
    fn what_was_told_without_the_database_is_shared_later() {
        let mut waiting = Waiting::default();
        waiting.raise(urgent(1), 0, 0);
        waiting.raise(urgent(2), 0, 0);
        assert_eq!(waiting.unshared(), [], "nothing is told yet");
        waiting.take_due(0);
        waiting.told(&urgent(1), Told::Alone, 0);
        waiting.told(&urgent(2), Told::Shared, 0);
        assert_eq!(waiting.unshared(), [urgent(1)]);
        waiting.shared(&urgent(1));
        assert_eq!(waiting.unshared(), []);
    }

    #[test]
    fn a_number_gets_few_texts_at_once_and_what_waits_is_told_in_one() {
        let mut waiting = Waiting::default();
        for call in 0..BURST {
            waiting.raise(urgent(call), 0, 0);
            assert_eq!(waiting.take_due(0).len(), 1);
        }
        (100..103).for_each(|call| waiting.raise(urgent(call), 0, 1));
        assert_eq!(waiting.take_due(1), []);
        assert_eq!(waiting.next_due(), Some(REFILL));
        assert_eq!(waiting.take_due(REFILL).len(), 3);
    }

    #[test]
    fn the_memory_is_bounded_and_who_was_told_last_gives_way() {
        let mut waiting = Waiting::default();
        waiting.raise(urgent(0), 0, 0);
        waiting.take_due(0);
        waiting.told(&urgent(0), Told::Shared, 0);
        (1..=MOST as u32).for_each(|call| waiting.raise(urgent(call), 0, 0));
        assert_eq!(waiting.len(), MOST);
        assert_eq!(waiting.take_due(0).len(), MOST, "who was told is not among them");
    }

    #[test]
    fn a_text_says_who_when_and_where_to_look_and_fits_into_three_parts() {
        let page = "https://calls.example.com/";
        let one = text(&[(urgent(1), false)], page);
        assert_eq!(
            one,
            "Switchboard URGENT: a caller needs help. Rang: +14155550001 at 08:00 UTC. \
             See https://calls.example.com/ and mark it as done: until then this is repeated."
        );
        let hidden = Urgent { from: Some("sip:ada@example.com".to_owned()), ..urgent(1) };
        assert!(text(&[(hidden, false)], page).contains("Rang: a hidden number at 08:00 UTC"));
        let again = text(&[(urgent(1), true), (urgent(2), true)], page);
        assert!(again.starts_with("Switchboard still URGENT: 2 callers need help. Rang: +1"), "{again}");
        let many: Vec<_> = (0..100).map(|call| (urgent(call), false)).collect();
        let many = text(&many, &format!("https://{}/", "h".repeat(64)));
        assert!(many.is_ascii() && many.len() <= LONGEST_TEXT && many.contains(" more."), "{many}");
        let quiet = text_without_numbers(&[(urgent(1), false)], page);
        assert!(!quiet.contains("4155550001") && quiet.contains("Rang: at 08:00 UTC"), "{quiet}");
    }
}
