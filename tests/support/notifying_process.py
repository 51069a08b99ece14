"""A process that tells of a request, and is killed.  Arguments: the folder, the receiver's URL, its secret's file.

python -m support.notifying_process FOLDER URL SECRET_FILE
"""

import sys
from pathlib import Path

import trio

from callgate.approvals.happened import Happening
from callgate.approvals.notify.webhooks import Webhook, WebhookSettings
from support.notified import Clock, notified


async def main(folder: Path, url: str, secret_file: Path) -> None:
    clock = Clock()
    settings = WebhookSettings("ops", url, secret_file, frozenset(Happening))
    async with notified(folder, clock, lambda _: [Webhook(settings, clock.moment)]) as desk:
        for number in range(5):
            await desk.ask(f"t{number}")
        sys.stdout.write("told\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
