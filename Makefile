# `make demo` and `make test` install what they need from the distribution's packages, build and run.

.PHONY: demo test bench check

demo:
	@./.ci/need gcc libc6-dev postgresql
	cargo run --release --locked --quiet -- demo $(ARGS)

test:
	@./.ci/need gcc libc6-dev postgresql pgbouncer prometheus
	RUST_TEST_THREADS=4 cargo test --workspace --locked # they wait more than they compute

bench:
	@./.ci/need gcc libc6-dev postgresql
	cargo bench --workspace --locked

# What CI runs.
check:
	./.ci/run
