#!/usr/bin/env bash
# What the journal costs: the same load against a sink that answers 201 with fresh ids, with each way of syncing it, interleaved.
# `memory` keeps the run directory in memory and syncs nothing, which is as near to no journal as a run can come.
# Needs nginx, python3, and a directory of NDJSON in $1. Usage: tests/bench/journal.sh NDJSON-DIR [RUNS] [MEGABYTES] [CONCURRENCY]
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 runs=${2:-5} megabytes=${3:-100} concurrency=${4:-32}
work=target/bench-journal && rm -rf "$work" && mkdir -p "$work" && work=$(cd "$work" && pwd)
memory=$(mktemp -d /dev/shm/stoker.XXXX)
python3 tests/bench/fresh.py "$data" "$work/all.ndjson" "${megabytes}m"
cat > "$work/nginx.conf" <<CONF
worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; events { worker_connections 1024; }
http { access_log off; client_body_temp_path $work/body; client_max_body_size 64m; client_body_buffer_size 1m;
  keepalive_requests 100000000;
  server { listen 127.0.0.1:8098;
    location = /fhir/metadata { default_type application/fhir+json; return 200 '{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}'; }
    location / { add_header Location "http://127.0.0.1:8098/fhir/Patient/\$request_id/_history/1" always; return 201 ""; } } }
CONF
nginx -p "$work" -c "$work/nginx.conf"
trap 'nginx -p "$work" -c "$work/nginx.conf" -s stop; rm -rf "$memory"' EXIT
for sync in memory none group always; do
  state=.stoker how=$sync
  [ $sync = memory ] && state=$memory how=none
  cat > "$work/$sync.yaml" <<YAML
version: 1
name: bench
state: $state
journal: { sync: $how }
targets: { sink: { fhir: { url: "http://127.0.0.1:8098/fhir" }, concurrency: $concurrency } }
loads: [ { name: all, files: [all.ndjson], interaction: create } ]
YAML
done
cargo build --release --quiet
stoker=$PWD/target/release/stoker
for run in $(seq "$runs"); do
  for sync in memory none group always; do
    (cd "$work" && rm -rf .stoker "${memory:?}"/* && "$stoker" load $sync.yaml --fresh --progress none > out.txt)
    echo "$sync $run: $(grep -E '^(Duration|Speed)' "$work/out.txt" | tr -s ' ' | tr '\n' ' ')"
  done
done
