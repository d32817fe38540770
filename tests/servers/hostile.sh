#!/usr/bin/env bash
# Loads four records into a server that is broken or hostile in each way it knows, those included that send gigabytes, and
# prints how each ended. Not part of CI: it takes some minutes. The server is that of case 32, where the cases are at hand.
#
#   tests/servers/hostile.sh [STOKER] [CASES] [MODE…]
#
# Right is, in every line: the outcomes add up to four, the code is none of a crash (101 and above, but 130), the peak stays
# near the budget (`memory`, 32 MB here) and what an idle Stoker takes, and no time is much beyond `give_up_after` (3 s).
set -euo pipefail
cd "$(dirname "$0")/../.."
stoker=$(realpath "${1:-target/release/stoker}") cases=$(realpath "${2:-${STOKER_TEST_CASES:-../shared/cases}}")
script=$cases/32-hostile-server/hostile.py port=${HOSTILE_PORT:-8097}
shift $(($# < 2 ? $# : 2))
if [ $# = 0 ]; then set -- $(grep -o 'mode *== *"[a-z0-9]*"' "$script" | sed 's/.*"\(.*\)"/\1/' | sort -u); fi
work=$(mktemp -d) server=
trap 'if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; fi; rm -rf "$work"' EXIT
cd "$work"
head -c 1000000000 /dev/zero | tr '\0' ' ' | gzip -9 > bomb.gz
for n in 0 1 2 3; do echo "{\"resourceType\":\"Patient\",\"id\":\"p$n\",\"active\":true}"; done > p.ndjson
cat > m.yaml <<YAML
version: 1
name: hostile
memory: 32MB
targets:
  s: { fhir: { url: "http://127.0.0.1:$port/fhir" }, timeout: 2s, give_up_after: 3s, retry: { attempts: 2, base: 20ms, max: 100ms } }
loads:
  - { name: a, target: s, files: [p.ndjson], interaction: create, bundle: { type: batch, max_entries: 4 } }
YAML
wrong=0
printf '%-16s %5s %8s %8s  %s\n' mode exit seconds peak outcomes
for mode; do
  RA=3600 python3 "$script" "$port" "$mode" > server.txt 2>&1 & server=$!
  for _ in $(seq 50); do (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break; sleep 0.1; done
  rm -rf .stoker; code=0
  /usr/bin/time -q -f '%e %M' -o time.txt timeout -k 1 60 "$stoker" load m.yaml --progress none > out.txt 2> err.txt || code=$?
  kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; server=
  outcomes=$(python3 - <<'PY'
import glob, json
reports = glob.glob(".stoker/runs/*/report.json")
outcomes = json.load(open(reports[0]))["outcomes"] if reports else {}
print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count) or "none", sum(outcomes.values()))
PY
)
  read -r seconds peak < time.txt
  verdict=
  # Where the target cannot be connected to there is no run, and the code says so.
  if [ "${outcomes##* }" != 4 ] && [ "$code" != 4 ]; then verdict="  WRONG: not one outcome each"; fi
  if [ "$code" -ge 101 ] && [ "$code" != 130 ]; then verdict="  WRONG: crashed, or did not end"; fi
  if [ "$peak" -gt 200000 ]; then verdict="$verdict  WRONG: memory"; fi
  if [ "${seconds%.*}" -ge 20 ]; then verdict="$verdict  WRONG: waits too long"; fi
  [ -z "$verdict" ] || wrong=1
  printf '%-16s %5s %8s %5s MB  %s%s\n' "$mode" "$code" "$seconds" "$((peak / 1000))" "${outcomes% *}" "$verdict"
done
exit $wrong
