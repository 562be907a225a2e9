# What CI does, in pieces. `just` lists the recipes; `just ci` is all of CI.

[private]
default:
    @just --list --unsorted

# Format everything
[group('fmt')]
fmt:
    cargo fmt

# See that everything is formatted
[group('fmt')]
fmt-check:
    cargo fmt --check

# Clippy with warnings denied, import rules, where unsafe stands
[group('lint')]
lint:
    cargo clippy --all-targets --all-features -- -D warnings
    .ci/import-rules
    .ci/unsafe-rules

# Each feature alone, and none
[group('lint')]
features:
    .ci/features

# Licences, bans and sources by deny.toml
[group('lint')]
deps:
    .ci/licences

# All tests; those that need Go, Python or Node say that they are skipped where there is none
[group('test')]
test:
    cargo test --all-features

# Tests whose name contains NAME
[group('test')]
test-one NAME:
    cargo test --all-features -- {{ quote(NAME) }}

# The tests with a real Collector and a Go webhook
[group('test')]
collector:
    .ci/go-peers

# The tests with OpenTelemetry SDKs of other languages, which are required
[group('test')]
peers:
    .ci/sdk-peers

# The same with one language
[group('test')]
peers-python:
    .ci/sdk-peers python

# The same with one language
[group('test')]
peers-node:
    .ci/sdk-peers node

# The same with one language
[group('test')]
peers-go:
    .ci/sdk-peers go

# The golden files of `legacy` against the real k8s.io packages; `just golden update` writes them
[group('test')]
golden *MODE:
    .ci/golden {{ MODE }}

# The W3C's trace-context harness against the example; CHECKOUT is one of w3c/trace-context
[group('test')]
w3c CHECKOUT *TESTS:
    .ci/w3c-harness {{ quote(CHECKOUT) }} {{ TESTS }}

# What is recorded and measured against the tables of the semantic conventions, and the tables against CHECKOUT, one of open-telemetry/semantic-conventions with its tags
[group('test')]
semconv CHECKOUT='':
    {{ if CHECKOUT == '' { '' } else { 'SPANBRIDGE_SEMANTIC_CONVENTIONS=' + quote(CHECKOUT) } }} cargo test --all-features --test conformance -- semconv metrics

# Random input for everything that reads headers and URLs, RUNS times each
[group('test')]
fuzz RUNS='1000000':
    cargo run --locked --release --manifest-path fuzz/Cargo.toml --bin random -- {{ RUNS }}

# The same guided by coverage, SECONDS for each target or for those named; needs a C++ compiler
[group('test')]
fuzz-long SECONDS='600' *TARGETS:
    .ci/fuzz {{ SECONDS }} {{ TARGETS }}

# CASES random programs of span operations, under our layer and under tracing-opentelemetry's
[group('test')]
differential CASES='20000':
    #!/usr/bin/env bash
    set -euo pipefail
    # A process keeps a little of each subscriber that it ever had, and asks them all.
    for ((left = {{ CASES }}; left > 0; left -= 500)); do
        PROPTEST_CASES=$((left < 500 ? left : 500)) cargo test --all-features --test differential
    done

# The matrix of faults, ROUNDS times: what goes wrong in one run of many is seen
[group('test')]
faults ROUNDS='20':
    #!/usr/bin/env bash
    set -euo pipefail
    for ((round = 1; round <= {{ ROUNDS }}; round++)); do
        echo "round $round of {{ ROUNDS }}"
        cargo test --all-features --test faults
    done

# 64 threads that treat spans badly, ROUNDS each
[group('test')]
stress ROUNDS='20000':
    SPANBRIDGE_STRESS_ROUNDS={{ ROUNDS }} cargo test --release --all-features --test threads --test stress

# What threads share, in every order; only models whose name contains one of NAMES
[group('test')]
loom *NAMES:
    cargo run --locked --release --manifest-path tests/loom/Cargo.toml -- {{ NAMES }}

# The same with more interruptions of a thread; takes hours
[group('test')]
loom-long PREEMPTIONS='4' *NAMES:
    LOOM_MAX_PREEMPTIONS={{ PREEMPTIONS }} cargo run --locked --release --manifest-path tests/loom/Cargo.toml -- {{ NAMES }}

# The layer's tests under AddressSanitizer
[group('test')]
asan:
    .ci/sanitizers asan

# The layer's tests under valgrind's memcheck
[group('test')]
valgrind:
    .ci/sanitizers valgrind

# The layer's tests under Miri, with a nightly toolchain
[group('test')]
miri:
    .ci/sanitizers miri

# KEP-647's story, with and without an SDK in the webhook
[group('test')]
demo:
    cargo run --example reentrant
    cargo run --example reentrant -- --webhook-without-sdk

# Run the benchmarks
[group('bench')]
bench *ARGS:
    cargo bench --all-features --bench '*' -- {{ ARGS }}

# See that the benchmarks run
[group('bench')]
bench-smoke:
    cargo bench --all-features --bench '*' -- --test

# All of it beside its peers, and a result file with plots; about a quarter of an hour, and wrk is needed. `--quick` is to see that it works
[group('bench')]
bench-all *ARGS:
    nice -n 15 cargo build --release --manifest-path benches/peers/Cargo.toml --target-dir {{ env('CARGO_TARGET_DIR', 'target') }}
    {{ env('CARGO_TARGET_DIR', 'target') }}/release/spanbridge-peers {{ ARGS }}

# Instructions and allocations of the hot path, against the committed figures; `just instructions update` writes them
[group('bench')]
instructions *MODE:
    .ci/instructions {{ MODE }}

# Documentation, broken links denied
[group('doc')]
doc:
    RUSTDOCFLAGS='-D rustdoc::broken_intra_doc_links -D warnings' cargo doc --no-deps --all-features

# Everything that must hold before a change is merged
[group('ci')]
ci:
    .ci/run

# What would be published, built from the package
[group('release')]
release-check:
    cargo publish --dry-run
