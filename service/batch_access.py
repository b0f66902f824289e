"""The one way from routes to batches, told who asks; in the service only."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from anyio import to_thread

from darkroom.batch import Batch, Grid
from darkroom.errors import StoreUnavailableError
from darkroom.queue import batches
from darkroom.queue.accepting import NewJob
from darkroom.queue.batches import SubmittedBatch
from service.access import Jobs
from service.rates import require_budget


@dataclass(frozen=True)
class Batches:
    """The batches of who asks; those of others are as if they were not there.

    Methods raise QueueUnavailableError."""

    jobs: Jobs

    async def submit(
        self, new: Sequence[NewJob], grid: Grid | None, *, key: str | None, fingerprint: str | None
    ) -> SubmittedBatch:
        """Accept all of these jobs or none. Raises what `Jobs.submit` does, RateLimitedError."""
        require_budget(self.jobs.asker.limits, sum(each.cost_s for each in new))
        terms = self.jobs.terms(key, fingerprint)
        submitted = await self.jobs.client.carry_out(batches.submit(new, terms, grid))
        self.jobs.outlook.outdate()
        return submitted

    async def ask(
        self, size: int, work_s: float = 0.0, /, *, key: str | None, fingerprint: str | None
    ) -> SubmittedBatch | None:
        """Whether so many jobs, of so much work, would be accepted now: None, or the earlier batch
        of the key. Raises what `submit` raises."""
        require_budget(self.jobs.asker.limits, work_s)
        terms = self.jobs.terms(key, fingerprint)
        return await self.jobs.client.carry_out(batches.ask(size, terms, work_s))

    async def fetch(self, batch_id: str) -> Batch:
        """Raises BatchNotFoundError."""
        sees = self.jobs.asker.sees
        return await self.jobs.client.carry_out(batches.fetch(batch_id, owner=sees))

    async def cancel(self, batch_id: str) -> Batch:
        """Raises BatchNotFoundError."""
        sees = self.jobs.asker.sees
        return await self.jobs.client.carry_out(batches.cancel(batch_id, owner=sees))

    async def delete(self, batch_id: str) -> None:
        """Delete its jobs and their pictures. Raises BatchNotFoundError."""
        sees = self.jobs.asker.sees
        images = await self.jobs.client.carry_out(batches.delete(batch_id, owner=sees))
        # The jobs are gone; pictures that stay now are orphans, which the keeper deletes.
        with suppress(StoreUnavailableError):
            await to_thread.run_sync(self.jobs.store.delete, images)
