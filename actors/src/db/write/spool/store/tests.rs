use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use serde_json::json;
use tokio::sync::watch;

use super::super::Inner;
use super::super::folder::Folder;
use super::value::FORMAT;
use super::*;
use crate::call::end::{CallEnd, Outcome, Reason};
use crate::db::write::record::{
    Aftermath, CallClosed, CallOpened, Decision, Event, InboxItem, InboxKind, NextStep, Speaker, Turn,
};

fn sid(call: u32) -> CallSid {
    format!("CA{call:032x}").parse().unwrap()
}

pub(super) fn event(call: u32, kind: &str) -> Arc<Record> {
    Arc::new(Record::Event(Event {
        call_sid: sid(call),
        at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        kind: kind.to_owned(),
        data: json!({"nul": "\0", "number": 1.5}),
        dedupe_key: None,
    }))
}

pub(super) fn open(folder: &tempfile::TempDir, capacity: u64) -> Store {
    Store::open_or_replace(folder.path().join("records.redb"), capacity).unwrap()
}

fn open_again(store: Store, folder: &tempfile::TempDir) -> Store {
    drop(store);
    open(folder, 1 << 20)
}

/// Order numbers and kinds.
fn kinds(front: &Front) -> Vec<(u64, &str)> {
    let mut kinds = Vec::new();
    for (order, record) in &front.records {
        let Record::Event(event) = &**record else { panic!("{record:?}") };
        kinds.push((*order, event.kind.as_str()));
    }
    kinds
}

#[test]
fn records_come_out_as_they_went_in_and_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let at = DateTime::from_timestamp(1_800_000_000, 123_456_000).unwrap();
    let records: Vec<Arc<Record>> = [
        Record::Opened(CallOpened {
            call_sid: sid(1),
            epoch: 2,
            from: "anonymous".to_owned(),
            to: "+15550199".to_owned(),
            started_at: at,
            instance: "a".to_owned(),
        }),
        Record::Turn(Turn {
            call_sid: sid(1),
            epoch: 2,
            ordinal: 1,
            speaker: Speaker::Agent,
            text: "\"Hi\"\0\n".to_owned(),
            started_at: at,
            heard_ms: Some(7),
            cut_off: true,
            version: 0,
        }),
        Record::Event(Event {
            call_sid: sid(1),
            at,
            kind: "voicemail".to_owned(),
            data: json!({"recordingSid": "RE1", "url": "https://x/RE1"}),
            dedupe_key: Some("RE1".to_owned()),
        }),
        Record::Decided(Decision { call_sid: sid(1), epoch: 2, next_step: NextStep::HangUp, decided_at: at }),
        Record::Closed(CallClosed {
            call_sid: sid(1),
            epoch: 2,
            ended_at: at,
            end: CallEnd::new(Outcome::Voicemail, Reason::RealtimeUnavailable),
            barge_ins: 3,
            first_audio_ms: None,
            usage: json!({"totalTokens": 17}),
            cost_usd: Some(0.11),
        }),
        Record::Aftermath(Aftermath {
            event: Event {
                call_sid: sid(1),
                at,
                kind: "transfer".to_owned(),
                data: json!({"status": "completed"}),
                dedupe_key: Some("CA2".to_owned()),
            },
            outcome: Outcome::Transferred,
            from: None,
        }),
        Record::Inbox(InboxItem {
            from: Some("+15550100".to_owned()),
            ..InboxItem::said(sid(1), at, InboxKind::CallBack, "Tomorrow\0")
        }),
    ]
    .map(Arc::new)
    .into();
    let before = Utc::now();
    assert_eq!(open(&folder, 1 << 20).append(&records), Ok(7));

    let mut store = open(&folder, 1 << 20);
    let backlog = store.backlog();
    assert_eq!(backlog.records, 7);
    assert!(backlog.oldest.is_some_and(|oldest| oldest >= before && oldest <= Utc::now()));
    let front = store.front(10).unwrap();
    assert_eq!(front.records.iter().map(|(_, record)| Arc::clone(record)).collect::<Vec<_>>(), records);
}

#[test]
fn first_in_is_first_out_and_what_is_settled_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    store.append(&[event(1, "a"), event(2, "b")]).unwrap();
    store.append(&[event(1, "c")]).unwrap();
    assert_eq!(kinds(&store.front(2).unwrap()), [(0, "a"), (1, "b")]);
    store.settle(0).unwrap();
    drop(store);
    let mut store = open(&folder, 1 << 20);
    store.append(&[event(1, "d")]).unwrap();
    assert_eq!(kinds(&store.front(9).unwrap()), [(1, "b"), (2, "c"), (3, "d")]);
    assert_eq!(store.of_call(&sid(1)).unwrap(), [event(1, "c"), event(1, "d")]);
    store.settle(3).unwrap();
    assert_eq!(store.backlog(), Backlog::default());
    store.append(&[event(1, "e")]).unwrap();
    assert_eq!(kinds(&store.front(9).unwrap()), [(4, "e")], "no number is given twice");
}

#[test]
fn a_full_spool_takes_what_fits_and_more_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 500);
    let taken = store.append(&vec![event(1, "x"); 10]).unwrap();
    assert!((1..10).contains(&taken), "{taken}");
    let refused = store.append(&[event(1, "y")]).unwrap_err().to_string();
    assert!(refused.contains("full"), "{refused}");
    assert_eq!(store.backlog().records, taken);
    store.settle(0).unwrap();
    assert_eq!(store.append(&[event(1, "z")]), Ok(1));
}

#[test]
fn what_cannot_be_read_is_counted_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    store.append(&[event(1, "a")]).unwrap();
    let later_version = [FORMAT + 1, b'{', b'}'].to_vec();
    store.append_entries(&[(sid(1).to_string(), later_version), (sid(1).to_string(), vec![FORMAT])]).unwrap();
    store.append(&[event(1, "b")]).unwrap();
    let front = store.front(9).unwrap();
    assert_eq!(kinds(&front), [(0, "a"), (3, "b")]);
    assert_eq!((front.unreadable, front.last), (2, Some(3)));
    assert_eq!(store.of_call(&sid(1)).unwrap().len(), 2);
}

#[test]
fn what_cannot_be_read_is_set_aside_with_its_bytes_and_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    let later_version = [FORMAT + 1, b'{', b'}'].to_vec();
    let unknown_kind = [&[FORMAT][..], br#"{"at":"2026-01-01T00:00:00Z","record":{"Unheard":{}}}"#].concat();
    let unreadable = [(sid(1).to_string(), later_version), (String::new(), unknown_kind)];
    store.append(&[event(1, "a")]).unwrap();
    store.append_entries(&unreadable).unwrap();
    store.settle(2).unwrap();
    assert_eq!((store.backlog().records, store.backlog().aside), (0, 2));
    drop(store);
    let mut store = open(&folder, 1 << 20);
    assert_eq!(
        (store.backlog().records, store.front(9).unwrap().unreadable),
        (2, 2),
        "tried again at a start"
    );
    store.append(&[event(1, "b")]).unwrap();
    let last = store.front(9).unwrap().last.unwrap();
    store.settle(last).unwrap();
    assert_eq!((store.backlog().records, store.backlog().aside), (0, 2));
    let kept = store.attempt(|store| {
        let table = store.database()?.begin_read()?.open_table(ASIDE)?;
        table
            .iter()?
            .map(|entry| entry.map(|(_, value)| value.value().to_vec()).map_err(Into::into))
            .collect::<Result<Vec<_>, redb::Error>>()
    });
    assert_eq!(kept.unwrap(), unreadable.map(|(_, value)| value), "byte for byte");
}

#[test]
fn what_is_set_aside_waits_behind_the_others_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    store.append(&[event(1, "a"), event(1, "b")]).unwrap();
    store.put_aside(&event(1, "refused"), "23514 turns_ordinal_check").unwrap();
    store.settle(0).unwrap();
    assert_eq!((store.backlog().records, store.backlog().aside), (1, 1));
    assert!(store.attempt::<()>(|_| Err(redb::Error::PreviousIo)).is_err());
    assert_eq!(kinds(&store.front(9).unwrap()), [(1, "b")], "a disk that failed is no start");
    drop(store);
    let mut store = open(&folder, 1 << 20);
    assert_eq!((store.backlog().records, store.backlog().aside), (2, 0));
    assert_eq!(kinds(&store.front(9).unwrap()), [(1, "b"), (2, "refused")]);
}

#[test]
fn refused_records_hold_a_share_of_the_capacity_and_unreadable_ones_take_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 8_000);
    let unreadable: Vec<Entry> = (0..60).map(|_| (sid(1).to_string(), vec![FORMAT + 1; 100])).collect();
    assert_eq!(store.append_entries(&unreadable), Ok(60));
    store.settle(59).unwrap();
    let mut kept = 0;
    while store.put_aside(&event(1, "refused"), "23514 a rule").is_ok() {
        kept += 1;
    }
    let size = encode(Utc::now(), &event(1, "refused"), Some("23514 a rule")).unwrap().1.len();
    assert_eq!(kept, 2_000 / size);
    assert_eq!((store.backlog().aside, store.backlog().refused), (60 + kept, kept));
    store.database = None; // the disk failed
    let refused = store.refused(0, 1).unwrap();
    assert_eq!((store.backlog().aside, store.backlog().refused), (60 + kept, kept), "counted again");
    store.drop_refused(&[refused[0].0]).unwrap();
    assert_eq!(store.backlog().refused, kept - 1);
    store.put_aside(&event(1, "refused"), "23514 a rule").unwrap();
}

#[test]
fn refused_records_are_found_in_order_among_unreadable_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    store.put_aside(&event(1, "a"), "").unwrap();
    store.append_entries(&[(sid(1).to_string(), vec![FORMAT + 1])]).unwrap();
    store.settle(0).unwrap();
    for kind in ["b", "c"] {
        store.put_aside(&event(1, kind), "").unwrap();
    }
    let orders = |refused: Vec<Numbered>| refused.iter().map(|(order, _)| *order).collect::<Vec<_>>();
    assert_eq!(orders(store.refused(0, 2).unwrap()), [0, 2]);
    assert_eq!(orders(store.refused(3, 2).unwrap()), [3]);
    store.drop_refused(&[0, 3]).unwrap();
    assert_eq!(orders(store.refused(0, 9).unwrap()), [2]);
    assert_eq!((store.backlog().aside, store.backlog().refused), (2, 1));
}

#[test]
fn unreadable_records_that_a_full_disk_keeps_in_their_place_count_as_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    store.append(&[event(1, "a")]).unwrap();
    store.append_entries(&[(sid(1).to_string(), vec![FORMAT + 1])]).unwrap();
    store.append(&[event(1, "b")]).unwrap();
    store.gone = Some(0); // as if `a` could not be taken out
    store.settle(1).unwrap();
    assert_eq!((store.backlog().records, store.backlog().aside), (1, 1));
    store.settle(2).unwrap();
    assert_eq!((store.backlog().records, store.backlog().aside), (0, 1), "the file is kept for it");
    store.append(&[event(1, "c")]).unwrap();
    assert_eq!(kinds(&store.front(9).unwrap()), [(3, "c")]);
}

#[test]
fn what_a_full_disk_does_not_let_go_is_passed_over_and_goes_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    store.append(&[event(1, "a"), event(1, "b"), event(1, "c")]).unwrap();
    store.gone = Some(0); // as if `a` could not be taken out
    assert_eq!(kinds(&store.front(9).unwrap()), [(1, "b"), (2, "c")]);
    store.settle(1).unwrap();
    assert_eq!((store.backlog().records, store.gone), (1, Some(1)));
    assert!(store.attempt::<()>(|_| Err(redb::Error::PreviousIo)).is_err());
    assert_eq!(kinds(&store.front(9).unwrap()), [(2, "c")], "also after the disk has failed");
    assert_eq!(store.of_call(&sid(1)).unwrap(), [event(1, "c")]);
    store.settle(2).unwrap();
    assert_eq!((store.backlog(), store.gone), (Backlog::default(), None));
    store.append(&[event(1, "d")]).unwrap();
    assert_eq!(kinds(&store.front(9).unwrap()), [(3, "d")], "no number is given twice");
    assert_eq!(kinds(&open_again(store, &folder).front(9).unwrap()), [(3, "d")]);
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("records.redb"), vec![7; 100_000]).unwrap();
    let mut store = open(&folder, 1 << 20);
    assert_eq!(store.append(&[event(1, "a")]), Ok(1));
    let names = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert!(names.into_iter().any(|name| name.to_str().unwrap().contains("damaged")));
}

#[test]
fn anothers_file_is_taken_in_behind_our_own_and_removed() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut other = open(&theirs, 1 << 30);
    (0..3).for_each(|_| assert_eq!(other.append(&vec![event(2, "theirs"); 900]), Ok(900)));
    drop(other);
    let mut store = open(&ours, 1 << 30);
    store.append(&[event(1, "ours")]).unwrap();
    let file = theirs.path().join("records.redb");
    assert_eq!(store.take_in(&file), Ok(2_700));
    assert!(!file.exists());
    assert_eq!(store.backlog().records, 2_701);
    assert_eq!(store.of_call(&sid(2)).unwrap().len(), 2_700);
    assert_eq!(kinds(&store.front(2).unwrap()), [(0, "ours"), (1, "theirs")]);
}

#[test]
fn a_file_that_does_not_fit_is_left_where_it_is() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(&theirs, 1 << 20).append(&vec![event(2, "theirs"); 9]).unwrap();
    let mut store = open(&ours, 500);
    let file = theirs.path().join("records.redb");
    assert!(store.take_in(&file).is_err());
    assert!(file.exists());
}

#[test]
fn a_store_whose_disk_failed_opens_its_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder, 1 << 20);
    store.append(&[event(1, "a")]).unwrap();
    assert!(store.attempt::<()>(|_| Err(redb::Error::PreviousIo)).is_err());
    assert_eq!(store.append(&[event(1, "b")]), Ok(1));
    assert_eq!(kinds(&store.front(9).unwrap()), [(0, "a"), (1, "b")]);
    assert_eq!(store.backlog().records, 2);
}

#[test]
fn a_store_whose_task_panicked_opens_its_file_again_and_counts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let inner = Inner {
        store: Mutex::new(open(&folder, 1 << 20)),
        backlog: watch::Sender::new(Backlog::default()),
        folder: Folder::hold(folder.path(), "a").unwrap(),
    };
    inner.work(|store| store.append(&[event(1, "a")])).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        inner.work::<()>(|store| {
            (store.next, store.records, store.bytes) = (0, 9, 1 << 20);
            panic!("in the middle of a change");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(inner.work(|store| store.append(&[event(1, "b")])), Ok(1), "there is room");
    assert_eq!(kinds(&inner.work(|store| store.front(9)).unwrap()), [(0, "a"), (1, "b")]);
    assert_eq!(inner.backlog.borrow().records, 2);
}
