use bytes::Bytes;
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::conversation::history::Said;
use crate::conversation::speaker::Speaker;
use crate::conversation::{Conversation, Input};
use crate::journal::{Journal, Limits};
use crate::realtime::events::{self, ServerEvent};

/// The recordings of a call in both modes, as its actor makes them.
pub(crate) struct Tape {
    writers: Vec<(Writer, String)>,
    at: Millis,
}

impl Tape {
    pub(crate) fn begin(rules: &Rules, past: Option<&Past>, began_at: Millis, effects: &[Effect]) -> Self {
        let header = |mode| Header {
            format: FORMAT,
            version: "0.1.0".to_owned(),
            mode,
            call_sid: "CA00000000000000000000000000000001".to_owned(),
            began_at,
            rules: rules.clone(),
            past: past.cloned(),
        };
        let writers = [Mode::Full, Mode::Redacted].map(|mode| {
            let mut text = String::new();
            (Writer::begin(&header(mode), &mut text), text)
        });
        let mut tape = Self { writers: writers.into(), at: began_at };
        tape.write(Note::Begun, effects);
        tape
    }

    fn write(&mut self, note: Note, effects: &[Effect]) {
        let notes: Vec<_> = std::iter::once(note).chain(effects.iter().map(Note::of)).collect();
        self.writers.iter_mut().for_each(|(writer, text)| writer.write(&notes, text));
    }

    pub(crate) fn taken(&mut self, at: Millis, input: &Kept, effects: &[Effect]) {
        self.at = at;
        self.write(Note::Taken { at, input: input.clone() }, effects);
    }

    pub(crate) fn lost(&mut self, at: Millis, input: &Kept) {
        self.at = at;
        self.write(Note::Lost { at, input: input.clone() }, &[]);
    }

    /// The text of each recording, the full one first.
    pub(crate) fn ended(self) -> [String; 2] {
        let ended = self.writers.into_iter().map(|(writer, mut text)| {
            writer.end(self.at, &End::Complete, &mut text);
            text
        });
        ended.collect::<Vec<_>>().try_into().expect("two modes")
    }

    /// What differs when the recordings are played.
    pub(crate) fn differences(self) -> Vec<String> {
        let differences = self.ended().map(|text| {
            let Played { steps, end, .. } = played(&text).unwrap();
            assert_eq!(end, Some(End::Complete));
            steps.into_iter().filter(|step| !step.is_same).map(|step| step.told).collect::<Vec<_>>()
        });
        differences.concat()
    }
}

struct Told {
    is_same: bool,
    told: String,
}

struct Played {
    steps: Vec<Told>,
    end: Option<End>,
}

/// Plays what is there of a recording.
fn played(text: &str) -> Result<Played, BadRecording> {
    let (header, lines) = text.split_once('\n').unwrap_or((text, ""));
    let mut player = Player::open(header)?;
    let mut steps = vec![];
    for line in lines.lines() {
        if let super::Played::Step(step) = player.take(line)? {
            let told = format!("{line}\n  now {:?} {:?}", step.now, step.panic);
            steps.push(Told { is_same: step.is_same(), told });
        }
    }
    Ok(Played { steps, end: player.end().cloned() })
}

/// A short call: the greeting is interrupted, and the caller says who they are.
fn call() -> Tape {
    let rules = Rules { jitter_seed: 7, ..Rules::default() };
    let mut effects = vec![];
    let conversation = Conversation::begin(rules.clone(), 1_000, &mut effects);
    let mut tape = Tape::begin(&rules, None, 1_000, &effects);
    let mut journal = Journal::new(conversation, Limits { entries: 8, bytes: 4_000 });
    let delta = format!(
        r#"{{"type":"response.output_audio.delta","response_id":"r1","item_id":"i1","content_index":0,"delta":"{}"}}"#,
        "A".repeat(8_000)
    );
    let words = r#"{"type":"response.output_audio_transcript.delta","response_id":"r1","item_id":"i1","delta":"Hello there. "}"#;
    let said = r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"I am Mary, 555-0123."}"#;
    for (now, event) in [
        (1_200, Some(r#"{"type":"session.created"}"#)),
        (1_210, Some(r#"{"type":"session.updated"}"#)),
        (1_300, None),
        (
            1_400,
            Some(r#"{"type":"response.created","response":{"id":"r1","metadata":{"request":"respond-1"}}}"#),
        ),
        (1_500, Some(words)),
        (1_510, Some(&*delta)),
        (1_520, Some(&*delta)),
        (1_900, Some(r#"{"type":"input_audio_buffer.speech_started"}"#)),
        (2_500, Some(r#"{"type":"input_audio_buffer.committed","item_id":"u1"}"#)),
        (2_600, Some(said)),
        (
            2_700,
            Some(r#"{"type":"error","error":{"code":"c","message":"Mary, try again in 2s","type":"t"}}"#),
        ),
        (9_000, None),
    ] {
        let message = Bytes::from(event.unwrap_or_default().to_owned());
        let input = match event {
            Some(_) => Input::Service(events::parse(&message).unwrap()),
            None if now < 2_000 => Input::StreamOpened,
            None => Input::StreamStopped,
        };
        effects.clear();
        journal.step(&input, now, &mut effects);
        tape.taken(now, &journal.entries().last().unwrap().input, &effects);
        journal.complete();
    }
    tape
}

#[test]
fn a_call_is_written_line_by_line_and_played_again_with_the_same_effects() {
    let [full, redacted] = call().ended();
    let lines: Vec<_> = full.lines().collect();
    assert!(
        lines[0].starts_with(r#"{"switchboard_recording":1,"#) && lines[0].contains(r#""jitter_seed":7"#)
    );
    assert_eq!(lines[1], "0\tbegin\tconnect {\"after\":0}");
    assert_eq!(lines[2], "200\tservice \"session-created\"\task \"configure\"");
    assert_eq!(lines[6], "100\twords \"Hello there. \" [\"r1\",\"i1\",0]");
    assert!(lines[7].starts_with("10\tsound 6000\tplay 6000\tmark g0:1:"), "{}", lines[7]);
    assert!(lines[8].starts_with("10\tsound 6000\tplay 6000"), "{}", lines[8]);
    assert_eq!(lines.last(), Some(&"0\tend complete"));
    assert!(full.contains("Mary"));
    for text in [full, redacted] {
        let Played { steps, end } = played(&text).unwrap();
        assert_eq!((steps.len(), end), (13, Some(End::Complete)));
        let differences: Vec<_> = steps.iter().filter(|step| !step.is_same).map(|step| &step.told).collect();
        assert_eq!(differences, [&""; 0]);
    }
}

#[test]
fn a_redacted_recording_has_nothing_that_anybody_said() {
    let [full, redacted] = call().ended();
    for said in ["Mary", "Hello", "555", "there"] {
        assert!(full.contains(said) && !redacted.contains(said), "{said}: {redacted}");
    }
    assert!(redacted.contains("x xx xxxx, 000-0000.") && redacted.contains("try again in 2000ms"));
}

#[test]
fn the_first_thing_that_comes_out_otherwise_is_found() {
    let [full, _] = call().ended();
    let altered = full.replacen("play 6000", "play 6001", 1);
    let differences: Vec<_> =
        played(&altered).unwrap().steps.into_iter().filter(|step| !step.is_same).collect();
    assert_eq!(differences.len(), 1);
    assert!(differences[0].told.contains("sound 6000"), "{}", differences[0].told);
    let later = full.replacen("\n10\tsound", "\n500\tsound", 1);
    assert!(played(&later).unwrap().steps.iter().any(|step| !step.is_same), "the times count");
}

#[test]
fn an_input_that_was_lost_in_a_panic_changes_nothing() {
    let [full, _] = call().ended();
    let lost = full.replacen("\n100\twords", "\n100\t!service \"speech-started\"\n0\twords", 1);
    assert_ne!(lost, full);
    let Played { steps, end } = played(&lost).unwrap();
    assert!(steps.iter().all(|step| step.is_same) && end.is_some());
    let taken = lost.replacen('!', "", 1);
    assert!(
        played(&taken).unwrap().steps.iter().any(|step| !step.is_same),
        "it would have changed something"
    );
}

#[test]
fn a_panic_of_today_is_told_and_the_call_goes_on_without_the_input_only_if_it_did_then() {
    let [full, _] = call().ended();
    let player = || {
        let mut player = Player::open(full.lines().next().unwrap()).unwrap();
        player.take("0\tbegin\tconnect {\"after\":0}").unwrap();
        player
    };
    let at_the_end_of_time = u64::MAX - 1_500; // a sum overflows
    for (input, goes_on) in [("tick", false), ("!tick", true)] {
        let mut player = player();
        let line = format!("{at_the_end_of_time}\t{input}");
        let super::Played::Step(step) = player.take(&line).unwrap() else { panic!("a step") };
        assert!(step.panic.as_ref().is_some_and(|panic| panic.contains("overflow")), "{step:?}");
        assert!(!step.is_same());
        assert_eq!(player.take("0\tpong").is_ok(), goes_on);
    }
}

#[test]
fn what_is_no_recording_is_refused_with_the_line_and_what_was_expected() {
    let [full, _] = call().ended();
    let more = full.replacen("\"jitter_seed\":7", "\"jitter_seed\":7,\"surprise\":1", 1);
    assert!(played(&more).unwrap().steps.iter().all(|step| step.is_same), "what is not known is ignored");
    for foreign in ["", "PK\u{3}", "{}", "[1]", "{\"switchboard_recording\":true}"] {
        assert!(matches!(Player::open(foreign), Err(BadRecording::Foreign(_))), "{foreign}");
    }
    let newer = full.replacen("recording\":1", "recording\":2", 1);
    let error = played(&newer).err().unwrap().to_string();
    assert!(error.contains("format 2") && error.contains("up to 1"), "{error}");
    let long = format!("1\tsound {}", u32::MAX);
    for (line, expected) in [
        ("x\ttick", "`x` is no time"),
        ("5", "an input is missing"),
        ("1\tdance", "`dance` is no input"),
        ("1\tsound 10", "no line before says to what it belongs"),
        (&*long, "expected a number of at most"),
        ("1\tmark 7", "`7` is no name of a mark"),
        ("1\tservice {\"committed\":", "in its JSON"),
        ("1\tend of it", "`of it` is no end"),
        ("18446744073709551615\ttick", "the time is too long"),
    ] {
        let mut player = Player::open(full.lines().next().unwrap()).unwrap();
        player.take("1\tbegin").unwrap();
        let error = player.take(line).expect_err(line).to_string();
        assert!(error.starts_with("line 3: ") && error.contains(expected), "{line}: {error}");
    }
    let early = Player::open(full.lines().next().unwrap()).unwrap().take("0\ttick").unwrap_err();
    assert!(early.to_string().contains("before `begin`"), "{early}");
    let after = full + "0\ttick\n";
    assert!(played(&after).err().unwrap().to_string().contains("nothing follows"));
}

#[test]
fn a_recording_that_was_cut_off_is_played_as_far_as_it_goes() {
    let [full, _] = call().ended();
    let whole_lines: Vec<_> = full.lines().collect();
    let cut = whole_lines[..6].join("\n");
    let Played { steps, end } = played(&cut).unwrap();
    assert!(steps.len() == 5 && steps.iter().all(|step| step.is_same));
    assert_eq!(end, None);
    let stopped = cut + "\n0\tend incomplete: the disk is full\n";
    assert_eq!(played(&stopped).unwrap().end, Some(End::Incomplete("the disk is full".to_owned())));
}

#[test]
fn a_call_that_another_process_began_is_recorded_with_what_was_said_before() {
    let said = Said { ordinal: 1, speaker: Speaker::Caller, text: "I am Mary.".to_owned() };
    let past = Past { epoch: 1, said: vec![said], is_whole: true };
    let (rules, mut effects) = (Rules::default(), vec![]);
    let conversation = Conversation::resume(rules.clone(), &past, 5, &mut effects);
    let mut tape = Tape::begin(&rules, Some(&past), 5, &effects);
    let mut journal = Journal::new(conversation, Limits { entries: 8, bytes: 4_000 });
    for event in [ServerEvent::SessionCreated, ServerEvent::SessionUpdated] {
        effects.clear();
        journal.step(&Input::Service(event), 9, &mut effects);
        tape.taken(9, &journal.pending().unwrap().input, &effects);
        journal.complete();
    }
    let [full, redacted] = tape.ended();
    assert!(full.matches("Mary").count() == 2 && !redacted.contains("Mary"), "{full}{redacted}");
    for text in [full, redacted] {
        assert!(played(&text).unwrap().steps.iter().all(|step| step.is_same), "{text}");
    }
}

#[test]
fn numbers_are_written_in_full() {
    for number in [0, 7, 10, 1_234_567_890, u64::MAX] {
        let mut out = String::new();
        lines::write_digits(number, &mut out);
        assert_eq!(out, number.to_string());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_to_a_recording_is_an_error_or_a_difference(
        edits in collection::vec((any::<Index>(), 0..4u8, 0..128u8), 1..5),
    ) {
        let [full, _] = call().ended();
        let mut bytes = full.into_bytes();
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                2 => bytes[at] = byte,
                _ => bytes.truncate(at.max(2)),
            }
        }
        drop(played(&String::from_utf8(bytes).expect("it was ASCII")));
    }
}
