"""Sends the messages of webhooks; in the keeper, on an event loop of its own. Knows no jobs but
what messages tell of them.

Each message is posted at least once: who dies over one, or forgets to tell, leaves it to whoever
looks next. Receivers cannot hold up anything but messages: there are bounds on how many are sent at
once, in all, for one owner, and to one host (`webhook.MOST_TO_HOST`).
"""

import asyncio
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from darkroom import logs
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import OutboundError
from darkroom.predictions import paths_of
from darkroom.queue.connection import connect_async
from darkroom.queue.exchange import AsyncClient, send
from darkroom.queue.lua import Rules, scripts
from darkroom.queue.outbox import BELL, Outcome, report, take_messages
from darkroom.queue.url_secrets import signed_paths
from darkroom.settings import Settings
from darkroom.signing import USUAL_LIFE_S
from darkroom.webhook_messages import Message, headers, next_try_s

log = logs.get("webhooks")

MOST_AT_ONCE = 64
MOST_OF_OWNER = 32
MOST_TAKEN = 8
"""Messages that are sent at once, in all, and of one owner, who may go beyond it by what is taken
from the outbox in one turn."""
ATTEMPT_S = 15.0
"""Seconds that a receiver has, from the look-up of its name to the head of its answer."""
LOOK_EVERY_S = 1.0
"""A bell can get lost, and nothing rings when it is time to try again."""
LAST_S = 5.0
"""How long messages under way are waited for at the end."""


@dataclass(frozen=True)
class Tried:
    """What came of one attempt."""

    outcome: Outcome
    why: str = ""
    again_s: float = 0.0


@dataclass
class Messenger:
    """Sends what is due until it is stopped."""

    client: AsyncClient
    outbound: Outbound
    attempt_s: float = ATTEMPT_S
    _sending: dict[asyncio.Task[None], str] = field(default_factory=dict)
    """What is under way, and whose it is."""

    async def run(self, stop: threading.Event) -> None:
        """Raises QueueUnavailableError; what was under way is then left to another run."""
        bell = self._listen()
        try:
            while not stop.is_set():
                await self._send_due()
                await asyncio.wait(
                    {bell, *self._sending}, timeout=LOOK_EVERY_S, return_when="FIRST_COMPLETED"
                )
                self._collect()
                if bell.done():
                    bell.result()
                    bell = self._listen()
        finally:
            bell.cancel()
            await self._end(bell)

    async def _send_due(self) -> None:
        """Begin to send what is due and has room, a few at a time, so that nobody takes it all."""
        while room := min(MOST_AT_ONCE - len(self._sending), MOST_TAKEN):
            whose = Counter(self._sending.values())
            busy = [owner for owner, count in whose.items() if count >= MOST_OF_OWNER]
            taking = take_messages(secrets.token_hex(8), room, busy)
            if not (due := await self.client.carry_out(taking)):
                return
            for message in due:
                self._sending[asyncio.create_task(self._send(message))] = message.owner

    def _collect(self) -> None:
        for task in [task for task in self._sending if task.done()]:
            del self._sending[task]
            task.result()

    async def _end(self, bell: asyncio.Task[object]) -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=LAST_S)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(bell, *self._sending, return_exceptions=True)

    def _listen(self) -> asyncio.Task[object]:
        return asyncio.create_task(self.client.carry_out(send("BLPOP", BELL, LOOK_EVERY_S)))

    async def _send(self, message: Message) -> None:
        message = await self._with_addresses(message)
        tried = await attempt(self.outbound, message, self.attempt_s)
        telling = report(message, tried.outcome, tried.why, tried.again_s)
        noted = await self.client.carry_out(telling)
        about = {"message": message.id, "job_id": message.job_id, "attempt": message.attempts + 1}
        if not noted:
            log.info("webhook_anothers", **about)
        elif tried.outcome == "delivered":
            log.info("webhook_delivered", type=message.type, **about)
        elif tried.outcome == "again":
            log.info("webhook_repeated", reason=tried.why, again_s=round(tried.again_s), **about)
        else:
            log.warning("webhook_failed", reason=tried.why, **about)

    async def _with_addresses(self, message: Message) -> Message:
        """One that tells of a prediction with addresses that take no key."""
        if not message.root or message.job is None:
            return message
        signing = signed_paths(paths_of(message.job), message.owner, USUAL_LIFE_S)
        return replace(message, signed=await self.client.carry_out(signing))


async def attempt(outbound: Outbound, message: Message, timeout_s: float = ATTEMPT_S) -> Tried:
    """Post a message once."""
    if message.secrets is None:
        return Tried("failed", "There is no secret to sign it with.")
    now, body = datetime.now(UTC), message.body()
    signed = headers(message.id, body, message.secrets, now)
    try:
        answer = await outbound.post(message.url, body, signed, timeout_s=timeout_s)
    except OutboundError as error:
        return _again(message, str(error), None, now)
    if 200 <= answer.status < 300:
        return Tried("delivered")
    why = f"Its server answered {answer.status}."
    if answer.status == 410:
        return Tried("gone", why)
    return _again(message, why, answer.headers.get("retry-after"), now)


def _again(message: Message, why: str, retry_after: str | None, now: datetime) -> Tried:
    again_s = next_try_s(message.attempts + 1, retry_after, now)
    return Tried("failed", why) if again_s is None else Tried("again", why, again_s)


def run(stop: threading.Event, settings: Settings, outbound: Outbound) -> None:
    """Send messages until `stop` is set. Raises QueueUnavailableError."""

    async def send_all() -> None:
        async with connect_async(settings.redis_url or "") as redis:
            client = AsyncClient(redis, scripts(Rules.of(settings)))
            await Messenger(client, outbound).run(stop)

    asyncio.run(send_all())
