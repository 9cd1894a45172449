#!/usr/bin/env bash
# Runs the test command given as arguments at full counts and writes docs/soak.md from what the tests report.
#
# Each soak test appends one line `| command | attempted | landed | lost | twice |` to the file TICKFOLD_SOAK_TABLE.
# The page is replaced only after every test passed: a committed table is always of a green run.
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: scripts/soak.sh COMMAND [ARGUMENT ...]" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TICKFOLD_SOAK=1
# Of the seeded runs of the driver; CI runs 500.
export TICKFOLD_SEEDS=5000
export TICKFOLD_SOAK_TABLE=$work/rows
: >"$TICKFOLD_SOAK_TABLE"

commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
if [ -n "$(git status --porcelain 2>/dev/null)" ]; then commit="$commit with uncommitted changes"; fi
begin=$SECONDS
"$@"
minutes=$(((SECONDS - begin + 59) / 60))

# A line in another form would break the table without a word; no line at all means that no soak test ran.
if [ ! -s "$TICKFOLD_SOAK_TABLE" ]; then
  echo "soak: the tests passed but reported no row" >&2
  exit 1
fi
if grep -vnE '^\|[^|]+\|( *[0-9]+ *\|){4}$' "$TICKFOLD_SOAK_TABLE"; then
  echo "soak: the rows above do not have the form | command | attempted | landed | lost | twice |" >&2
  exit 1
fi

{
  cat <<'HEAD'
# Soak

The crash, damage and order tests at full counts, written by `make soak`; CI runs a tenth of them. A fault counts as
landed when the run shows that it struck where it was aimed; `lost` and `twice` count acknowledged records or facts that
were missing or repeated afterwards, and must be 0. What each test proves is told in `docs/testing.md`.

HEAD
  printf 'Run of %s, commit %s, %s cores, %s minutes.\n\n' "$(date -u +%Y-%m-%d)" "$commit" "$(nproc)" "$minutes"
  echo '| command | attempted | landed | lost | twice |'
  echo '|---|---:|---:|---:|---:|'
  sort "$TICKFOLD_SOAK_TABLE"
} >"$work/soak.md"
mkdir -p docs
cp "$work/soak.md" docs/soak.md
echo "soak: wrote docs/soak.md ($(wc -l <"$TICKFOLD_SOAK_TABLE") rows)"
