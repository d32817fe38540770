"""Writes instances of DICOM into a folder, large ones and small ones, their pixels as holes in the files: they take no room.

    python3 instances.py FOLDER LARGE_MB LARGE SMALL_MB SMALL
"""
import pathlib
import struct
import sys

folder = pathlib.Path(sys.argv[1])
large_mb, large, small_mb, small = map(int, sys.argv[2:6])
CLASS, EXPLICIT = b"1.2.840.10008.5.1.4.1.1.7.2", b"1.2.840.10008.1.2.1"


def element(group, number, vr, value):
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    head = struct.pack("<HH", group, number) + vr
    return head + (struct.pack("<HI", 0, len(value)) if vr == b"OB" else struct.pack("<H", len(value))) + value


def uint(group, number, value):
    return element(group, number, b"US", struct.pack("<H", value))


def write(path, study, number, frames):
    """Frames of a million bytes."""
    study = b"1.2.%d" % study
    series, instance = study + b".1", study + b".1.%d" % number
    meta = element(2, 1, b"OB", b"\0\1") + element(2, 2, b"UI", CLASS) + element(2, 3, b"UI", instance)
    meta += element(2, 0x10, b"UI", EXPLICIT) + element(2, 0x12, b"UI", b"2.25.20240314")
    head = bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    head += element(8, 0x16, b"UI", CLASS) + element(8, 0x18, b"UI", instance) + element(8, 0x60, b"CS", b"XA")
    head += element(0x20, 0x0D, b"UI", study) + element(0x20, 0x0E, b"UI", series)
    head += uint(0x28, 2, 1) + element(0x28, 4, b"CS", b"MONOCHROME2") + element(0x28, 8, b"IS", b"%d" % frames)
    head += uint(0x28, 0x10, 1000) + uint(0x28, 0x11, 1000)
    head += uint(0x28, 0x100, 8) + uint(0x28, 0x101, 8) + uint(0x28, 0x102, 7) + uint(0x28, 0x103, 0)
    head += struct.pack("<HH", 0x7FE0, 0x10) + b"OB" + struct.pack("<HI", 0, frames * 1_000_000)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + frames * 1_000_000)


folder.mkdir(parents=True, exist_ok=True)
for number in range(large):
    write(folder / f"large-{number}.dcm", 1, number, large_mb)
for number in range(small):
    write(folder / f"small-{number:04}.dcm", 2 + number // 50, number % 50, small_mb)
print(f"{large} of {large_mb} MB, {small} of {small_mb} MB:", sum(f.stat().st_size for f in folder.iterdir()), "bytes")
