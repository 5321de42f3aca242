# `make demo` and `make test` install what they need from the distribution's packages, build and run.

.PHONY: demo test bench check

demo:
	@./.ci/need gcc libc6-dev postgresql
	cargo run --release --locked --quiet -- demo $(ARGS)

test:
	@./.ci/need gcc libc6-dev postgresql pgbouncer prometheus
	cargo test --workspace --locked

bench:
	@./.ci/need gcc libc6-dev postgresql
	cargo bench --workspace --locked

# What CI runs.
check:
	./.ci/run
