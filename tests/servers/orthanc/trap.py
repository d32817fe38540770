"""Writes an instance whose pixels hold `--B`, what a boundary begins with, line breaks and all.

    python3 trap.py SAMPLE OUT

SAMPLE is an instance whose pixels are large enough.
"""
import sys

data = bytearray(open(sys.argv[1], "rb").read())
# Behind it nothing that could be the head of a part, so that a reader that looks for it anywhere ends there.
trap = b"\r\n--B--\r\n--stoker-\r\n--stoker-00000000000000000000000000000000--\r\n"
data[-len(trap) - 2 : -2] = trap
open(sys.argv[2], "wb").write(data)
