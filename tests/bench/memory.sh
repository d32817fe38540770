#!/usr/bin/env bash
# Peak memory of a load in the cases that could fill it: 1 GB of NDJSON, Bundles of 49 MB each
# (cut into batches, split, and sent whole), and 30 % of the answers
# 429 with Retry-After: 5. Needs nginx, python3, GNU time, and a directory of NDJSON in $1. Usage: tests/bench/memory.sh NDJSON-DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
work=target/bench-memory && mkdir -p "$work" && work=$(cd "$work" && pwd)
# STOKER names a binary that is there already.
if [ -z "${STOKER:-}" ]; then cargo build --release --quiet; STOKER=$PWD/target/release/stoker; fi
stoker=$STOKER
[ -e "$work/giga.ndjson" ] || python3 tests/bench/fresh.py "$data" "$work/giga.ndjson" 1000m
[ -e "$work/collection-3.json" ] || python3 - "$work" <<'PY'
import json, sys
work = sys.argv[1]
lines = open(work + "/giga.ndjson")
for kind in ["batch", "collection"]:
    for number in range(4):
        size, first = 0, True
        with open(f"{work}/{kind}-{number}.json", "w") as out:
            out.write('{"resourceType":"Bundle","type":"%s","entry":[\n' % kind)
            while size < 49_000_000:
                line = next(lines).rstrip("\n")
                resource = json.loads(line)
                request = ',"request":{"method":"PUT","url":"%s/%s"}' % (resource["resourceType"], resource["id"])
                entry = '{"resource":%s%s}' % (line, request if kind == "batch" else "")
                out.write(("" if first else ",\n") + entry)
                size, first = size + len(entry) + 2, False
            out.write("\n]}\n")
PY
[ -e "$work/whole-7.json" ] || python3 tests/bench/bundles.py "$data/Observation.ndjson" "$work" 8
cat > "$work/nginx.conf" <<CONF
worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; events { worker_connections 2048; }
http { access_log off; client_body_temp_path $work/body; client_max_body_size 64m; client_body_buffer_size 1m; keepalive_requests 100000000;
  split_clients "\$request_id" \$refused { 30% 1; * 0; }
  server { listen 127.0.0.1:8099;
    location = /fhir/metadata { default_type application/fhir+json; return 200 '{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}'; }
    location = /braked/metadata { default_type application/fhir+json; return 200 '{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}'; }
    location /braked/ { add_header Retry-After 5 always; if (\$refused) { return 429 ""; }
      add_header Location "http://127.0.0.1:8099/fhir/Patient/\$request_id/_history/1" always; return 201 ""; }
    location / { add_header Location "http://127.0.0.1:8099/fhir/Patient/\$request_id/_history/1" always; return 201 ""; } } }
CONF
nginx -p "$work" -c "$work/nginx.conf"
"$stoker" emulate --dir "$work/store" --listen 127.0.0.1:8098 > "$work/emulate.txt" 2>&1 &
emulator=$!
trap 'nginx -p "$work" -c "$work/nginx.conf" -s stop; kill $emulator; rm -rf "$work/store"' EXIT
sleep 1
head -c 200000000 "$work/giga.ndjson" | sed '$d' > "$work/part.ndjson"
load() { # name, target, load
  printf 'version: 1\nname: %s\ntargets: { t: %s }\nloads: [ { name: all, %s } ]\n' "$1" "$2" "$3" > "$work/$1.yaml"
  (cd "$work" && rm -rf .stoker && /usr/bin/time -f '%e s, peak %M kB' -o time.txt "$stoker" load "$1.yaml" --progress none > "$1.txt" || true)
  echo "$1: $(grep -E '^(Speed|Requests|Records)' "$work/$1.txt" | tr -s ' ' | tr '\n' ' ') $(cat "$work/time.txt" | tr '\n' ' ')"
}
sink='{ fhir: { url: "http://127.0.0.1:8099/fhir" }, concurrency: 32 }'
braked='{ fhir: { url: "http://127.0.0.1:8099/braked" }, concurrency: 32, retry: { attempts: 50 } }'
store='{ google: { endpoint: "http://127.0.0.1:8098", project: p, location: l, dataset: d, fhir_store: s }, auth: none, concurrency: 32, timeout: 10m, ensure: { version: R4, enableUpdateCreate: true, disableReferentialIntegrity: true } }'
load ndjson "$sink" 'files: [giga.ndjson], interaction: create'
load collections "$sink" 'files: ["collection-*.json"], interaction: create'
load batches "$store" 'files: ["batch-*.json"]'
load whole "$store" 'files: ["whole-*.json"]'
load braked "$braked" 'files: [part.ndjson], interaction: create'
