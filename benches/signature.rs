//! What it costs to check the signature of a webhook with twenty parameters, as Twilio sends it for a call.

use std::hint::black_box;
use std::time::Duration;

use actors::secret::Secret;
use actors::wire::twilio::signature::{Validator, sign};
use criterion::{Criterion, criterion_group, criterion_main};

const TOKEN: &str = "12345678901234567890123456789012";
const PATH: &str = "/api/voice/incoming";

fn checks(criterion: &mut Criterion) {
    let parameters: Vec<_> =
        (0..20).map(|number| (format!("Parameter{number}"), format!("+1 415 555 01{number:02}"))).collect();
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
    let signature = sign(TOKEN, &format!("https://example.com{PATH}"), &parameters);
    let origin = "https://example.com".parse().expect("a URL");
    let validator = Validator::new(Secret::new(TOKEN.to_owned()), &origin);
    criterion.bench_function("signature: a webhook of 20 parameters", |bencher| {
        bencher.iter(|| {
            let believed = validator.verify_form(PATH, black_box(body.as_bytes()), &signature);
            assert!(believed.is_ok());
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = checks
}
criterion_main!(benches);
