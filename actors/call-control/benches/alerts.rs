//! What it costs to judge every rule by one more sample, with the history full.

use std::hint::black_box;

use call_control::alerts::{Figure, KEPT, Sample, State, Timing};
use criterion::{Criterion, criterion_group, criterion_main};

const TICK: u64 = 5_000;

/// A process with 20 calls, at a moment.
fn sample(tick: u64) -> Sample {
    let mut sample = Sample::default();
    let count = tick as f64;
    for (figure, value) in [
        (Figure::ApiRequests, 40.0 * count),
        (Figure::ApiErrors, 0.0),
        (Figure::WebhookRequests, 40.0 * count),
        (Figure::PoolDemand, 3.0),
        (Figure::PoolLimit, 20.0),
        (Figure::CallsHeld, 20.0),
        (Figure::CallsLimit, 20.0),
        (Figure::CallerFrames, 5_000.0 * count),
        (Figure::SpoolPending, 0.0),
    ] {
        sample.set(figure, value);
    }
    for timing in [Timing::ApiResponse, Timing::WebhookResponse, Timing::Turn, Timing::WebhookDelay] {
        let buckets = (0..11).map(|bound| (f64::from(bound) / 2.0, tick * u64::from(bound as u32)));
        sample.timing_mut(timing).add(buckets, tick * 11);
    }
    sample
}

fn evaluate(criterion: &mut Criterion) {
    let mut state = State::new(&[]);
    let mut tick = 0;
    for _ in 0..KEPT {
        tick += 1;
        state.evaluate(&sample(tick), tick * TICK);
    }
    criterion.bench_function("alerts/evaluate", |bencher| {
        bencher.iter(|| {
            tick += 1;
            black_box(state.evaluate(black_box(&sample(tick)), tick * TICK))
        });
    });
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
