"""Holds what a run says against what a DICOMweb server gives back, byte for byte, and against a set's own list of its files. Shares
no code with Stoker.

    python3 check.py RUN SET URL REJECTED

RUN is the run's directory, SET the unpacked set with its MANIFEST.tsv, URL the DICOMweb service, REJECTED how many the server refuses.
"""
import collections
import csv
import hashlib
import json
import pathlib
import sys
import urllib.request

run, folder, url, rejected = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3].rstrip("/"), int(sys.argv[4])
listed = {row["path"]: row for row in csv.DictReader(open(folder / "MANIFEST.tsv"), delimiter="\t", quoting=csv.QUOTE_NONE)}
wrong = []


def get(path, accept):
    with urllib.request.urlopen(urllib.request.Request(url + path, headers={"Accept": accept})) as answer:
        return answer.headers.get("Content-Type", ""), answer.read()


def value(instance, tag):
    return instance[tag]["Value"][0]


def held():
    """Every instance of the server, by its path."""
    found = []
    while True:
        kind, body = get(f"/instances?limit=50&offset={len(found)}", "application/dicom+json")
        page = json.loads(body) if body else []
        found += [f"studies/{value(i, '0020000D')}/series/{value(i, '0020000E')}/instances/{value(i, '00080018')}" for i in page]
        if not page:
            return found


def bytes_of(path):
    """The bytes of an instance as they were sent: the only part of the answer."""
    kind, body = get("/" + path, 'multipart/related; type="application/dicom"; transfer-syntax=*')
    boundary = kind.split("boundary=", 1)[1].split(";")[0].strip('"').encode()
    assert body.count(b"--" + boundary) >= 2, "no multipart"
    part = body.split(b"\r\n\r\n", 1)[1]
    return part[: part.rindex(b"\r\n--" + boundary)]


def reasons(path, row):
    """Why a file is not to be sent, as the list of the set has it; none where it is an instance."""
    uids = [row["sop"], row["study"], row["series"], row["sopi"]]
    if row["sop"] == "1.2.840.10008.1.3.10" or path.rsplit("/", 1)[1].startswith("DICOMDIR"):
        return {"dicomdir"}
    if row["strict"] == "InvalidDicomError":
        # Some of them are readable all the same, without a preamble.
        return {"no-meta-header", "no-dicom", "no-uid"}
    if not row["ts"]:
        return {"no-transfer-syntax"}
    return set() if all(uids) else {"no-uid"}


planned, seen, outcomes = {}, set(), collections.Counter()
for record in map(json.loads, open(run / "records.ndjson")):
    outcome, code = record["outcome"], record.get("code")
    outcomes[outcome] += 1
    path = record["position"]["file"].split(folder.name + "/", 1)[1]
    seen.add(path)
    row = listed.get(path)
    if row is None:
        # One of them is a compressed copy of another.
        if (outcome, code) != ("unsupported", "no-dicom") and not (outcome == "duplicate" and path.endswith(".gz")):
            wrong.append(f"{path} is not of the list, and is {outcome} ({code})")
        continue
    expected = reasons(path, row)
    if expected:
        if outcome != "unsupported" or code not in expected:
            wrong.append(f"{path} is {outcome} ({code}), and the list says {expected}")
        continue
    name = (row["study"], row["series"], row["sopi"])
    first = planned.setdefault(row["sopi"], (name, row["sha256"], record))
    if first[2] is record:
        if outcome not in ("created", "unchanged", "matched", "rejected"):
            wrong.append(f"{path} is {outcome} ({code})")
    elif first[1] == row["sha256"]:
        if outcome != "duplicate":
            wrong.append(f"{path} has the bytes of another, and is {outcome} ({code})")
    elif (outcome, code) != ("unsupported", "same-name-other-bytes"):
        wrong.append(f"{path} has the name of another, and is {outcome} ({code})")
missing = set(listed) - seen
if missing:
    wrong.append(f"{len(missing)} files have no outcome")
if outcomes["rejected"] != rejected:
    wrong.append(f"{outcomes['rejected']} are rejected, and {rejected} were to be")
expected = {}
for name, digest, record in planned.values():
    if record["outcome"] != "rejected":
        expected["studies/{}/series/{}/instances/{}".format(*name)] = digest
there = held()
if len(there) != len(set(there)):
    wrong.append("the server names some twice")
for path in set(there) ^ set(expected):
    wrong.append(f"{path} is {'held, and was not to be' if path in there else 'not there'}")
same = 0
for path in set(there) & set(expected):
    if hashlib.sha256(bytes_of(path)).hexdigest() == expected[path]:
        same += 1
    else:
        wrong.append(f"{path} has other bytes")
print(f"   {dict(outcomes)}; {len(there)} instances there, {same} of them byte for byte")
for what in wrong[:20]:
    print("   WRONG:", what)
sys.exit(bool(wrong))
