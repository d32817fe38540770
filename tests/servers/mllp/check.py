"""Holds what a run says against what a receiver has written down. Shares no code with Stoker.

    python check.py RUN ROOT LOG MESSAGES
"""
import collections
import json
import pathlib
import sys

from seen import line

run, root, log, planned = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
seen = [tuple(entry.rstrip("\n").split("\t")) for entry in open(log, encoding="latin-1")]
records = [json.loads(record) for record in open(run / "records.ndjson")]
outcomes, expected, wrong = collections.Counter(), [], []
files = {}
for record in records:
    outcomes[record["outcome"]] += 1
    place = record["position"]
    name = place["file"]
    if name not in files:
        files[name] = (root / name).read_bytes()
    message = files[name][place["start"] : place["start"] + place["length"]]
    if record["outcome"] in ("created", "rejected", "unknown"):
        expected.append((record["outcome"], *line(message).rstrip("\n").split("\t")))
print("outcomes:", dict(outcomes))
messages = sum(outcomes[outcome] for outcome in ("created", "rejected", "unknown", "duplicate"))
if messages + outcomes["unsupported"] < planned or messages > planned:
    wrong.append(f"{messages} messages have an outcome, and the set has {planned}")
if outcomes["pending"] or outcomes["blocked"]:
    wrong.append("some were not tried")
# Every one that counts as taken came, and once.
came = collections.Counter(digest for _, _, digest in seen)
sent = collections.Counter(digest for _, _, _, digest in expected)
taken = collections.Counter(digest for outcome, _, _, digest in expected if outcome == "created")
lost = [digest for digest, count in taken.items() if came[digest] < count]
twice = [digest for digest, count in came.items() if count > sent[digest]]
if lost:
    wrong.append(f"{len(lost)} are said to be taken and did not come")
if twice:
    wrong.append(f"{len(twice)} came more often than they were to be sent")
# The messages of one sender about one patient came in their order.
order, patients = collections.defaultdict(list), collections.defaultdict(list)
for _, sender, patient, digest in expected:
    order[sender, patient].append(digest)
for sender, patient, digest in seen:
    if patient:
        patients[sender, patient].append(digest)
for key, digests in patients.items():
    rest = iter(order[key])
    if not all(digest in rest for digest in digests):
        wrong.append(f"the {len(digests)} messages of a patient came in another order")
print(f"{len(seen)} messages came, of {len(patients)} patients, {sum(len(p) > 1 for p in patients.values())} with several")
for what in wrong:
    print("WRONG:", what)
sys.exit(bool(wrong))
