"""An MLLP receiver with the package `hl7`: takes every message it can read, and writes each down (`seen.py`) as it comes.

    python receiver.py PORT LOG
"""
import asyncio
import sys

import hl7
from hl7.mllp import start_hl7_server

from seen import line

LARGEST = 64 << 20


async def main():
    log = open(sys.argv[2], "w", buffering=1)

    async def handle(reader, writer):
        try:
            while not writer.is_closing():
                block = await reader.readblock()
                # Written down before it is read: the package cannot read all that comes.
                log.write(line(block))
                writer.writemessage(hl7.parse(block.decode("latin-1")).create_ack("AA"))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await start_hl7_server(handle, host="127.0.0.1", port=int(sys.argv[1]), encoding="latin-1", limit=LARGEST)
    print("listening", flush=True)
    await server.serve_forever()


asyncio.run(main())
