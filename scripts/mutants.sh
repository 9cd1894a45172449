#!/usr/bin/env bash
# Mutants: one operator, return value or match arm changed at a time, and whether a test notices.
#
#   scripts/mutants.sh                        every mutant of every area (hours on two cores)
#   scripts/mutants.sh AREA [--shard K/N …]   one area of scripts/mutants, and whatever else cargo-mutants takes
#
# What came of each stands in target/mutants/AREA/mutants.out. A mutant that survives ends this with an error, once
# all have run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh

version=27.1.0
tool=$tickfold_cache/cargo-mutants-$version-$(uname -m)
if [ ! -x "$tool/bin/cargo-mutants" ]; then
  echo "mutants: building cargo-mutants $version once for this machine: about 6 minutes on two cores"
  scripts/cargo-tool.sh cargo-mutants "$version" "$tool"
fi

areas=(signature token driver fold)
if [ $# -gt 0 ]; then areas=("$1"); shift; fi

# What the compiler keeps of one mutant serves the next.
export CARGO_INCREMENTAL=1
# The same histories for every mutant, and no search for a smaller one: that one failed is all that counts.
export PROPTEST_RNG_SEED=1 PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=true

failed=no
for area in "${areas[@]}"; do
  mkdir -p "target/mutants/$area"
  "$tool/bin/cargo-mutants" mutants --config "scripts/mutants/$area.toml" --output "target/mutants/$area" \
    --timeout 300 --colors never "$@" || failed=yes
done
[ "$failed" = no ]
