#!/usr/bin/env bash
# Adaptive slots against fixed ones over real sockets: a store that takes so many requests at a time, each of so long, and
# refuses more with 429. Usage: tests/bench/slots.sh [CAPACITY LATENCY RECORDS FIXED…]; without arguments both named scenarios.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ $# -eq 0 ]; then
  "$0" 4 20ms 4000 2 3 4 5 8
  exec "$0" 64 300ms 8000 48 64 80
fi
capacity=$1 latency=$2 records=$3
shift 3
cargo build --release --quiet
stoker=$PWD/target/release/stoker
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
for ((n = 0; n < records; n++)); do echo "{\"resourceType\":\"Patient\",\"id\":\"p$n\"}"; done > p.ndjson
cat > faults.yaml <<YAML
rules:
  - { when: { request: update }, fault: { capacity: { limit: $capacity } } }
  - { when: { request: update }, fault: { latency: { fixed: $latency } } }
YAML
echo "capacity $capacity, $latency, $records records"
for concurrency in "$@" "{ min: 1, max: 256 }"; do
  rm -rf store .stoker url.txt
  "$stoker" emulate --dir store --listen 127.0.0.1:0 --faults faults.yaml > url.txt 2> struck.txt &
  server=$!
  until [ -s url.txt ]; do sleep 0.1; done
  cat > m.yaml <<YAML
version: 1
name: slots
targets:
  t: { google: { project: p, location: l, dataset: d, fhir_store: f, endpoint: "$(cat url.txt)" }, auth: none,
       ensure: { version: R4, enableUpdateCreate: true }, concurrency: $concurrency, retry: { attempts: 50 } }
loads: [ { name: all, files: [p.ndjson], interaction: update, bundle: none } ]
YAML
  "$stoker" load m.yaml --progress none > out.txt
  kill -INT "$server" && wait "$server" || true
  printf '  %-20s %s\n' "$concurrency" "$(grep -E '^(Requests|Status|Duration|Speed)' out.txt | sed 's/  */ /g' | tr '\n' ' ')"
done
