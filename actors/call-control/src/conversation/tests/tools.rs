use super::*;
use crate::call_flow::TransferTo;
use crate::conversation::inbox_item::{InboxItem, UrgentBy};
use crate::conversation::phrases::{Phrase, Phrases, Recording};
use crate::conversation::tool_result::{ToolDone, ToolFault, ToolOutcome};
use crate::policy::destinations::Destination;
use crate::policy::tools::{Endpoint, Kind, Schema, Tool, Toolbox};
use crate::policy::urgent::UrgentPhrases;

/// An agent with a tool of its owner's, which has 3 s, and with somebody to transfer callers to.
fn rules() -> Rules {
    let schema = json!({"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]});
    let endpoint = Endpoint {
        url: "https://example.com/slots".parse().unwrap(),
        within: 3_000,
        secret: None,
        answer: None,
    };
    let own = Tool {
        name: "slots".into(),
        description: "Lists free slots.".into(),
        parameters: Schema::of_object(schema).unwrap(),
        kind: Kind::Http(Box::new(endpoint)),
    };
    let reception = Destination { name: "reception".into(), ..Destination::person_on_duty("+14155550123") };
    Rules {
        toolbox: Toolbox::new(&[reception], vec![own], vec![]).into(),
        urgent: UrgentPhrases::of_language("en").into(),
        ..Rules::default()
    }
}

fn phrase(phrase: Phrase) -> Rules {
    let mut phrases = Phrases::default();
    phrases.add(phrase, Recording::new(&[0xFF; 8_000]));
    Rules { phrases: phrases.into(), ..rules() }
}

impl Timeline {
    /// The caller has heard the greeting and said something, and the service begins to answer at 3000.
    fn asked(rules: Rules) -> Self {
        let mut call = Self::admitted();
        call.conversation = Conversation::begin(rules, 0, &mut vec![]);
        call.service(10, r#"{"type":"session.created","session":{}}"#);
        call.service(20, r#"{"type":"session.updated","session":{}}"#);
        call.at(1_000, Input::StreamOpened);
        call.says(1_000, "r1", "a1", 5, "Hello there.");
        call.at(2_000, Input::Mark(Mark { generation: 0, ordinal: 1, sent_ms: 1_000 }));
        call.caller_starts(2_200).caller_stops(2_900, "u1").created(3_000, "r2");
        call.take();
        call
    }

    fn calls(&mut self, now: Millis, response: &str, call: &str, name: &str, arguments: &str) -> &mut Self {
        let item = json!({"id": format!("i-{call}"), "type": "function_call", "status": "completed",
            "call_id": call, "name": name, "arguments": arguments});
        let event = json!({"type": "response.output_item.done", "response_id": response, "item": item});
        self.service(now, &event.to_string())
    }

    fn ends(&mut self, now: Millis, response: &str) -> &mut Self {
        let call = json!({"id": "i", "type": "function_call", "call_id": "c1", "name": "slots"});
        let done = json!({"id": response, "status": "completed", "output": [call]});
        self.service(now, &json!({"type": "response.done", "response": done}).to_string())
    }

    fn tool_answers(&mut self, now: Millis, number: u32, call_id: &str, answer: &str) -> &mut Self {
        let (call_id, result) = (call_id.to_owned(), Ok(answer.to_owned()));
        self.at(now, Input::ToolDone(ToolDone { number, call_id, result }))
    }

    /// The outputs sent, as `(call_id, output)`, and whether a response was asked for.
    fn answered(&mut self) -> (Vec<(String, String)>, bool) {
        let (mut outputs, mut responds) = (vec![], false);
        for request in self.requests() {
            match request {
                Request::FunctionOutput { call_id, output } => outputs.push((call_id, output)),
                Request::Respond { .. } => responds = true,
                _ => {}
            }
        }
        (outputs, responds)
    }

    fn says_urgent_words(&mut self, now: Millis) -> &mut Self {
        self.service(
            now,
            r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"My chest pain is back."}"#,
        )
    }
}

fn ended(effects: &[Effect]) -> Option<(Reason, NextStep)> {
    effects.iter().find_map(|effect| match effect {
        Effect::End { end, next, .. } => Some((end.reason, *next)),
        _ => None,
    })
}

#[test]
fn a_tool_is_put_to_work_and_the_agent_goes_on_with_its_answer() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "slots", r#"{"day":"Monday"}"#);
    let run = Effect::RunTool {
        number: 1,
        call_id: "c1".into(),
        name: "slots".into(),
        arguments: json!({"day": "Monday"}),
    };
    assert_eq!(call.take(), [run]);
    call.ends(3_060, "r2");
    assert_eq!(call.answered(), (vec![], false));
    call.tool_answers(3_150, 1, "c1", r#"{"free":["9:00"]}"#);
    assert_eq!(call.answered(), (vec![("c1".into(), r#"{"free":["9:00"]}"#.into())], true));
    call.tool_answers(3_151, 1, "c1", "{}");
    assert_eq!(call.take(), [], "its answer is known");
}

#[test]
fn a_tool_that_is_late_is_answered_for_and_what_it_says_then_is_not_told() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "slots", r#"{"day":"Monday"}"#).ends(3_060, "r2").take();
    assert!(call.conversation.deadline().unwrap() <= 6_050);
    call.at(6_050, Input::Tick);
    let called = Effect::ToolCalled(tool_result::ToolCalled {
        name: Some("slots".into()),
        outcome: ToolOutcome::TimedOut,
        took: 3_000,
    });
    assert!(call.done.contains(&called));
    let (outputs, responds) = call.answered();
    assert!(outputs[0].1.contains("did not answer in time") && responds, "{outputs:?}");
    call.tool_answers(6_100, 1, "c1", "{}");
    assert_eq!(call.take(), []);
}

#[test]
fn two_calls_of_one_response_are_answered_in_any_order_and_followed_by_one_response() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "slots", r#"{"day":"Monday"}"#);
    call.calls(3_060, "r2", "c2", "slots", r#"{"day":"Friday"}"#).ends(3_070, "r2").take();
    call.tool_answers(3_200, 2, "c2", "{}");
    assert_eq!(call.answered(), (vec![("c2".into(), "{}".into())], false), "c1 is at work");
    call.tool_answers(3_300, 1, "c1", "[]");
    assert_eq!(call.answered(), (vec![("c1".into(), "[]".into())], true));
}

#[test]
fn a_caller_who_waits_for_a_tool_hears_a_filler() {
    let mut call = Timeline::asked(phrase(Phrase::Moment));
    call.calls(3_050, "r2", "c1", "slots", r#"{"day":"Monday"}"#).ends(3_060, "r2").take();
    let due = call.conversation.deadline().unwrap();
    assert_eq!(due, 4_900, "2 s after the caller fell silent");
    call.at(due, Input::Tick);
    assert!(call.done.iter().any(|effect| matches!(effect, Effect::WriteEvent { kind: "filler", .. })));
}

#[test]
fn arguments_that_break_the_schema_an_unknown_tool_and_a_call_cut_off_are_answered_at_once() {
    for (name, arguments, status, outcome) in [
        ("slots", r#"{"day":5}"#, "completed", ToolOutcome::BadArguments),
        ("slots", r#"{"day"#, "completed", ToolOutcome::BadArguments),
        ("shell", "{}", "completed", ToolOutcome::Unknown),
        ("slots", r#"{"day":"Mon"#, "incomplete", ToolOutcome::CutOff),
    ] {
        let mut call = Timeline::asked(rules());
        let item = json!({"type": "function_call", "status": status, "call_id": "c1", "name": name,
            "arguments": arguments});
        let event = json!({"type": "response.output_item.done", "response_id": "r2", "item": item});
        call.service(3_050, &event.to_string()).ends(3_060, "r2");
        let told = call.done.iter().find_map(|effect| match effect {
            Effect::ToolCalled(called) => Some(called.outcome),
            _ => None,
        });
        assert_eq!(told, Some(outcome));
        let (outputs, responds) = call.answered();
        assert!(outputs[0].1.starts_with(r#"{"error":"#) && responds && outputs.len() == 1, "{outputs:?}");
    }
}

#[test]
fn an_answer_for_a_session_that_is_gone_is_told_to_the_next_one_as_a_note() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "slots", r#"{"day":"Monday"}"#).ends(3_060, "r2").take();
    call.at(3_100, Input::ServiceLost { fatal: false, cause: "reset", wait: None });
    call.service(3_200, r#"{"type":"session.created","session":{}}"#);
    call.service(3_300, r#"{"type":"session.updated","session":{}}"#);
    let note = |call: &mut Timeline| {
        let requests = call.requests();
        assert!(!requests.iter().any(|request| matches!(request, Request::FunctionOutput { .. })));
        let notes = requests.into_iter().filter_map(|request| match request {
            Request::Note { text } => Some(text.into_owned()),
            _ => None,
        });
        notes.collect::<Vec<_>>().join("\n")
    };
    assert!(note(&mut call).contains("slots is still at work"));
    call.tool_answers(3_400, 1, "c1", r#"{"free":[]}"#);
    assert!(note(&mut call).contains(r#"slots, called before the interruption, has answered: {"free":[]}"#));
}

#[test]
fn a_message_is_filed_at_once_and_confirmed() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "take_message", r#"{"message":"Call me.","name":"Ann","call_back":true}"#);
    let item = InboxItem::Message {
        key: "c1".into(),
        text: "Call me.".into(),
        name: Some("Ann".into()),
        call_back: true,
    };
    assert_eq!(call.done[0], Effect::FileItem(item));
    call.ends(3_060, "r2");
    let (outputs, responds) = call.answered();
    assert!(outputs[0].1.contains("stored") && responds);
}

#[test]
fn a_goodbye_is_heard_to_its_last_mark_before_the_call_ends() {
    let mut call = Timeline::asked(rules());
    call.delta(3_010, "r2", "a2").calls(3_050, "r2", "c1", "end_call", "{}").ends(3_060, "r2");
    let (outputs, responds) = call.answered();
    assert!(outputs.len() == 1 && !responds, "the goodbye is said already");
    call.at(3_200, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 100 }));
    assert_eq!(ended(&call.take()), None);
    call.at(3_210, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 200 }));
    let (reason, next) = ended(&call.take()).unwrap();
    assert_eq!((reason, next), (Reason::AgentHungUp, NextStep::HangUp));
}

#[test]
fn a_goodbye_that_was_not_said_is_asked_for_and_its_time_is_limited() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "end_call", "{}").ends(3_060, "r2");
    assert!(call.answered().1);
    let mut silent = call.conversation.clone();
    call.says(3_100, "r3", "a3", 1, "Goodbye.");
    assert_eq!(ended(&call.take()), None);
    call.at(3_400, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 200 }));
    assert!(ended(&call.take()).is_some());
    let mut effects = vec![];
    while ended(&effects).is_none() {
        let due = silent.deadline().unwrap();
        assert!(due <= 23_050, "{due}");
        silent.step(&Input::Tick, due, &mut effects);
        silent.step(&Input::Pong, due, &mut effects);
    }
    let (reason, next) = ended(&effects).unwrap();
    assert_eq!((reason, next), (Reason::AgentHungUp, NextStep::HangUp), "no sound of it ever came");
}

#[test]
fn a_caller_who_speaks_before_the_end_calls_a_hang_up_off_and_a_transfer_not() {
    let mut call = Timeline::asked(rules());
    call.delta(3_010, "r2", "a2").calls(3_050, "r2", "c1", "end_call", "{}").ends(3_060, "r2").take();
    call.caller_starts(3_100);
    assert!(call.requests().iter().any(|request| matches!(request, Request::Note { .. })));
    call.caller_stops(4_000, "u2");
    call.at(30_000, Input::Pong);
    assert_eq!(ended(&call.take()), None);

    let mut call = Timeline::asked(rules());
    let to = r#"{"destination":"reception","reason":"wants a person"}"#;
    call.delta(3_010, "r2", "a2").calls(3_050, "r2", "c1", "transfer_to_human", to).ends(3_060, "r2").take();
    call.caller_starts(3_100);
    let effects = call.take();
    assert_eq!(ended(&effects), Some((Reason::AgentTransferred, NextStep::Human)));
    let (destination, reason) = ("reception".to_owned(), "wants a person".to_owned());
    assert!(effects.contains(&Effect::Transfer(TransferTo { destination, reason })));
}

#[test]
fn urgent_words_alert_once_and_the_caller_is_told_by_a_recording_whatever_the_agent_says() {
    let mut call = Timeline::asked(phrase(Phrase::Emergency));
    call.delta(3_010, "r2", "a2").take();
    call.says_urgent_words(3_100);
    let effects = call.take();
    let by = UrgentBy::Phrase("chest pain".into());
    let item = InboxItem::Urgent { by, text: "My chest pain is back.".into() };
    assert!(effects.contains(&Effect::FileItem(item)));
    assert!(effects.contains(&Effect::Ask(Request::Cancel { response_id: Some("r2".into()) })));
    let clear = effects.iter().position(|effect| *effect == Effect::Clear).unwrap();
    let told = effects.iter().rposition(|effect| matches!(effect, Effect::Play(_))).unwrap();
    assert!(clear < told, "the agent is silenced first");
    call.says_urgent_words(3_200).calls(3_300, "r9", "c1", "flag_urgent", r#"{"reason":"pain"}"#);
    assert!(!call.take().iter().any(|effect| matches!(effect, Effect::FileItem(_))), "once a call");
}

#[test]
fn without_a_recording_or_where_it_was_cut_off_the_service_is_told_to_say_it() {
    let mut call = Timeline::asked(rules());
    call.says_urgent_words(3_100).response_done(3_200, "r2", "cancelled", "a2", "");
    assert!(call.requests().contains(&Request::Warn { number: 2 }));
    call.says(3_300, "r3", "a3", 1, "Hang up and dial 911.").take();
    call.caller_starts(9_000).caller_stops(9_500, "u2").at(15_000, Input::Tick);
    assert_eq!(call.requests().last(), Some(&Request::Respond { number: 3 }), "it was said");

    let mut call = Timeline::asked(phrase(Phrase::Emergency));
    call.says_urgent_words(3_100).response_done(3_200, "r2", "cancelled", "a2", "");
    call.take();
    call.caller_starts(3_500).caller_stops(4_000, "u2").at(9_100, Input::Tick);
    assert_eq!(call.requests().last(), Some(&Request::Warn { number: 3 }));
}

#[test]
fn urgent_last_words_are_told_though_the_call_is_over() {
    let mut call = Timeline::asked(rules());
    call.at(3_050, Input::StreamStopped).take();
    call.says_urgent_words(3_500);
    assert!(call.take().iter().any(|effect| matches!(effect, Effect::FileItem(InboxItem::Urgent { .. }))));
}

#[test]
fn a_fault_of_a_tool_is_told_in_words_for_the_agent() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "slots", r#"{"day":"Monday"}"#).ends(3_060, "r2").take();
    let done = ToolDone { number: 1, call_id: "c1".into(), result: Err(ToolFault::Status { status: 503 }) };
    call.at(3_100, Input::ToolDone(done));
    let (outputs, responds) = call.answered();
    assert_eq!(outputs[0].1, r#"{"error":"the tool answered with the status 503"}"#);
    assert!(responds);
}

#[test]
fn a_caller_who_speaks_while_the_agent_takes_leave_is_not_hung_up_on() {
    let mut call = Timeline::asked(rules());
    call.delta(3_010, "r2", "a2").caller_starts(3_040).take();
    call.calls(3_050, "r2", "c1", "end_call", "{}").ends(3_060, "r2");
    call.caller_stops(4_000, "u2").at(5_000, Input::Pong);
    let effects = call.take();
    assert_eq!(ended(&effects), None);
    let is_called_off = |effect: &Effect| matches!(effect, Effect::Ask(Request::FunctionOutput { output, .. }) if output.contains("spoke before"));
    assert!(effects.iter().any(is_called_off), "{effects:?}");
}

#[test]
fn an_agent_that_takes_leave_twice_says_goodbye_once() {
    let mut call = Timeline::asked(rules());
    call.calls(3_050, "r2", "c1", "end_call", "{}").ends(3_060, "r2");
    assert!(call.answered().1, "the goodbye is asked for");
    call.created(3_070, "r3").delta(3_080, "r3", "a3").calls(3_090, "r3", "c2", "end_call", "{}");
    call.response_done(3_100, "r3", "completed", "a3", "Goodbye.");
    assert!(!call.answered().1);
}

#[test]
fn the_call_does_not_end_while_a_tool_is_at_work() {
    let mut call = Timeline::asked(rules());
    call.delta(3_010, "r2", "a2").calls(3_020, "r2", "c1", "slots", r#"{"day":"Monday"}"#);
    call.calls(3_050, "r2", "c2", "end_call", "{}").ends(3_060, "r2");
    call.at(3_210, Input::Mark(Mark { generation: 0, ordinal: 3, sent_ms: 200 }));
    assert_eq!(ended(&call.take()), None);
    call.tool_answers(4_000, 1, "c1", "{}");
    call.says(4_100, "r3", "a3", 1, "It is done. Goodbye.");
    call.at(4_500, Input::Mark(Mark { generation: 0, ordinal: 4, sent_ms: 200 }));
    assert_eq!(ended(&call.take()), Some((Reason::AgentHungUp, NextStep::HangUp)));
}
