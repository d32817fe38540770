"""What is written down of a message, by receivers and by who checks them: its sender and patient, and a digest of its segments.

Characters other than ASCII are left out, for receivers read them in ways of their own.
"""
import hashlib
import re


def plain(message):
    """The segments of a message, whatever ends them."""
    text = bytes(byte for byte in message if byte < 128).decode()
    return [part.rstrip(" \t\0") for part in re.split(r"[\r\n]+", text) if part.strip()]


def line(message):
    segments = plain(message)
    header = segments[0] if segments and segments[0].startswith("MSH") and len(segments[0]) > 3 else "MSH|^~\\&|"
    field = header[3]
    encoding = header[4 : header.find(field, 4)] if header.find(field, 4) > 0 else header[4:]
    component, repetition = (encoding + "\0\0")[:2]

    def first(segment, number):
        fields = segment.split(field)
        value = fields[number] if number < len(fields) else ""
        return value.split(repetition)[0].split(component)[0]

    # MSH-1 is the separator itself.
    sender = f"{first(header, 2)}|{first(header, 3)}"
    patient = next((first(segment, 3).strip() for segment in segments if segment.split(field)[0] == "PID"), "")
    digest = hashlib.sha256("\n".join(segments).encode()).hexdigest()
    return f"{sender}\t{patient}\t{digest}\n"
