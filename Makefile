# `make demo` and `make test` install what they need from the distribution's packages, build and run.

.PHONY: demo test bench bench-baseline bench-compare check

demo:
	@./.ci/need gcc libc6-dev postgresql
	cargo run --release --locked --quiet -- demo $(ARGS)

test:
	@./.ci/need gcc libc6-dev postgresql pgbouncer chromium prometheus
	RUST_TEST_THREADS=4 cargo test --workspace --locked # they wait more than they compute

bench:
	@./.ci/need gcc libc6-dev postgresql
	cargo bench --workspace --locked

# Keeps what is measured now, for `make bench-compare`.
bench-baseline:
	@./.ci/need gcc libc6-dev postgresql
	cargo bench --workspace --locked -- --save-baseline kept

bench-compare:
	@./.ci/need gcc libc6-dev postgresql
	cargo bench --workspace --locked -- --baseline kept

# What CI runs.
check:
	./.ci/run
