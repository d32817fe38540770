#!/usr/bin/env bash
# Peak memory and speed of a load of 5 GB of instances, three of them of 1 GB, into the local store as a process of its own; then all
# of them are counted there, and one of the large ones is read back and compared. The instances are holes in files, and the store's
# copies are removed at the end: 5 GB of room are needed. Ends with 1 when the loader takes 200 MB or more. Needs python3, curl, GNU time.
#
#   tests/bench/instances.sh [LARGE_MB LARGE SMALL_MB SMALL]
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -eq 4 ] || set -- 1000 3 10 200
work=target/bench-instances && rm -rf "$work" && mkdir -p "$work" && work=$(cd "$work" && pwd)
# STOKER names a binary that is there already.
if [ -z "${STOKER:-}" ]; then cargo build --locked --release --quiet; STOKER=$PWD/target/release/stoker; fi
stoker=$(realpath "$STOKER")
trap 'kill "$store" 2> /dev/null || true; rm -rf "$work"' EXIT
python3 tests/bench/instances.py "$work/files" "$@"
"$stoker" emulate --dir "$work/store" --listen 127.0.0.1:0 > "$work/url" 2> "$work/log" & store=$!
until [ -s "$work/url" ]; do kill -0 "$store" || { cat "$work/log"; exit 1; }; sleep 0.1; done
url=$(cat "$work/url") dicomweb=${url%/}/v1/projects/local/locations/local/datasets/stoker/dicomStores/dicom/dicomWeb
cat > "$work/m.yaml" <<YAML
version: 1
name: instances
targets: { store: { dicomweb: { url: "$dicomweb" }, timeout: 10m } }
loads: [ { name: all, target: store, files: ["files/*.dcm"] } ]
YAML
cd "$work"
/usr/bin/time -f '%e %M' -o time.txt "$stoker" load m.yaml --progress none > out.txt 2> err.txt || { cat err.txt out.txt; exit 1; }
grep -E '^(Records|  +\[created\]|Requests|Bytes|Duration|Speed)' out.txt | tr -s ' '
read -r seconds loader < time.txt
echo "loader: $seconds s, peak $((loader / 1000)) MB; store: peak $(($(sed -n 's/VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$store/status") / 1000)) MB"
there=0
while :; do
  page=$(curl -sf "$dicomweb/instances?limit=100&offset=$there" | { grep -o '"00080018"' || true; } | wc -l)
  [ "$page" -gt 0 ] || break
  there=$((there + page))
done
curl -sf -H 'Accept: application/dicom; transfer-syntax=*' "$dicomweb/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.0" | cmp - files/large-0.dcm && echo "the first is the same, byte for byte"
echo "$there instances in the store, $(find files -name '*.dcm' | wc -l) files"
[ "$there" = "$(find files -name '*.dcm' | wc -l)" ] && [ "$loader" -lt 200000 ]
