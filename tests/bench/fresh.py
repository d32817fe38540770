"""Writes so many records, made from those of a directory of NDJSON, each copy with fresh ids whose references hold.

Usage: fresh.py NDJSON-DIR OUT RECORDS|BYTESm
"""
import glob
import re
import sys
import uuid

data, out, wanted = sys.argv[1:]
records, size = (None, int(wanted[:-1]) * 1_000_000) if wanted.endswith("m") else (int(wanted), None)
lines = [line.rstrip("\n") for file in sorted(glob.glob(data + "/*.ndjson")) for line in open(file) if line.strip()]
ids = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
written = copy = length = 0
with open(out, "w") as file:
    while True:
        # The same id becomes the same new id all over a copy.
        fresh = {}
        def new(match):
            if match.group(0) not in fresh:
                fresh[match.group(0)] = str(uuid.uuid4())
            return fresh[match.group(0)]
        for line in lines:
            if records is not None and written == records or size is not None and length >= size:
                sys.exit()
            line = ids.sub(new, line)
            file.write(line + "\n")
            written += 1
            length += len(line.encode()) + 1
        copy += 1
