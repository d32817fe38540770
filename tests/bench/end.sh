#!/usr/bin/env bash
# The end of a large load, and what it leaves: N small records against a sink that answers 201 with a Location of a fresh id.
# Needs nginx and python3. Usage: tests/bench/end.sh [RECORDS] [STOKER]
# Prints the duration (planning, sending, closing), the wall time, the peak of memory, and the bytes a record of the state.
set -euo pipefail
cd "$(dirname "$0")/../.."
records=${1:-600000} stoker=$(realpath "${2:-target/release/stoker}")
work=target/bench-end && rm -rf "$work" && mkdir -p "$work" && work=$(cd "$work" && pwd)
cat > "$work/nginx.conf" <<CONF
worker_processes 1; pid $work/nginx.pid; error_log $work/error.log; events { worker_connections 1024; }
http { access_log off; client_body_temp_path $work/body; keepalive_requests 100000000;
  server { listen 127.0.0.1:8098;
    location = /fhir/metadata { default_type application/fhir+json; return 200 '{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}'; }
    location / { add_header Location "http://127.0.0.1:8098/fhir/Patient/\$request_id/_history/1" always; return 201 ""; } } }
CONF
PATH=$PATH:/usr/sbin nginx -p "$work" -c "$work/nginx.conf"
trap 'PATH=$PATH:/usr/sbin nginx -p "$work" -c "$work/nginx.conf" -s stop; rm -rf "$work"' EXIT
python3 - "$records" > "$work/all.ndjson" <<'PY'
import sys
for n in range(int(sys.argv[1])):
    print('{"resourceType":"Patient","id":"p%07d","active":true,"birthDate":"1980-01-%02d","gender":"female"}' % (n, n % 28 + 1))
PY
cat > "$work/m.yaml" <<YAML
version: 1
name: end
targets: { sink: { fhir: { url: "http://127.0.0.1:8098/fhir" }, concurrency: 32 } }
loads: [ { name: all, files: [all.ndjson], interaction: create, bundle: none } ]
YAML
cd "$work"
/usr/bin/time -f 'wall %e s, user %U s, system %S s, peak %M kB' -o time.txt "$stoker" load m.yaml --progress none > out.txt
echo "$records records: $(grep -E '^Duration|plan, send' out.txt | tr -s ' ' | tr '\n' ' ') ($(cat time.txt))"
echo "state: $(($(du -sb .stoker | cut -f1) / records)) bytes a record of $(($(stat -c %s all.ndjson) / records))"
