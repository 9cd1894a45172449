#!/usr/bin/env bash
# Fuzz targets, guided by coverage: `scripts/fuzz.sh TIMES` runs each target so many times its share, from a fixed
# seed and the committed inputs, and is the same twice. `scripts/fuzz.sh --seconds N` runs each for so long, from a
# seed of now, and keeps the inputs that reach new code in target/fuzz/corpus for the next time.
#
# libFuzzer on the stable compiler: coverage is a pass of LLVM that rustc passes on. Address sanitizer, which needs a
# nightly one, would find nothing in code that has no `unsafe`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Name and runs in a round. They differ by how long a run takes.
targets=(webhook:60 headers:240 json:250 rules:50 texts:150 filter:100 pages:40 watch:40 config:10 embedded:150)
rounds=${1:-1000}
seconds=0
if [ "$rounds" = --seconds ]; then seconds=$2; fi

host=$(rustc -vV | sed -n 's/^host: //p')
coverage=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares)
# Only for this target: build scripts have no fuzzer to link with.
RUSTFLAGS="${coverage[*]}" cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml \
  --target "$host" --target-dir target/fuzz
fuzzer=target/fuzz/$host/release/tickfold-fuzz

# Without guidance, or without a word of what is found, nothing below would say anything.
planted=$(mktemp -d)
if TICKFOLD_FUZZ=planted "$fuzzer" -seed=1 -runs=2000000 -max_len=64 -artifact_prefix="$planted/" >"$planted/log" 2>&1 \
  || ! grep -q 'the planted bug is found' "$planted/log"; then
  tail -n 20 "$planted/log"
  echo 'fuzz: the planted bug is not found'
  exit 1
fi
rm -rf "$planted"

one() { # NAME:RUNS
  local name=${1%:*} runs=$((${1#*:} * rounds)) found=target/fuzz/found inputs=fuzz/inputs/${1%:*} dir options
  dir=target/fuzz/corpus/$name
  mkdir -p "$found" "$dir"
  options=(-artifact_prefix="$found/$name-" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1)
  if [ "$seconds" -gt 0 ]; then
    options+=(-max_total_time="$seconds")
  else
    rm -rf "$dir" && mkdir -p "$dir"
    options+=(-runs="$runs" -seed=1)
  fi
  if [ "$name" = webhook ]; then inputs=crates/tickfold-core/testdata/corpus; fi
  if ! TICKFOLD_FUZZ=$name "$fuzzer" "${options[@]}" "$dir" "$inputs" >"$dir.log" 2>&1; then
    tail -n 60 "$dir.log"
    echo "fuzz: $name: run it again with TICKFOLD_FUZZ=$name $fuzzer FILE (one of $found)"
    return 1
  fi
  awk -v name="$name" '/number_of_executed_units/ {runs = $2} /new_units_added/ {new = $2} / cov: / {cov = $0}
    END { sub(/.* cov: /, "", cov); sub(/ .*/, "", cov); printf "%-10s %9d runs, %5d new inputs, %6d edges\n", name, runs, new, cov }' "$dir.log"
}

if [ "$seconds" -gt 0 ]; then rounds=0; fi
export -f one
export rounds seconds fuzzer
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'set -euo pipefail; one {}'
