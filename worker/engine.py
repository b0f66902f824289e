"""The engine as a process: `python -m worker.engine`; what its loop and its threads are made of.

Started by the supervisor; ends when its standard input closes.
"""

import gc

if __name__ == "__main__":
    # Nothing that imports make is garbage, and looking for some takes a sixth of the start.
    gc.disable()

import argparse
import os
import signal
import sys
import threading
from collections.abc import Hashable

import torch

from darkroom import heap, logs, streams
from darkroom.images import ImageStore
from darkroom.live_catalog import LiveCatalog
from darkroom.queue.connection import connect
from darkroom.queue.model_records import ModelRecords
from darkroom.queue.queue import Queue
from darkroom.settings import Settings
from worker import device
from worker.admission import Admission
from worker.at_work import AtWork
from worker.beginning import Beginning
from worker.costs import Costs
from worker.finish import Finisher
from worker.gathering.gather import Gather
from worker.gathering.runner import Runner
from worker.held import HeldJobs
from worker.intake import Intake
from worker.leases import Leases
from worker.loaded import LoadedModels
from worker.loop import Engine
from worker.news import Newsroom
from worker.passes import Passes
from worker.pulse import Pulse
from worker.report import NO_DEVICE, obey, private_stdout, report_for_ever
from worker.vital import or_exit

log = logs.get("engine")

PLACES = 1.25
"""Jobs under way for each that may share a pass, so that those that encode or decode leave no row
of it empty."""
LOOK_AHEAD = 0.25
"""Jobs held beside those under way, for each that may share a pass, and one at least, so that none
waits for Redis when one ends. More fills no more rows (`benchmarks/look_ahead.py`)."""


def assemble(
    settings: Settings,
    jobs: Queue,
    records: ModelRecords,
    *,
    worker: str,
    engine: str,
    beats: Queue | None = None,
    at_work: AtWork | None = None,
) -> Engine:
    """An engine of the process `engine`, which belongs to the supervisor `worker`, and its threads,
    none of them started. `beats`: the queue again, over a connection for leases alone; `at_work`:
    where the supervisor reads it."""
    catalog, store = LiveCatalog(settings.models, settings.uploads), ImageStore.of(settings)
    places = int(settings.max_jobs * PLACES)
    place = device.pick_device(settings.device)
    gather = Gather(row_counts=device.row_counts(place))
    pulse = Pulse(step_timeout_s=settings.step_timeout_s, load_timeout_s=settings.load_timeout_s)
    most_rows: dict[Hashable, int] = {}
    costs, held, at_work = Costs(records), HeldJobs(), at_work or AtWork()
    models = LoadedModels(
        catalog,
        costs.tell,
        gather,
        place,
        worker=worker,
        loading=pulse.loading,
        progress=held.tell_of_load,
        # What was learned hangs on modules that are gone, whose names new ones can get.
        evicted=most_rows.clear,
        limit_gb=settings.model_memory_gb,
    )
    runner = Runner(gather, most_rows=most_rows, evict_idle=models.evict_idle)
    beat_now, store_is_full = threading.Event(), threading.Event()
    return Engine(
        settings=settings,
        catalog=catalog,
        device=place,
        gather=gather,
        models=models,
        pulse=pulse,
        held=held,
        intake=Intake(
            jobs=jobs,
            store=store,
            held=held,
            engine=engine,
            places=places,
            look_ahead=max(round(settings.max_jobs * LOOK_AHEAD), 1),
            serves=lambda: catalog.served(settings.serves),
            loaded=lambda: models.names,
            is_ready=lambda: pulse.state in ("idle", "busy"),
            beat_now=beat_now,
            store_is_full=store_is_full,
            prefer_loaded_s=settings.prefer_loaded_s,
        ),
        admission=Admission(
            catalog,
            Beginning(jobs=jobs, store=store, held=held, worker=worker, at_work=at_work),
            loaded=lambda: models.names,
            has_room_for=models.has_room_for,
            places=places,
            prefer_loaded_s=settings.prefer_loaded_s,
        ),
        leases=Leases(
            beats or jobs, held, engine, lease_s=settings.lease_s, pulse=pulse, beat_now=beat_now
        ),
        newsroom=Newsroom(jobs=jobs, held=held),
        finisher=Finisher(jobs, store, held, settings.metadata, store_is_full, at_work),
        costs=costs,
        passes=Passes(gather, runner, costs, models, place, at_work, max_jobs=settings.max_jobs),
        at_work=at_work,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Darkroom's engine; the supervisor starts it.")
    parser.add_argument("--worker", required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--at-work", type=int, default=-1, metavar="DESCRIPTOR")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    out = private_stdout()
    streams.guard()
    settings = Settings()
    if settings.redis_url is None:
        parser.error("DARKROOM_REDIS_URL is not set.")
    logs.setup(settings, process="engine", worker=arguments.worker)
    heap.keep_small()
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    redis = connect(settings.redis_url)
    jobs = Queue.of(redis, settings)
    # A link that swallows packets must be noticed while the lease lasts.
    beats = Queue.of(connect(settings.redis_url, longest_s=settings.lease_s / 2), settings)
    try:
        engine = assemble(
            settings,
            jobs,
            ModelRecords(redis),
            worker=arguments.worker,
            engine=arguments.engine,
            beats=beats,
            at_work=AtWork(arguments.at_work),
        )
    except device.NoDeviceError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(NO_DEVICE)
    for work in (lambda: report_for_ever(engine.report, out), lambda: obey(engine.drain)):
        threading.Thread(target=work, daemon=True).start()
    engine.run()
    log.info("drained")


if __name__ == "__main__":
    with or_exit("engine"):
        main()
    # All that matters is written by now, and taking torch apart in order can take seconds.
    os._exit(0)
