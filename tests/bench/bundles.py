"""Writes batch Bundles that a store takes whole: below 50 MB, and below the 4,500 entries that Google allows.

Usage: bundles.py NDJSON OUT-DIR COUNT. Entries come round and round from the file, each with a fresh id and a narrative
that makes the Bundle reach its 49 MB with some 3,700 of them.
"""
import itertools
import json
import sys
import uuid

source, out, count = sys.argv[1:]
SIZE = 49_000_000
resources = itertools.cycle([json.loads(line) for line in open(source) if line.strip()])
narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">%s</div>' % ("x" * (SIZE // 4_000))}
for number in range(int(count)):
    entries, size = [], 100
    while True:
        resource = {**next(resources), "id": str(uuid.uuid4()), "text": narrative}
        request = {"method": "PUT", "url": "%s/%s" % (resource["resourceType"], resource["id"])}
        entry = json.dumps({"resource": resource, "request": request}, separators=(",", ":"))
        size += len(entry) + 1
        if size > SIZE:
            break
        entries.append(entry)
    with open(f"{out}/whole-{number}.json", "w") as file:
        file.write('{"resourceType":"Bundle","type":"batch","entry":[%s]}' % ",".join(entries))
