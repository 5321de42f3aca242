//! What a limit costs: one decision, in memory, with its lock and its clock.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use switchboard::rate_limit::{Class, Client, InMemory, Quota, Quotas, Store as _};

fn decisions(criterion: &mut Criterion) {
    let unlimited = Quota { requests: u32::MAX, window: Duration::from_secs(60) };
    let quotas = Quotas { webhook: unlimited, api: unlimited, ..Quotas::default() };
    let cases = [
        ("one client, allowed", Class::Webhook, 1),
        ("one client, refused", Class::Auth, 1),
        ("1,000 clients in turn", Class::Api, 1_000),
        ("50,000 clients in turn", Class::Api, 50_000), // each has a place
        ("a million clients in turn", Class::Api, 1_000_000),
    ];
    for (name, class, clients) in cases {
        let store = InMemory::new(&quotas);
        let mut number = 0;
        criterion.bench_function(&format!("rate_limit: {name}"), |bencher| {
            bencher.iter(|| {
                number = (number + 1) % clients;
                let client = Client::address(Ipv4Addr::from_bits(number).into());
                black_box(store.take(class, black_box(client)).now_or_never())
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = decisions
}
criterion_main!(benches);
