#!/usr/bin/env bash
# Plans a million records, made from real ones with fresh ids, and says how long it took and how much memory.
# Needs python3, and a directory of NDJSON in $1. Usage: tests/bench/plan.sh NDJSON-DIR [RECORDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 records=${2:-1000000}
work=target/bench-plan && mkdir -p "$work" && work=$(cd "$work" && pwd)
cargo build --release --quiet
stoker=$PWD/target/release/stoker
if [ ! -e "$work/all.ndjson" ]; then
  python3 tests/bench/fresh.py "$data" "$work/all.ndjson" "$records"
fi
bytes=$(stat -c %s "$work/all.ndjson")
: > "$work/empty.ndjson"
plan() { # name, file, interaction and more of the load, store settings
  cat > "$work/$1.yaml" <<YAML
version: 1
name: $1
targets: { t: { google: { project: p, location: l, dataset: d, fhir_store: s }, ensure: { $4 } } }
loads: [ { name: all, files: [$2], interaction: $3 } ]
YAML
  (cd "$work" && /usr/bin/time -f "$1: %e s, peak %M kB" "$stoker" plan --offline "$1.yaml" --out "$1.plan" > "$1.txt")
}
echo "$bytes bytes, $(wc -l < "$work/all.ndjson") records"
plan nothing empty.ndjson create "version: R4"
for run in 1 2 3; do
  plan "graph-$run" all.ndjson create "version: R4"
  plan "identities-$run" all.ndjson update "version: R4, enableUpdateCreate: true, disableReferentialIntegrity: true"
  plan "no-graph-$run" all.ndjson "update, duplicates: ignore" "version: R4, enableUpdateCreate: true, disableReferentialIntegrity: true"
done
grep -E "to records of this plan|longest chain|^plan:" "$work/graph-1.txt"
