#!/usr/bin/env bash
# The demonstration behind `make run`: builds, starts one node, posts three statuses of one message out of order through
# the real port, prints the folded message, keeps serving until it is stopped.
#
# For tests and CI: TICKFOLD_RUN_ONCE=1 stops after the demonstration; TICKFOLD_HTTP_ADDR, TICKFOLD_GRPC_ADDR,
# TICKFOLD_ADMIN_ADDR and TICKFOLD_DATA_DIR replace the defaults; TICKFOLD_BIN names a binary and skips the build.
set -euo pipefail

# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

http_addr=${TICKFOLD_HTTP_ADDR:-127.0.0.1:8080}
grpc_addr=${TICKFOLD_GRPC_ADDR:-127.0.0.1:50051}
admin_addr=${TICKFOLD_ADMIN_ADDR:-127.0.0.1:9464}
data_dir=${TICKFOLD_DATA_DIR:-$tickfold_root/data}
run_once=${TICKFOLD_RUN_ONCE:-0}
bin=${TICKFOLD_BIN:-}
# From here on they are flags; the binary reads TICKFOLD_* as configuration and knows nothing of this script's own.
unset TICKFOLD_HTTP_ADDR TICKFOLD_GRPC_ADDR TICKFOLD_ADMIN_ADDR TICKFOLD_DATA_DIR TICKFOLD_RUN_ONCE TICKFOLD_BIN
unset TICKFOLD_CACHE_DIR TICKFOLD_APP_SECRET_FILE TICKFOLD_VERIFY_TOKEN_FILE

# Public knowledge, and good for nothing but this demonstration: whoever knows the secret can forge webhooks.
export TICKFOLD_APP_SECRET=demo-secret-do-not-use
export TICKFOLD_VERIFY_TOKEN=demo-token

if [ -z "$bin" ]; then
  # The dev profile: dependencies are optimised in it, RocksDB is always the optimised library, and the first build is
  # minutes shorter than a release build. Measure with `cargo build --release`.
  echo "building tickfold (dev profile) ..."
  (cd "$tickfold_root" && cargo build --locked -p tickfold)
  # Asked of cargo, as a target directory can be set by variable or by configuration.
  target=$(cd "$tickfold_root" && cargo metadata --offline --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  bin=$target/debug/tickfold
fi

# In a session of its own: a Ctrl-C reaches this script, which passes on one orderly signal, not two.
setsid "$bin" up --data-dir "$data_dir" --http-addr "$http_addr" --grpc-addr "$grpc_addr" --admin-addr "$admin_addr" &
server=$!

# Ends the server in order and leaves with its status, or with $1 where the demonstration itself failed.
stop() {
  trap '' INT TERM
  trap - EXIT
  kill -TERM "$server" 2>/dev/null || true
  local status=0
  wait "$server" || status=$?
  if [ "${1:-0}" -ne 0 ]; then status=$1; fi
  exit "$status"
}
trap 'stop 0' INT TERM
trap 'stop 1' EXIT
fail() { echo "run: $*" >&2; exit 1; }

for ((i = 0; ; i++)); do
  if curl -fsS -o /dev/null --max-time 2 "http://$admin_addr/readyz" 2>/dev/null; then break; fi
  kill -0 "$server" 2>/dev/null || fail "tickfold ended before it was ready; its own lines above say why"
  [ "$i" -lt 300 ] || fail "tickfold was not ready within 60 s: http://$admin_addr/readyz"
  sleep 0.2
done
# Where another node holds the ports, it is that one which answered; ours has ended by now or is about to.
sleep 0.2
kill -0 "$server" 2>/dev/null || fail "another process answers on $admin_addr; tickfold's own lines above say why it ended"

# A wamid of its own for each run, since ./data stays between runs.
now=$(date +%s)
wamid=wamid.$(printf 'demo-%s-%s' "$now" "$$" | base64 -w 0)
waba=102290129340398
number=106540352242922

post() { # STATUS EVENT_TIME
  local body signature code
  body=$(printf '{"object":"whatsapp_business_account","entry":[{"id":"%s","changes":[{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"%s"},"statuses":[{"id":"%s","status":"%s","timestamp":"%s","recipient_id":"16505551234"}]}}]}]}' \
    "$waba" "$number" "$wamid" "$1" "$2")
  signature=$(printf '%s' "$body" | "$bin" sign --header)
  code=$(printf '%s' "$body" | curl -sS -o /dev/null -w '%{http_code}' --max-time 10 \
    -H 'content-type: application/json' -H "x-hub-signature-256: $signature" \
    --data-binary @- "http://$http_addr/webhook/main")
  printf 'POST %-9s with event time %s  ->  %s\n' "$1" "$(date -u -d "@$2" +%H:%M:%SZ)" "$code"
  [ "$code" = 200 ] || fail "the webhook was not taken"
}

echo
echo "three statuses of one message, signed with the demo secret, in the wrong order:"
post read $((now - 1))
post sent $((now - 3))
post delivered $((now - 2))

# The 200s say that the log holds the statuses; the fold follows within milliseconds.
for ((i = 0; ; i++)); do
  seen=$("$bin" get message "$wamid" --grpc-addr "$grpc_addr" -o json 2>/dev/null || true)
  case $seen in *sent_time*delivered_time*read_time*) break ;; esac
  [ "$i" -lt 100 ] || fail "the three statuses are not visible after 20 s; last answer: ${seen:-none}"
  sleep 0.2
done
echo
echo "\$ tickfold get message $wamid"
"$bin" get message "$wamid" --grpc-addr "$grpc_addr"

if [ "$run_once" = 1 ]; then stop 0; fi
echo
echo "serving: webhooks http://$http_addr/webhook/main, gRPC $grpc_addr, admin http://$admin_addr, data $data_dir"
echo "stop with Ctrl-C; the data stays for the next run"
status=0
wait "$server" || status=$?
trap - EXIT
exit "$status"
