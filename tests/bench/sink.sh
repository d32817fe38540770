#!/usr/bin/env bash
# Stoker against a bare reqwest loop, interleaved, against a sink that answers 201 with a Location of a fresh id.
# Needs nginx, python3, and a directory of NDJSON in $1. Usage: tests/bench/sink.sh NDJSON-DIR [RUNS] [MEGABYTES] [CONCURRENCY]
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 runs=${2:-5} megabytes=${3:-200} concurrency=${4:-32}
work=target/bench && rm -rf "$work" && mkdir -p "$work" && work=$(cd "$work" && pwd)

python3 tests/bench/fresh.py "$data" "$work/all.ndjson" "${megabytes}m"
cat > "$work/nginx.conf" <<CONF
worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; events { worker_connections 1024; }
http { access_log off; client_body_temp_path $work/body; client_max_body_size 64m; client_body_buffer_size 1m;
  keepalive_requests 100000000;
  server { listen 127.0.0.1:8099;
    location = /fhir/metadata { default_type application/fhir+json; return 200 '{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}'; }
    location / { add_header Location "http://127.0.0.1:8099/fhir/Patient/\$request_id/_history/1" always; return 201 ""; } } }
CONF
nginx -p "$work" -c "$work/nginx.conf"
trap 'nginx -p "$work" -c "$work/nginx.conf" -s stop' EXIT
cat > "$work/m.yaml" <<YAML
version: 1
name: bench
targets: { sink: { fhir: { url: "http://127.0.0.1:8099/fhir" }, concurrency: $concurrency } }
loads: [ { name: all, files: [all.ndjson], interaction: create } ]
YAML
cargo build --release --quiet
bare=$(cargo bench --no-run --bench bare 2>&1 | sed -n 's/.*Executable.* (\(.*\))$/\1/p')
bare=${bare:-$(find target/release/deps -name 'bare-*' -executable | head -1)}
stoker=$PWD/target/release/stoker
for run in $(seq "$runs"); do
  echo "bare   $run: $("$bare" "$work/all.ndjson" http://127.0.0.1:8099/fhir "$concurrency")"
  (cd "$work" && rm -rf .stoker && /usr/bin/time -f 'wall %e s, user %U s, system %S s, peak %M kB' -o time.txt \
    "$stoker" load m.yaml --progress none > out.txt)
  echo "stoker $run: $(grep -E '^(Duration|Speed)' "$work/out.txt" | tr -s ' ' | tr '\n' ' ') ($(cat "$work/time.txt"))"
done
