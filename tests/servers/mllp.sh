#!/usr/bin/env bash
# Loads the messages of the set `hl7v2` into two real receivers of MLLP, the server of the Python package `hl7` and HAPI's, and holds
# the report against what each receiver has written down: one outcome each, none lost, none twice, those of a patient in their
# order. Not part of CI: it needs Python, Java and Maven, and gets the receivers from the network once (into target/mllp).
#
#   tests/servers/mllp.sh [STOKER] [DATA]
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=$(realpath "${1:-target/release/stoker}") data=$(realpath "${2:-${STOKER_TEST_DATA:-../shared/data}}")
here=$PWD/tests/servers/mllp tools=$PWD/target/mllp
mkdir -p "$tools"
[ -x "$tools/venv/bin/python" ] || python3 -m venv "$tools/venv"
"$tools/venv/bin/python" -c 'import hl7' 2> /dev/null || "$tools/venv/bin/pip" -q install 'hl7==0.4.5'
if [ ! -f "$tools/classes/Receiver.class" ] || [ "$here/Receiver.java" -nt "$tools/classes/Receiver.class" ]; then
  cp "$here/pom.xml" "$tools/"
  mvn -q -f "$tools/pom.xml" dependency:copy-dependencies -DoutputDirectory="$tools/lib"
  javac -cp "$tools/lib/*" -d "$tools/classes" "$here/Receiver.java"
fi
work=$(mktemp -d) server=
trap 'if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; fi; rm -rf "$work"' EXIT
cd "$work"
tar -xf "$data/hl7v2.tar.zst"
messages=$(awk -F '\t' 'NR > 1 { sum += $3 } END { print sum }' hl7v2/MANIFEST.tsv)
wrong=0
load() {
  local name=$1 port=$2
  mkdir "$name"
  cat > "$name/m.yaml" <<YAML
version: 1
name: $name
targets:
  receiver: { mllp: { address: "127.0.0.1:$port" }, timeout: 5s, retry: { attempts: 3, base: 20ms, max: 200ms } }
loads:
  - { name: set, target: receiver, files: ["../hl7v2/**/*", "!../hl7v2/*"] }
YAML
  local code=0
  "$stoker" load "$name/m.yaml" --progress none > "$name/out.txt" 2> "$name/err.txt" || code=$?
  echo "== $name: exit $code, $(grep '^Speed' "$name/out.txt" || tail -1 "$name/err.txt")"
}
wait_for() {
  for _ in $(seq 200); do grep -q listening "$1" 2> /dev/null && return; sleep 0.1; done
  cat "$1"
  return 1
}
check() {
  python3 "$here/check.py" "$(ls -d "$1"/.stoker/runs/*/ | tail -1)" . "$1/log.tsv" "$messages" || wrong=1
}

mkdir -p logs
PYTHONPATH=$here "$tools/venv/bin/python" "$here/receiver.py" 22585 logs/hl7 > logs/hl7.out 2> /dev/null & server=$!
wait_for logs/hl7.out
load hl7 22585
kill "$server"; wait "$server" 2> /dev/null || true; server=
cp logs/hl7 hl7/log.tsv
check hl7

java -cp "$tools/classes:$tools/lib/*" Receiver 22586 logs/hapi > logs/hapi.out 2> /dev/null & server=$!
wait_for logs/hapi.out
load hapi 22586
kill "$server"; wait "$server" 2> /dev/null || true; server=
PYTHONPATH=$here python3 -c 'import sys; from seen import line
for digits in open("logs/hapi"): sys.stdout.write(line(bytes.fromhex(digits)))' > hapi/log.tsv
check hapi
exit $wrong
