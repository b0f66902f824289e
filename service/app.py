"""The HTTP application: what it is made of, and how long it lives; imports no torch, no worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from darkroom import __version__
from darkroom.forms import form
from darkroom.images import ImageStore
from darkroom.live_catalog import LiveCatalog
from darkroom.offers import offer
from darkroom.queue.connection import connect_async
from darkroom.queue.events import EventFeed
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.lua import Rules, scripts
from darkroom.queue.outlook import look
from darkroom.queue.shared_read import SharedRead
from darkroom.settings import Settings, SettingsError
from service.crowd import Crowd, trusted
from service.dependencies import Darkroom
from service.documentation import DESCRIPTION, describe
from service.errors import add_handlers
from service.limits import BodyLimit, LastHandler, RequestContext
from service.methods import Methods
from service.origins import Cors, Gate, origins
from service.parameters import refuse_others
from service.pictures.intake import InputImages
from service.routes import health, images, jobs, loras, models, pages, queue

API = "/api/v1"
LOOK_EVERY_S = 1.0
"""How old may be what estimates of jobs that wait are made from."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Reads models.toml, connects to Redis at the first request that needs it.

    Raises ModelsFileError, SettingsError."""
    settings = settings or Settings()
    app = FastAPI(
        title="Darkroom",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        openapi_url=None,  # a route of pages.py: FastAPI's own would take any query
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.darkroom = _assemble(settings)
    add_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(Methods, prefix=f"{API}/")
    app.add_middleware(
        BodyLimit,
        max_bytes=int(settings.max_body_mb * 2**20),
        max_all_bytes=int(settings.max_bodies_mb * 2**20),
        timeout_s=settings.body_timeout_s,
        max_streamed_bytes=int(settings.max_lora_mb * 2**20) if settings.lora_uploads else 0,
    )
    app.add_middleware(LastHandler)
    if origins(settings):
        app.add_middleware(Cors, settings=settings)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(RequestContext)
    strict = [Depends(refuse_others)]
    for part in (jobs, images, loras, models, queue):  # of loras and models the first that fits
        app.include_router(part.router, prefix=API, dependencies=strict)
    for part in (health, pages):
        app.include_router(part.router, dependencies=strict)
    describe(app)
    return app


def _assemble(settings: Settings) -> Darkroom:
    if not settings.redis_url:
        raise SettingsError("No Redis: set DARKROOM_REDIS_URL, or start `darkroom up`.")
    client = AsyncClient(connect_async(settings.redis_url), scripts(Rules.of(settings)))
    store = ImageStore.of(settings)
    return Darkroom(
        settings=settings,
        models=LiveCatalog(settings.models, settings.uploads),
        client=client,
        store=store,
        inputs=InputImages.of(settings, store),
        feed=EventFeed(client),
        outlook=SharedRead(lambda: client.carry_out(look()), lasts_s=LOOK_EVERY_S),
        waiting=Crowd(
            "event streams and waits",
            settings.max_waiting,
            settings.max_waiting_per_address,
            exempt=trusted(settings),
        ),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    here: Darkroom = app.state.darkroom
    _build_forms(here)
    async with here.client.redis, here.feed, here.inputs:
        yield


def _build_forms(here: Darkroom) -> None:
    """So that no client waits for them: about 2 ms for each model and task. Redis may be away;
    what a worker's record adds is built when it is asked for."""
    for card in here.catalog.cards.values():
        terms = offer(here.catalog, card, None)
        for task in terms.tasks:
            form(task, terms)
