#!/usr/bin/env bash
# Runs one command beside another, with what the other leaves of the processors, and succeeds if both do:
#
#   scripts/beside.sh COMMAND... -- OTHER...
#
# OTHER's lines are seen as they come, those of COMMAND at the end. Where OTHER fails, COMMAND is stopped. COMMAND should
# neither use the disk much, whose syncs OTHER may wait for, nor look at the clock.
set -uo pipefail

beside=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do beside+=("$1"); shift; done
if [ "${#beside[@]}" -eq 0 ] || [ $# -lt 2 ]; then
  echo 'usage: scripts/beside.sh COMMAND... -- OTHER...' >&2
  exit 2
fi
shift

said=$(mktemp)
# A process group of its own, so that all of it can be stopped.
set -m
nice -n 19 "${beside[@]}" </dev/null >"$said" 2>&1 &
pid=$!
set +m
trap 'kill -- "-$pid" 2>/dev/null; rm -f "$said"' EXIT
trap 'exit 130' INT TERM

"$@" || exit
status=0
wait "$pid" || status=$?
printf '\nbeside it: %s\n' "${beside[*]}"
cat "$said"
exit "$status"
