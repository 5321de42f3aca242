use super::*;

const OURS: &str = "+15005550006";
const NOW: u64 = 1_800_000_000;

fn at(name: &str, number: &str, manner: Manner) -> Destination {
    Destination { name: name.into(), manner, ..Destination::person_on_duty(number) }
}

fn caller(from: &str) -> Caller<'_> {
    Caller { from: Some(from), to: Some("+15005550009"), is_inbound: true, has_hung_up: false }
}

fn call_sid() -> CallSid {
    "CA00000000000000000000000000000001".parse().unwrap()
}

fn wish(destination: &str) -> Wish<'_> {
    Wish { destination: Some(destination), reason: Some("a bill") }
}

fn file() -> [Destination; 3] {
    [
        at("reception", "+14155550101", Manner::Warm),
        at("billing", "+14155550102", Manner::Cold),
        at("nurse", "+14155550103", Manner::Warm),
    ]
}

/// The names that are rung one after the other, and how.
fn rung(staff: Staff<'_>, caller: Caller<'_>, wish: Wish<'_>) -> Vec<(String, Way)> {
    let mut attempt = staff.first(call_sid(), caller, wish, NOW);
    let mut all = Vec::new();
    while let Some(this) = attempt {
        all.push((this.name.clone(), this.way));
        attempt = staff.next(&this, caller, NOW);
    }
    all
}

#[test]
fn the_chosen_one_is_rung_then_the_others_then_the_person_on_duty_each_in_its_way() {
    let (file, on_duty) = (file(), Destination::person_on_duty("+14155550123"));
    let staff = Staff { destinations: &file, on_duty: Some(&on_duty), ours: Some(OURS), has_rest: true };
    let names = |rung: &[(String, Way)]| rung.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let all = rung(staff, caller("+14155550100"), wish("billing"));
    assert_eq!(names(&all), ["billing", "reception", "nurse", "person on duty"]);
    let ways: Vec<_> = all.iter().map(|(_, way)| *way).collect();
    assert_eq!(ways, [Way::Cold, Way::Waiting, Way::Waiting, Way::Waiting]);
    let without_rest = rung(Staff { has_rest: false, ..staff }, caller("+14155550100"), wish("nurse"));
    assert_eq!(without_rest[0], ("nurse".into(), Way::Dial));
    let outbound = Caller { is_inbound: false, ..caller("+14155550100") };
    let no_number = rung(Staff { ours: None, ..staff }, outbound, wish("nurse"));
    assert_eq!(no_number[0].1, Way::Dial, "there is no number to call from");
    assert_eq!(rung(Staff::default(), caller("+14155550100"), wish("nurse")), []);
}

#[test]
fn the_number_that_was_called_ours_and_the_callers_own_are_never_dialled() {
    let file = [
        at("called", "+15005550009", Manner::Warm),
        at("ours", OURS, Manner::Warm),
        at("doctor", "+14155550100", Manner::Warm),
        at("nurse", "+14155550103", Manner::Warm),
    ];
    let staff = Staff { destinations: &file, on_duty: None, ours: Some(OURS), has_rest: true };
    assert_eq!(rung(staff, caller("+14155550100"), wish("called")), [("nurse".into(), Way::Waiting)]);
}

#[test]
fn an_agent_file_that_changes_meanwhile_ends_the_transfer_all_the_same() {
    let (file, other) = (file(), [at("desk", "+14155550104", Manner::Warm)]);
    let (first, second) = (
        Staff { destinations: &file, ours: Some(OURS), ..Staff::default() },
        Staff { destinations: &other, ours: Some(OURS), ..Staff::default() },
    );
    let caller = caller("+14155550100");
    let mut attempt = first.first(call_sid(), caller, wish("nurse"), NOW).unwrap();
    assert_eq!(second.next(&attempt, caller, NOW), None, "its first place was rung by count");
    for turn in 0.. {
        let staff = if turn % 2 == 0 { first } else { second };
        let Some(next) = staff.next(&attempt, caller, NOW) else { break };
        attempt = next;
        assert!(turn < 20, "it never ends");
    }
}

#[test]
fn a_person_sees_the_callers_number_if_it_can_be_shown_and_else_ours() {
    let file = file();
    let staff = Staff { destinations: &file, ours: Some(OURS), ..Staff::default() };
    let shown = |staff: Staff<'static>, caller: Caller<'static>| {
        let attempt = staff.first(call_sid(), caller, Wish::default(), NOW).unwrap();
        staff.caller_id(&attempt, caller).map(str::to_owned)
    };
    let file: &'static [Destination] = Box::leak(Box::new(file.clone()));
    let staff = Staff { destinations: file, ours: staff.ours.map(|_| OURS), ..Staff::default() };
    assert_eq!(shown(staff, caller("+14155550100")), None);
    for none in ["anonymous", "client:bob", "+266696687", "sip:a@b"] {
        assert_eq!(shown(staff, caller(none)).as_deref(), Some(OURS), "{none}");
        let unset = Staff { ours: None, ..staff };
        assert_eq!(shown(unset, caller(none)).as_deref(), Some("+15005550009"), "the one that was called");
        let outbound = Caller { is_inbound: false, ..caller(none) };
        assert_eq!(shown(unset, outbound), None, "the number that we called is not ours");
    }
}

fn attempt(way: Way) -> Attempt {
    let (file, on_duty) = (file(), Destination::person_on_duty("+14155550123"));
    let staff = Staff { destinations: &file, on_duty: Some(&on_duty), ours: Some(OURS), has_rest: true };
    Attempt { way, ..staff.first(call_sid(), caller("+14155550100"), wish("nurse"), NOW).unwrap() }
}

#[test]
fn a_caller_waits_until_the_persons_call_is_over_or_the_deadline_and_may_leave_a_message() {
    let (attempt, caller) = (attempt(Way::Waiting), caller("+14155550100"));
    assert_eq!(while_waiting(&attempt, caller, None, None, NOW), Waits::Music);
    assert_eq!(while_waiting(&attempt, caller, Some(""), None, NOW), Waits::Music);
    for (status, fate) in [("busy", Fate::Busy), ("no-answer", Fate::NoAnswer), ("completed", Fate::NotTaken)]
    {
        let over = Fate::of_status(status);
        assert_eq!(while_waiting(&attempt, caller, None, over, NOW), Waits::Next(fate), "{status}");
    }
    for going_on in ["queued", "ringing", "in-progress", "a new word"] {
        assert_eq!(Fate::of_status(going_on), None, "{going_on}");
    }
    assert_eq!(while_waiting(&attempt, caller, Some("1"), None, NOW), Waits::Message);
    let last = attempt.moves_on_at();
    assert_eq!(while_waiting(&attempt, caller, None, None, last - 1), Waits::Music);
    assert_eq!(while_waiting(&attempt, caller, None, None, last), Waits::Next(Fate::TimedOut));
    let gone = Caller { has_hung_up: true, ..caller };
    assert_eq!(while_waiting(&attempt, gone, Some("1"), None, NOW), Waits::Nothing);
}

#[test]
fn only_the_key_takes_the_call_and_only_while_the_caller_waits() {
    let waiting = attempt(Way::Waiting);
    assert_eq!(whispered(&waiting, None, NOW), Whisper::Announcement);
    assert_eq!(whispered(&waiting, Some("1"), waiting.until), Whisper::Taken);
    for other in ["2", "*", "11"] {
        assert_eq!(whispered(&waiting, Some(other), NOW), Whisper::Declined, "{other}");
    }
    assert_eq!(whispered(&waiting.later(), None, NOW), Whisper::Taken, "the person was put off");
    for key in [None, Some("1"), Some("2")] {
        assert_eq!(whispered(&waiting, key, waiting.until + 1), Whisper::TooLate);
    }
    let dialled = attempt(Way::Dial);
    assert_eq!(
        whispered(&dialled, Some("1"), dialled.until + 1),
        Whisper::Taken,
        "the caller is still there"
    );
    assert!(waiting.moves_on_at() > waiting.until, "no caller has moved on while the key counts");
}

#[test]
fn after_a_talk_comes_a_farewell_and_else_the_next_one() {
    let (staff, caller) = (Staff { ours: Some(OURS), ..Staff::default() }, caller("+14155550100"));
    for (way, status, is_bridged) in
        [(Way::Cold, "completed", false), (Way::Dial, "completed", true), (Way::Room, "answered", false)]
    {
        let after = after_dial(&attempt(way), status, is_bridged, staff, caller);
        assert_eq!(after, AfterDial::Farewell, "{way:?}");
        let gone = Caller { has_hung_up: true, ..caller };
        assert_eq!(
            after_dial(&attempt(way), status, is_bridged, staff, gone),
            AfterDial::Nothing { talked: true }
        );
    }
    let declined = after_dial(&attempt(Way::Dial), "completed", false, staff, caller);
    assert_eq!(declined, AfterDial::Next(Fate::NotTaken), "a machine answered, and pressed no key");
    for (status, fate) in [("busy", Fate::Busy), ("no-answer", Fate::NoAnswer), ("a new word", Fate::Failed)]
    {
        for way in [Way::Cold, Way::Dial, Way::Room] {
            assert_eq!(
                after_dial(&attempt(way), status, false, staff, caller),
                AfterDial::Next(fate),
                "{status}"
            );
        }
    }
}

#[test]
fn a_dial_that_failed_is_tried_once_more_from_our_number() {
    let (staff, caller) = (Staff { ours: Some(OURS), ..Staff::default() }, caller("+14155550100"));
    for way in [Way::Cold, Way::Dial] {
        let AfterDial::Again(again) = after_dial(&attempt(way), "failed", false, staff, caller) else {
            panic!("{way:?}")
        };
        assert_eq!(staff.caller_id(&again, caller), Some(OURS));
        assert_eq!(after_dial(&again, "failed", false, staff, caller), AfterDial::Next(Fate::Failed));
    }
    let room = after_dial(&attempt(Way::Room), "failed", false, staff, caller);
    assert_eq!(room, AfterDial::Next(Fate::Failed), "nobody was dialled from the caller's number");
}

#[test]
fn whoever_is_alone_in_the_conference_is_not_left_there() {
    let room = attempt(Way::Waiting).in_room(NOW);
    assert!(!is_alone(&room, NOW + 60), "the first piece: the other one is on the way");
    assert!(!is_alone(&room.later(), NOW + 1));
    assert!(is_alone(&room.later(), room.until));
}
