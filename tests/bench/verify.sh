#!/usr/bin/env bash
# How long `verify --all` takes beside the load of the same records: N small FHIR resources with one reference each, loaded
# into a local store that is a process of its own, then read back and compared.
# Usage: tests/bench/verify.sh [RECORDS] [STOKER]
# Prints both times, their ratio, and the peak of memory of each.
set -euo pipefail
cd "$(dirname "$0")/../.."
records=${1:-500000} stoker=$(realpath "${2:-target/release/stoker}")
work=target/bench-verify && rm -rf "$work" && mkdir -p "$work" && work=$(cd "$work" && pwd)
python3 - "$records" > "$work/all.ndjson" <<'PY'
import sys
records = int(sys.argv[1])
patients = records // 10
for n in range(patients):
    print('{"resourceType":"Patient","id":"p%07d","active":true,"birthDate":"1980-01-%02d","gender":"female"}' % (n, n % 28 + 1))
for n in range(records - patients):
    print('{"resourceType":"Observation","id":"o%07d","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},'
          '"subject":{"reference":"Patient/p%07d"},"effectiveDateTime":"2026-01-%02d","valueQuantity":{"value":%d.50,"unit":"kg"}}'
          % (n, n % patients, n % 28 + 1, n % 90))
PY
"$stoker" emulate --dir "$work/store" --listen 127.0.0.1:0 > "$work/url" 2> "$work/emulate.err" &
server=$!
trap 'kill $server; wait $server 2>/dev/null || true; rm -rf "$work"' EXIT
until [ -s "$work/url" ]; do sleep 0.1; done
url=$(tr -d '\n' < "$work/url") && url=${url%/}
cat > "$work/m.yaml" <<YAML
version: 1
name: verify
targets:
  store:
    google: { project: local, location: local, dataset: stoker, fhir_store: fhir, endpoint: "$url" }
    ensure: { version: R4, enableUpdateCreate: true }
    auth: none
loads: [ { name: all, target: store, files: [all.ndjson], interaction: update } ]
YAML
cd "$work"
timed() { /usr/bin/time -f '%e %U %S %M' -o "$1.time" "$stoker" "${@:2}" > "$1.out" 2> "$1.err"; }
timed load load m.yaml --progress none
run=$(ls -d .stoker/runs/*)
timed verify verify "$run" --all
for what in load verify; do
  read -r wall user system peak < "$what.time"
  echo "$what: $records records, wall $wall s, user $user s, system $system s, peak $peak kB"
done
head -1 verify.out
python3 - "$(cut -d' ' -f1 load.time)" "$(cut -d' ' -f1 verify.time)" <<'PY'
import sys
load, verify = map(float, sys.argv[1:])
print(f"ratio: verify takes {verify / load:.2f} of the time of the load")
PY
