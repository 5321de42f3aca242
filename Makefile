# `make demo` and `make test` install what they need from the distribution's packages, build and run.

.PHONY: demo test torture bench bench-baseline bench-compare released check

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# A missed aim is told and is no failure; a bench that fails keeps none of the others from running.
BENCH = BENCH_PROGRAM=$(TARGET)/released/switchboard cargo bench --workspace --locked --no-fail-fast
# Tests that keep the processors busy, or measure what the machine gives. Few of them run at once, after all others.
HEAVY = calls::twenty combined::rollback crowd:: database::load database::migrations::each_migration database::plans \
	database::records::a_call_that_says_too_much database::routes load_tests:: webhooks::faults::

demo:
	@./.ci/need gcc libc6-dev postgresql
	@echo "building; the first time this takes about three minutes on two cores, then the demo a minute and a half"
	@# Who has not built here before waits less without what makes the next build faster.
	@[ -d $(TARGET)/debug/incremental ] || export CARGO_INCREMENTAL=0; ./.ci/clocked cargo build --locked
	$(TARGET)/debug/switchboard demo $(ARGS)

test:
	@./.ci/need gcc libc6-dev postgresql pgbouncer chromium prometheus nginx haproxy redis-server systemd
	RUST_TEST_THREADS=6 cargo test --workspace --locked -- $(HEAVY:%=--skip %) # they wait more than they compute
	RUST_TEST_THREADS=2 cargo test --locked --test it -- $(HEAVY)

bench: released
	$(BENCH)

# Keeps what is measured now, for `make bench-compare`.
bench-baseline: released
	$(BENCH) -- --save-baseline kept

bench-compare: released
	$(BENCH) -- --baseline kept

# A million calls with a Twilio and a Realtime service that keep to nothing; CASES and FROM choose others. Seeds that break a
# promise are named, and kept for every later run.
torture:
	@./.ci/need gcc libc6-dev
	TORTURE_CASES=$(or $(CASES),1000000) TORTURE_FROM=$(or $(FROM),1) TORTURE_KEEP=1 \
		cargo test -p call-control --lib --locked --profile torture lying_peer -- --nocapture

# The program as it is released, kept apart: what cargo builds for tests and benches can be told to panic.
released:
	@./.ci/need gcc libc6-dev postgresql
	cargo build --release --locked
	@mkdir -p $(TARGET)/released && cp $(TARGET)/release/switchboard $(TARGET)/released/

# What CI runs.
check:
	./.ci/run
