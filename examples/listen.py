"""Prints a user's notifications as they arrive; reconnects, and goes on after the last one printed.

python examples/listen.py USER [ws://127.0.0.1:8001/ws]
"""

import asyncio
import json
import sys
from urllib.parse import quote

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException


async def listen(user: str, url: str) -> None:
    epoch, last = 1, 0
    while True:
        try:
            async with connect(f"{url}?user_id={quote(user, safe='')}&after={last}") as socket:
                while True:
                    frame = json.loads(await socket.recv())
                    if frame["type"] == "hello" and frame["epoch"] != epoch:
                        epoch, last = frame["epoch"], 0
                        break  # the inbox was made anew: its numbers are others
                    if frame["type"] == "notification" and not frame["notification"].get("retracted"):
                        print(frame["seq"], frame["notification"]["title"], frame["notification"]["body"])
                    last = frame.get("seq", last)
        except (OSError, WebSocketException) as error:
            code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else None
            if code in (4400, 4401, 4403):
                sys.exit(f"refused: {error}")
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(listen(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "ws://127.0.0.1:8001/ws"))
