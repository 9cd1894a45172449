# The commands of this repository. Each works on a fresh clone of a bare Debian 12 with Rust.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test sim fuzz mutants soak bench ci lint fmt clippy doc deny generated asyncapi openapi buf shell docker proto schemas clean-cache

ENV := . scripts/env.sh;

# One selection of packages and features for every test run. Cargo unifies features over the packages it is asked for:
# `cargo test -p tickfold-core` followed by `--workspace` would build tokio, prost and all of ours twice, and an edit in
# core would be paid for twice. So the cheap tests come first by choosing targets, never by choosing packages.
TEST := cargo test --workspace --locked --features tickfold/fail-points

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: # system packages, librocksdb.a, promtool, Kafka's jars, a Python client; says so when there is something to do
	@scripts/setup.sh

run: setup ## build, start one node with a demo secret, post three statuses, show the message, keep serving
	@scripts/run.sh

# The same generated inputs each time: what fails in CI fails here. `make soak` draws new ones. The integration tests wait
# for half of their time, in which the simulation runs.
test: export PROPTEST_RNG_SEED ?= 1
test: setup ## all tests: unit tests of every crate first, then integration and end-to-end tests beside the simulation, then doc tests
	@$(ENV) $(TEST) --lib --bins
	@$(ENV) scripts/beside.sh $(MAKE) --no-print-directory sim -- $(TEST) --test '*'
	@$(ENV) $(TEST) --doc

# Optimised, with the assertions of our own crates on. Few crates, and none of them C++.
SIM := cargo run --quiet --locked --profile sim -p tickfold-sim --

sim: ## the driver in simulated worlds: kept plans, the null control, 20,000 seeds, planted bugs
	@$(ENV) $(SIM) kept
	@$(ENV) $(SIM) calm --seeds 1000
	@$(ENV) $(SIM) run --seeds 20000
	@$(ENV) $(SIM) bugs

FUZZ_SECONDS ?= 600
fuzz: ## fuzz targets, ten minutes each unless FUZZ_SECONDS says otherwise, going on from the inputs of the last time
	@$(ENV) scripts/fuzz.sh --seconds $(FUZZ_SECONDS)

MUTANTS ?=
mutants: setup ## changes signature, token, driver and fold, one place at a time: does a test notice? (hours; MUTANTS="signature" for one area)
	@scripts/mutants.sh $(MUTANTS)

soak: soak-one soak-sim soak-kills soak-faults ## the full counts of the crash, damage and order tests; rewrites docs/soak.md (hours)

.PHONY: soak-one soak-sim soak-kills soak-faults soak-history soak-watch
soak-one: setup # those that need no broker, but for the log's own on one
	@$(ENV) scripts/soak.sh 'On one machine' $(TEST) --bins --test '*' -- --skip kafka --skip late

# Hours; a part of the seeds is a part of the page by itself, and scripts/soak-sum.py makes one of all of them.
SIM_FROM ?= 0
SIM_SEEDS ?= 1000000
soak-sim: setup # a million simulated worlds, or SIM_SEEDS of them from seed SIM_FROM on
	@$(ENV) scripts/soak.sh 'Simulated worlds from seed $(SIM_FROM)' $(SIM) run --from $(SIM_FROM) --seeds $(SIM_SEEDS)

soak-kills: setup # kill -9 of processors on Kafka, and states that are gone or others' than raw
	@$(ENV) scripts/soak.sh 'Kafka: kills of processors' $(TEST) --test it -- kafka_crash kafka_state kafka_restart watch_kafka \
		flows_survive_kills_while_rules_change_on_kafka

soak-history: setup # bytes flipped in records and checkpoints, swaps of many rows, which soak-one and soak-faults run among others
	@$(ENV) scripts/soak.sh 'History' $(TEST) --bins --test it -- verify:: checkpoints:: replay_swap::

soak-watch: setup # watchers over kills, which soak-one and soak-kills run among others
	@$(ENV) scripts/soak.sh 'Watches' $(TEST) --test it -- watch

soak-faults: setup # brokers that die or freeze, zombies, requests that come late
	@$(ENV) scripts/soak.sh 'Kafka: brokers, zombies, late requests' $(TEST) --test it --test kafka -- kafka_broker kafka_zombie late a_swap_of_many_rows_on_kafka

bench: setup ## benchmarks, each against a floor or a peer in the same run, with the ratio
	@benches/peers/kafka-streams/build.sh
	@$(ENV) cargo build --quiet --release --locked -p tickfold
	@$(ENV) cargo bench --locked -p tickfold-benches

ci: ## what CI runs: the tests and every check below
	@.ci/run

lint: fmt clippy doc deny generated asyncapi openapi buf shell docker ## every check that is not a test

fmt: # formatting
	@cargo fmt --all --check

clippy: setup # lints, warnings denied; all features, so that code behind each is seen
	@$(ENV) cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

doc: setup # rustdoc, warnings denied
	@$(ENV) RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

deny: checks-setup # licences, banned and duplicate crates, sources; the fetch is for crates of other platforms
	@$(ENV) cargo fetch --locked --quiet; cargo deny --offline --all-features --locked check --hide-inclusion-graph bans licenses sources

generated: stubs # generated files are up to date
	@$(ENV) cargo run --quiet --locked -p xtask -- proto --check
	@$(ENV) cargo run --quiet --locked -p xtask -- schemas --check

.PHONY: stubs
stubs: setup # those of clients/; the others are looked at by tests too
	@clients/generate.sh --check

asyncapi: checks-setup # the AsyncAPI document under the specification's own JSON Schema, and that broken ones are refused
	@$(ENV) "$$tickfold_checks_dir/bin/python" scripts/asyncapi/check.py "$$tickfold_asyncapi_specs" schemas/asyncapi.json

openapi: checks-setup # the OpenAPI document likewise; a test keeps it that of the routes
	@$(ENV) "$$tickfold_checks_dir/bin/python" scripts/openapi/check.py docs/openapi.json

buf: checks-setup # protos under buf STANDARD, and nothing taken back of what was published
	@scripts/buf.sh

shell: checks-setup # shell scripts
	@$(ENV) if command -v shellcheck >/dev/null; then shellcheck -x scripts/*.sh docker/*.sh benches/peers/*/*.sh clients/*.sh .ci/run \
	  crates/tickfold-log/tests/kafka/guard.sh; \
	  else echo "shell: skipped, shellcheck is not packaged for $$(uname -m)"; fi

docker: checks-setup # Dockerfile, compose files and Prometheus' files, also against the binary
	@$(ENV) if [ -z "$${TICKFOLD_BIN:-}" ]; then cargo build --quiet --locked -p tickfold; fi; docker/check.sh

.PHONY: checks-setup
checks-setup:
	@scripts/setup.sh --checks

proto: setup ## regenerate the committed gRPC code and the stubs of clients/ from proto/
	@$(ENV) cargo run --locked -p xtask -- proto
	@clients/generate.sh

schemas: setup ## regenerate the committed JSON Schemas of the topics
	@$(ENV) cargo run --locked -p xtask -- schemas

clean-cache: ## remove what setup built for this machine; the next setup builds it again
	@$(ENV) rm -rf "$$tickfold_rocksdb_dir" "$$tickfold_cargo_deny_dir" "$$tickfold_checks_dir" \
	  "$$tickfold_promtool_dir" "$$tickfold_kafka_dir" "$$tickfold_clients_dir" "$$tickfold_grpc_dir" \
	  "$$tickfold_asyncapi_dir"
