#!/usr/bin/env bash
# Messages by ingest and by MLLP, and instances by STOW: Stoker against a bare loop of the same transport, interleaved, against a
# sink; and STOW against Python's dicomweb-client. Needs python3 with venv, and PyPI.
# MILLISECONDS is how long the sink thinks about each request: none, and what the CPU can do at the most is measured.
# Usage: tests/bench/kinds.sh [RUNS] [COUNT] [CONCURRENCY] [MILLISECONDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-5} count=${2:-10000} concurrency=${3:-16} delay=${4:-0}
work=target/bench-kinds && rm -rf "$work" && mkdir -p "$work" && work=$(cd "$work" && pwd)

cargo build --release --quiet
kinds=$(cargo bench --no-run --bench kinds 2>&1 | sed -n 's/.*Executable.* (\(.*\))$/\1/p')
kinds=$(realpath "$kinds")
stoker=$(realpath "${CARGO_TARGET_DIR:-target}/release/stoker")
python3 -m venv target/clients
target/clients/bin/pip install --quiet dicomweb-client pydicom
python=$PWD/target/clients/bin/python root=$PWD

"$kinds" make "$work" "$count"
"$kinds" sink 127.0.0.1:8097 127.0.0.1:8098 "$delay" >"$work/sink.txt" &
sink=$!
trap 'kill "$sink"' EXIT
until grep -q ready "$work/sink.txt"; do sleep 0.1; done
cd "$work"
for what in ingest mllp stow; do
  case $what in
    ingest) target='{ google: { project: p, location: l, dataset: d, hl7v2_store: s, endpoint: "http://127.0.0.1:8097" }, auth: none' files=feed.hl7 address=http://127.0.0.1:8097/v1/projects/p/locations/l/datasets/d/hl7V2Stores/s ;;
    mllp) target='{ mllp: { address: "127.0.0.1:8098" }' files=feed.hl7 address=127.0.0.1:8098 ;;
    stow) target='{ dicomweb: { url: "http://127.0.0.1:8097/dicom" }' files='images/*.dcm' address=http://127.0.0.1:8097/dicom ;;
  esac
  cat > "$what.yaml" <<YAML
version: 1
name: $what
targets: { sink: $target, concurrency: $concurrency } }
loads: [ { name: all, target: sink, files: ["$files"] } ]
YAML
  for run in $(seq "$runs"); do
    echo "$what bare   $run: $("$kinds" bare "$what" . "$address" "$concurrency")"
    rm -rf .stoker
    /usr/bin/time -f 'wall %e s, user %U s, system %S s, peak %M kB' -o time.txt "$stoker" load "$what.yaml" --progress none > out.txt
    echo "$what stoker $run: $(grep -E 'created|plan, send, close|^Speed' out.txt | tr -s ' ' | tr '\n' ' ') ($(cat time.txt))"
    if [ "$what" = stow ]; then
      echo "stow dicomweb-client $run: $("$python" "$root/tests/bench/stow.py" http://127.0.0.1:8097/dicom images 1000 1)"
      echo "stow dicomweb-client $run: $("$python" "$root/tests/bench/stow.py" http://127.0.0.1:8097/dicom images "$count" 50)"
    fi
  done
done
