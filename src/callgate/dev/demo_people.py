"""The demo's person: a script that answers by the API that the page and `callgate approvals` use, or whoever watches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio

from callgate.approvals.client import AdminSocket
from callgate.dev.agent import Allowed, Denied, StepResult
from callgate.errors import GatewayError
from callgate.wire.json_strict import JsonObject

# How long the agent's call may take to come as far as the question.
_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.05
_ID_CHARACTERS: Final = 8
_ONE_USER: Final = "a gate takes no answer from that user unless it is told to, as in the demo's callgate.yaml."


class DemoFailed(GatewayError):  # noqa: N818  # says what happened
    """A part of the demo could not be started, or the story did not go as it must."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the script says, and what the agent then gets."""

    verdict: str
    reason: str
    wanted: type[StepResult]


YES: Final = Answer("approve", "ticket 4711, the customer is right", Allowed)
NO: Final = Answer("deny", "that is more than the invoice says; ask accounting", Denied)


@dataclass(frozen=True, slots=True)
class Script:
    """Answers each request as the story has it.  `say` prints a line, `show` what a person is shown."""

    say: Callable[[str], None]
    show: Callable[[JsonObject], None]
    introduction = (
        "The person is this script, by the API that the page and callgate approvals use. It runs as the agent's own user:"
        f"\n   {_ONE_USER}"
    )

    async def __call__(self, people: AdminSocket, answer: Answer) -> None:
        """Raises DemoFailed, and what `AdminSocket` raises."""
        waits = await waiting(people)
        request = await trio.to_thread.run_sync(people.request, str(waits["id"]))
        self.say("   What a person sees (callgate approvals show):\n")
        self.show(request)
        said: JsonObject = {"binding": request["binding"], "verdict": answer.verdict, "reason": answer.reason}
        after = await trio.to_thread.run_sync(people.decide, str(request["id"]), said)
        self.say(f"\n   {after['state']} by {_last_to_answer(after)}: “{answer.reason}”\n")


@dataclass(frozen=True, slots=True)
class Audience:
    """Tells whoever watches how to answer, and leaves it to them.  `command`: how to call callgate, with its -c."""

    say: Callable[[str], None]
    command: str
    introduction = f"The person is you, and you are the agent's own user:\n   {_ONE_USER}"

    async def __call__(self, people: AdminSocket, _answer: Answer) -> None:
        """Raises DemoFailed, and what `AdminSocket` raises."""
        id_ = str((await waiting(people))["id"])[:_ID_CHARACTERS]
        found = await trio.to_thread.run_sync(people.link)
        approve, deny, link = (
            self.command.format(verb) for verb in (f"approve {id_}", f"deny {id_} --reason '…'", "link --open")
        )
        self.say(
            f"   It waits for you. In a second terminal, where this was started:\n\n     {approve}\n     {deny}\n\n"
            f"   or on the page, with a link that signs you in once, within {found['expires_in_s']} s"
            f" (a new one: {link}):\n\n     {found['url']}\n"
        )


Answering: TypeAlias = Script | Audience


async def waiting(people: AdminSocket) -> JsonObject:
    """The request that waits, without its arguments, once there is one.

    Raises DemoFailed, and what `AdminSocket` raises.
    """
    with trio.move_on_after(_PATIENCE_S):
        while True:
            listed = await trio.to_thread.run_sync(people.listed, "open")
            found = [each for each in listed if each.get("state") == "waiting"]
            if found:
                return found[0]
            await trio.sleep(_LOOK_S)
    raise DemoFailed(f"no call waited for a person within {_PATIENCE_S:g} s")


def _last_to_answer(request: JsonObject) -> str:
    votes = request.get("votes")
    last = votes[-1] if isinstance(votes, list) and votes else None
    return str(last.get("name")) if isinstance(last, dict) else "nobody"
