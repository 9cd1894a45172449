#!/usr/bin/env bash
# Runs a test command at full counts and writes what the tests report into a part of docs/soak.md.
#
#   scripts/soak.sh PART COMMAND [ARGUMENT ...]
#
# Each soak test appends one line `| command | attempted | landed | lost | twice |` to the file TICKFOLD_SOAK_TABLE.
# The part of the page is replaced only after every test passed: a committed table is always of a green run. The other
# parts stay as they are, each with the commit that it is of.
set -euo pipefail

[ $# -gt 1 ] || { echo "usage: scripts/soak.sh PART COMMAND [ARGUMENT ...]" >&2; exit 2; }
part=$1
shift
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
# The page itself may have parts that are not committed yet.
if [ -n "$(git status --porcelain -- . ':!docs/soak.md' 2>/dev/null)" ]; then commit="$commit with uncommitted changes"; fi
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
  printf '## %s\n\n' "$part"
  printf 'Run of %s, commit %s, %s cores, %s minutes.\n\n' "$(date -u +%Y-%m-%d)" "$commit" "$(nproc)" "$minutes"
  echo '| command | attempted | landed | lost | twice |'
  echo '|---|---:|---:|---:|---:|'
  sort "$TICKFOLD_SOAK_TABLE"
} >"$work/part"

# Everything of the page but this part, which goes to its place or to the end.
page=docs/soak.md
awk -v heading="## $part" -v new="$work/part" '
  function put() { if (!done) { while ((getline line < new) > 0) print line; done = 1 } }
  $0 == heading { put(); skip = 1; next }
  /^## / { if (skip) print ""; skip = 0 }
  !skip { print }
  END { if (!done) { print ""; put() } }' "$page" >"$work/soak.md"
cp "$work/soak.md" "$page"
echo "soak: wrote the part '$part' of $page ($(wc -l <"$TICKFOLD_SOAK_TABLE") rows)"
