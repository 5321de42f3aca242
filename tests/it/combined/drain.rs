//! A panic at each step of a drain: of the process that goes down, or of the one that takes its calls.

use futures_util::future::join_all;
use switchboard::sim::phone::Caller;
use switchboard::sim::speech::CALLER;

use crate::support::app::TestApp;
use crate::support::postgres::TestDatabase;
use crate::support::proxy::Proxy;
use crate::support::toll::Toll;
use crate::support::world::{World, asks, greetings, is_answered, streams_are};

const CALLS: usize = 3;

/// What is being done when the panic comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    RefusingNewCalls,
    AskingWhetherCallsAreLeft,
    /// A stream breaks while its call may go on here, and comes back to this process.
    PassingAudio,
    /// The same; Twilio's question leads to the next process already.
    PassingAudioWithTheDoorElsewhere,
    EndingAllCalls,
    EndingACall,
    WritingTheDecision,
    FreeingTheSlot,
    AnsweringWhatComesNext,
    TakingACallUp,
    GivingAStreamItsCall,
}

/// A process that is about to go down, and the next one. The proxy decides which of both Twilio reaches.
struct Pair {
    world: World,
    proxy: Proxy,
    first: TestApp,
    second: TestApp,
    _database: TestDatabase,
}

impl Pair {
    async fn start() -> Self {
        let (database, proxy) = (TestDatabase::create().await, Proxy::start().await);
        let world = World::behind(&proxy.origin, &database.url).await;
        let instance = |name: &str| world.setup.anew().with("INSTANCE_ID", name).start();
        let (first, second) = (instance("first"), instance("second"));
        proxy.leads_to(&first.origin);
        Self { world, proxy, first, second, _database: database }
    }

    /// The first process goes down with these callers on the line. The panic comes at this step.
    async fn goes_down(&self, step: Step, callers: &[Caller]) {
        let Self { proxy, first, second, .. } = self;
        let signal = async { first.terminate() };
        match step {
            Step::RefusingNewCalls => first.panics_at("registry-Drain", signal).await,
            _ => signal.await,
        }
        first.drains().await;
        match step {
            Step::AskingWhetherCallsAreLeft => first.panics_at("registry-AskWhetherIdle", async {}).await,
            Step::PassingAudio => self.loses_the_stream(&callers[0]).await,
            _ => {}
        }
        if step != Step::AnsweringWhatComesNext {
            proxy.leads_to(&second.origin);
        }
        if step == Step::PassingAudioWithTheDoorElsewhere {
            self.loses_the_stream(&callers[0]).await;
            is_answered(&callers[0]).await;
        }
        let signal = async { first.terminate() };
        match step {
            Step::EndingAllCalls => first.panics_at("registry-EndCalls", signal).await,
            Step::EndingACall => {
                first.panics_at(&format!("call-{}-Shutdown", callers[0].call_sid()), signal).await;
            }
            Step::WritingTheDecision => first.panics_at("db-write", signal).await,
            Step::FreeingTheSlot => first.panics_at("registry-CallEnded", signal).await,
            Step::AnsweringWhatComesNext => first.panics_at("registry-EndStream", signal).await,
            Step::TakingACallUp => second.panics_at("registry-AdmitCall", signal).await,
            Step::GivingAStreamItsCall => second.panics_at("registry-ClaimStream", signal).await,
            _ => signal.await,
        }
        proxy.leads_to(&second.origin);
    }

    /// The caller presses a key, at which the pump of their stream panics; they have another one afterwards.
    async fn loses_the_stream(&self, caller: &Caller) {
        self.first.panics_at("pump", async { caller.presses('5') }).await;
        streams_are(caller, 2).await;
    }
}

/// The agent is heard in the call's stream of this number.
async fn goes_on_with(caller: &Caller, stream: usize) {
    streams_are(caller, stream).await;
    is_answered(caller).await;
}

async fn a_panic_in_a_drain(step: Step) {
    let pair = Pair::start().await;
    let question = [&CALLER[0]];
    let callers = join_all((0..CALLS).map(|_| pair.world.in_conversation(&question))).await;
    let is_first = |caller: &Caller| caller.number() == callers[0].number();
    pair.goes_down(step, &callers).await;
    join_all(callers.iter().map(async |caller| {
        match step {
            Step::PassingAudioWithTheDoorElsewhere if is_first(caller) => {} // it is there already
            Step::PassingAudio if is_first(caller) => goes_on_with(caller, 3).await,
            _ => goes_on_with(caller, 2).await,
        }
        asks(caller, &CALLER[1]).await;
        caller.hangs_up().await;
    }))
    .await;
    let Pair { world, first, second, .. } = pair;
    let mut toll = Toll::of(format!("drain, and a panic while {step:?}"));
    for caller in &callers {
        assert_eq!(greetings(caller), 1, "nobody is greeted twice");
        let log = second.logged(caller.call_sid()).await;
        assert_eq!(
            (&log["call"]["outcome"], &log["call"]["instance"]),
            (&"completed".into(), &"second".into())
        );
        toll.count(caller, &[&CALLER[0], &CALLER[1]], &log);
    }
    first.ends().await;
    toll.must_be_nothing_lost(0);
    world.is_content();
    second.empties().await;
}

#[actix_rt::test]
async fn a_panic_while_it_refuses_new_calls_costs_no_call() {
    a_panic_in_a_drain(Step::RefusingNewCalls).await;
}

#[actix_rt::test]
async fn a_panic_while_it_asks_whether_calls_are_left_costs_no_call() {
    a_panic_in_a_drain(Step::AskingWhetherCallsAreLeft).await;
}

#[actix_rt::test]
async fn a_panic_while_it_passes_audio_costs_no_call() {
    a_panic_in_a_drain(Step::PassingAudio).await;
}

#[actix_rt::test]
async fn a_panic_while_it_passes_audio_and_its_door_is_elsewhere_costs_no_call() {
    a_panic_in_a_drain(Step::PassingAudioWithTheDoorElsewhere).await;
}

#[actix_rt::test]
async fn a_panic_while_it_ends_all_calls_costs_no_call() {
    a_panic_in_a_drain(Step::EndingAllCalls).await;
}

#[actix_rt::test]
async fn a_panic_while_it_ends_one_call_costs_no_call() {
    a_panic_in_a_drain(Step::EndingACall).await;
}

#[actix_rt::test]
async fn a_panic_while_it_writes_what_comes_next_costs_no_call() {
    a_panic_in_a_drain(Step::WritingTheDecision).await;
}

#[actix_rt::test]
async fn a_panic_while_it_frees_a_slot_costs_no_call() {
    a_panic_in_a_drain(Step::FreeingTheSlot).await;
}

#[actix_rt::test]
async fn a_panic_while_it_answers_what_comes_next_costs_no_call() {
    a_panic_in_a_drain(Step::AnsweringWhatComesNext).await;
}

#[actix_rt::test]
async fn a_panic_while_the_next_process_takes_a_call_up_costs_no_call() {
    a_panic_in_a_drain(Step::TakingACallUp).await;
}

#[actix_rt::test]
async fn a_panic_while_the_next_process_gives_a_stream_its_call_costs_no_call() {
    a_panic_in_a_drain(Step::GivingAStreamItsCall).await;
}
