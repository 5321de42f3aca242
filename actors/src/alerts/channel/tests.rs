use call_control::alerts::{Change, Turn};

use super::super::way::Format;
use super::*;
use crate::metrics::MetricSet as _;
use crate::secret::Secret;

#[test]
fn the_oldest_notice_gives_way_when_too_many_wait() {
    let way = Way::Webhook { url: Secret::new("http://127.0.0.1:1".to_owned()), format: Format::Slack };
    let (channel, metrics) = (Channel::new(way, Duration::ZERO), Metrics::build().unwrap());
    for number in 0..=MOST_WAITING {
        let notice = Notice::test("a", Utc::now());
        let dropped = channel.push(Notice { id: number.to_string(), ..notice }, &metrics);
        assert_eq!(dropped.is_some(), number == MOST_WAITING);
    }
    let first = channel.next().unwrap();
    assert_eq!(first.notice.id, "1");
    assert_eq!(channel.waiting.borrow().len(), MOST_WAITING - 1);
}

#[test]
fn a_critical_notice_is_told_first_and_gives_way_last() {
    let way = Way::Webhook { url: Secret::new("http://127.0.0.1:1".to_owned()), format: Format::Slack };
    let (channel, metrics) = (Channel::new(way, Duration::ZERO), Metrics::build().unwrap());
    let notice = |id: &str, kind| {
        let (id, rule) = (id.to_owned(), id.to_owned());
        Notice { id, rule, kind, ..Notice::test("a", Utc::now()) }
    };
    channel.push(notice("critical", CRITICAL), &metrics);
    for number in 1..=MOST_WAITING {
        channel.push(notice(&number.to_string(), Kind::Cleared), &metrics);
    }
    channel.push(notice("worse", CRITICAL), &metrics);
    let order: Vec<_> = std::iter::from_fn(|| channel.next()).map(|one| one.notice.id).collect();
    assert_eq!(order.len(), MOST_WAITING);
    assert_eq!(order[..3], ["critical", "worse", "3"]);
}

/// A number that gets a text message an hour.
fn number() -> (Channel, Metrics) {
    let base = url::Url::parse("http://127.0.0.1:1").unwrap();
    let api = crate::wire::twilio::rest::TwilioApi::new(base, "AC1", Secret::new("hush".to_owned()));
    let (from, to) = ("+15005550006".to_owned(), "+15005550001".to_owned());
    let way = Way::Sms { api: api.unwrap(), from, to, within: Duration::from_secs(1) };
    (Channel::new(way, Duration::from_secs(3_600)), Metrics::build().unwrap())
}

fn notice(rule: &str, kind: Kind) -> Notice {
    let (id, rule) = (format!("0{}", rule.len()), rule.to_owned());
    Notice { id, rule, kind, ..Notice::test("a", Utc::now()) }
}

#[test]
fn a_number_that_got_a_message_waits_for_the_next_one_and_not_for_the_first_critical_one() {
    let (channel, metrics) = number();
    let waits = |channel: &Channel| channel.wait().unwrap() > Duration::ZERO;
    assert_eq!(channel.wait(), None);
    channel.push(notice("memory", Kind::Cleared), &metrics);
    assert!(!waits(&channel));
    let mut pace = channel.pace.get();
    pace.sent(false, 0);
    channel.pace.set(pace);
    assert!(waits(&channel));
    channel.push(notice("redis-away", CRITICAL), &metrics);
    assert!(!waits(&channel), "the first critical one");
    pace.sent(true, 0);
    channel.pace.set(pace);
    assert!(waits(&channel), "the next critical one");
    assert_eq!(channel.waiting.borrow().len(), 2, "both go with the next message");
}

#[test]
fn what_may_have_been_sent_waits_longer_and_delays_no_other_critical_alert() {
    let (channel, metrics) = number();
    channel.push(notice("memory", CRITICAL), &metrics);
    assert!(channel.put_back(channel.take(), "text".to_owned(), Utc::now()).is_empty());
    assert!(channel.wait().unwrap() > Duration::from_secs(3_500), "it is looked up later");
    channel.push(notice("redis-away", CRITICAL), &metrics);
    assert_eq!(channel.wait(), Some(Duration::ZERO));
    let taken: Vec<_> = channel.take().into_iter().map(|one| one.notice.rule).collect();
    assert_eq!(taken, ["redis-away"]);
    let batch: Vec<_> = channel.waiting.borrow_mut().drain(..).collect();
    let given_up = channel.put_back(batch, "text".to_owned(), Utc::now());
    let rules: Vec<_> = given_up.iter().map(|one| one.notice.rule.as_str()).collect();
    assert_eq!(rules, ["memory"], "it was sent twice");
}

#[test]
fn the_end_of_an_alert_waits_with_its_text_that_may_have_been_sent() {
    let (channel, metrics) = number();
    channel.push(notice("memory", CRITICAL), &metrics);
    channel.put_back(channel.take(), "text".to_owned(), Utc::now());
    channel.push(notice("memory", Kind::Cleared), &metrics);
    channel.push(notice("redis-away", CRITICAL), &metrics);
    let taken: Vec<_> = channel.take().into_iter().map(|one| one.notice.rule).collect();
    assert_eq!(taken, ["redis-away"]);
    assert!(channel.wait().unwrap() > Duration::from_secs(3_500), "both wait for the look-up");
    let together = newest(channel.waiting.borrow_mut().drain(..).collect());
    assert_eq!((together.len(), together[0].notice.kind, together[0].is_whole), (1, Kind::Cleared, true));
}

#[test]
fn of_an_alert_the_newest_notice_is_told_and_one_that_came_and_went_as_well() {
    let waiting = |notice| Waiting { notice, doubt: None, is_whole: false };
    let batch = vec![
        waiting(notice("memory", CRITICAL)),
        waiting(notice("redis-away", Kind::Cleared)),
        waiting(notice("memory", Kind::Cleared)),
    ];
    let told = newest(batch);
    let told: Vec<_> =
        told.iter().map(|one| (one.notice.rule.as_str(), one.notice.kind, one.is_whole)).collect();
    assert_eq!(told, [("memory", Kind::Cleared, true), ("redis-away", Kind::Cleared, false)]);
}

#[test]
fn alerts_about_one_process_are_claimed_for_it_alone() {
    let (channel, _) = number();
    let kind = |rule| channel.kind(CRITICAL, &notice(rule, CRITICAL));
    assert_eq!(kind("memory").as_deref(), Some("critical:sms@a"));
    assert_eq!(kind("database-unavailable").as_deref(), Some("critical:sms"));
}

#[test]
fn a_repetition_that_waits_is_not_told_once_somebody_has_acknowledged_the_alert() {
    let (board, rule) = (Board::default(), &RULES[position("memory").unwrap()]);
    let (turn, severity) = (Turn::Raised, Severity::Critical);
    let raised = Change { rule, turn, severity, value: None, is_told: true };
    let id = board.apply(&raised, "a", Utc::now()).unwrap().row.id;
    let first = Notice { id: id.clone(), ..notice("memory", CRITICAL) };
    let repeated = Notice { is_repeat: true, ..first.clone() };
    assert!(is_wanted(&repeated, &board));
    board.acknowledge(&id, "user:anna", Utc::now()).unwrap();
    assert!(!is_wanted(&repeated, &board));
    assert!(is_wanted(&first, &board), "nobody has heard of it this way");
}
