"""What is asked of Redis apart from any connection (sans-I/O), and who carries it out; any process.

An exchange is a generator: it yields questions, is sent their answers and returns what they mean.
So a thread and an event loop ask the same, and read it alike, from one piece of code.
"""

from asyncio import get_running_loop, timeout
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from redis import Redis, asyncio
from redis.commands.core import AsyncScript, Script

from darkroom.errors import QueueUnavailableError
from darkroom.queue.connection import POOL_TIMEOUT_S, translated

SILENT_S = 8.0
"""How long an event loop waits for an answer, repeats and all, while Redis answers nobody there;
one timeout and a repeat on another connection take less."""

Word: TypeAlias = str | bytes | int | float


@dataclass(frozen=True)
class Run:
    """A question: run a script of `lua/`."""

    script: str
    args: tuple[Word, ...]


@dataclass(frozen=True)
class Send:
    """A question: send plain commands in one round trip; the answer is the list of theirs."""

    commands: tuple[tuple[Word, ...], ...]
    atomic: bool = False
    """All or nothing (MULTI)."""


Question: TypeAlias = Run | Send

T = TypeVar("T")

Exchange: TypeAlias = Generator[Question, Any, T]


def run(script: str, *args: Word) -> Generator[Question, Any, Any]:
    """Run one script; returns its answer."""
    return (yield Run(script, args))


def send(*command: Word) -> Generator[Question, Any, Any]:
    """Send one command; returns its answer."""
    (answer,) = yield Send((command,))
    return answer


class Client:
    """Carries out exchanges, and blocks. Safe to use from threads.

    `carry_out` raises QueueUnavailableError while Redis is away, starting, or too full to write,
    and what the exchange raises."""

    def __init__(self, redis: Redis, scripts: Mapping[str, str] | None = None) -> None:
        self.redis = redis
        self._untyped: Any = redis
        self._scripts: dict[str, Script] = {
            name: redis.register_script(text) for name, text in (scripts or {}).items()
        }

    def carry_out(self, exchange: Exchange[T]) -> T:
        try:
            question = next(exchange)
            while True:
                with translated():
                    answer = self._answer(question)
                question = exchange.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    def _answer(self, question: Question) -> Any:
        if isinstance(question, Run):
            return self._scripts[question.script](args=question.args)
        if len(question.commands) == 1:
            return [self._untyped.execute_command(*question.commands[0])]
        with self._untyped.pipeline(transaction=question.atomic) as pipe:
            for command in question.commands:
                pipe.execute_command(*command)
            return pipe.execute()


class AsyncClient:
    """The same for an event loop: nothing of it blocks. A Redis that hangs is away after
    `SILENT_S` seconds."""

    def __init__(self, redis: asyncio.Redis, scripts: Mapping[str, str] | None = None) -> None:
        self.redis = redis
        self._answered_at = 0.0
        self._untyped: Any = redis
        self._scripts: dict[str, AsyncScript] = {
            name: redis.register_script(text) for name, text in (scripts or {}).items()
        }

    async def carry_out(self, exchange: Exchange[T]) -> T:
        try:
            question = next(exchange)
            while True:
                with translated():
                    answer = await self._answer_in_time(question)
                question = exchange.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _answer_in_time(self, question: Question) -> Any:
        """Asks again where others got answers meanwhile: then it was only busy."""
        now = get_running_loop().time
        give_up = now() + POOL_TIMEOUT_S
        while True:
            asked_at = now()
            try:
                async with timeout(SILENT_S):
                    answer = await self._answer(question)
                    self._answered_at = now()
                    return answer
            except TimeoutError:
                if self._answered_at < asked_at or now() > give_up:
                    reason = "Redis cannot be reached: it does not answer"
                    raise QueueUnavailableError(reason) from None

    async def _answer(self, question: Question) -> Any:
        if isinstance(question, Run):
            return await self._scripts[question.script](args=question.args)
        if len(question.commands) == 1:
            return [await self._untyped.execute_command(*question.commands[0])]
        async with self._untyped.pipeline(transaction=question.atomic) as pipe:
            for command in question.commands:
                pipe.execute_command(*command)
            return await pipe.execute()
