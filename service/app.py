"""The HTTP application: what it is made of, and how long it lives; imports no torch, no worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from darkroom import __version__
from darkroom.forms import form
from darkroom.images import ImageStore
from darkroom.live_catalog import LiveCatalog
from darkroom.offers import offer
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import Policy
from darkroom.queue.connection import connect_async
from darkroom.queue.events import CONNECTIONS, EventFeed
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.lua import Rules, scripts
from darkroom.queue.outlook import look
from darkroom.queue.shared_read import SharedRead
from darkroom.settings import Settings, SettingsError
from service.auth import Guard
from service.crowd import Crowd, trusted
from service.dependencies import Darkroom
from service.doctor import examine
from service.documentation import DESCRIPTION, describe
from service.errors import add_handlers
from service.known_keys import Keys
from service.limits import BodyLimit, LastHandler, RequestContext
from service.methods import Methods
from service.origins import Cors, Gate, origins
from service.parameters import refuse_others
from service.pictures.intake import InputImages
from service.routes import (
    a1111,
    a1111_extras,
    a1111_lists,
    batches,
    controlnet,
    controls,
    events,
    files,
    google,
    health,
    hugging_face,
    images,
    jobs,
    loras,
    mcp,
    me,
    models,
    openai,
    page,
    pages,
    previews,
    queue,
    replicate,
    replicate_catalog,
    signed_urls,
    styles,
    submissions,
    webhooks,
    workers,
)
from service.signatures import Signatures

API = "/api/v1"
NATIVE = (
    submissions,
    batches,
    jobs,
    events,
    previews,
    images,
    files,
    controls,
    signed_urls,
    me,
    loras,
    models,
    styles,
    queue,
    workers,
    webhooks,
)
"""Whose routes are below it; of loras and models the first that fits."""
DIALECTS = (openai, hugging_face, a1111, controlnet, replicate, google, mcp)
"""APIs that other software speaks, each below a prefix of its own."""
MORE_OF_DIALECTS = (a1111_lists, a1111_extras, replicate_catalog)
"""Further routes of theirs."""
LOOK_EVERY_S = 1.0
"""How old may be what estimates of jobs that wait are made from."""
EXAMINE_EVERY_S = 5.0
"""How old may be what the doctor found; however many ask, one looks."""


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
    add_handlers(app, {each.PREFIX: each.write_error for each in DIALECTS})
    # The last one added is the outermost. Preflights of browsers, which bring no key, are answered
    # outside of `Guard`; inside of it are all routes, and all that reads bodies.
    app.add_middleware(Methods, prefix=f"{API}/")
    app.add_middleware(
        BodyLimit,
        max_bytes=int(settings.max_body_mb * 2**20),
        max_all_bytes=int(settings.max_bodies_mb * 2**20),
        timeout_s=settings.body_timeout_s,
        max_streamed_bytes=int(settings.max_lora_mb * 2**20) if settings.lora_uploads else 0,
    )
    here: Darkroom = app.state.darkroom
    app.add_middleware(Guard, settings=settings, keys=here.keys, signatures=here.signatures)
    app.add_middleware(LastHandler)
    if origins(settings):
        app.add_middleware(Cors, settings=settings)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(RequestContext)
    strict = [Depends(refuse_others)]
    for part in NATIVE:
        app.include_router(part.router, prefix=API, dependencies=strict)
    for part in (health, page, pages):
        app.include_router(part.router, dependencies=strict)
    for part in (*DIALECTS, *MORE_OF_DIALECTS):  # which ignore what they do not know
        app.include_router(part.router)
    describe(app, asks_for_keys=settings.asks_for_keys)
    return app


def _assemble(settings: Settings) -> Darkroom:
    if not settings.redis_url:
        raise SettingsError("No Redis: set DARKROOM_REDIS_URL, or start `darkroom up`.")
    texts = scripts(Rules.of(settings))
    client = AsyncClient(connect_async(settings.redis_url), texts)
    # Who waits takes no connection from who asks, however many there are.
    waits = connect_async(settings.redis_url, size=CONNECTIONS, name="darkroom-events")
    store, keys = ImageStore.of(settings), Keys(client)
    return Darkroom(
        settings=settings,
        models=LiveCatalog(settings.models, settings.uploads),
        client=client,
        store=store,
        inputs=InputImages.of(settings, store),
        feed=EventFeed(AsyncClient(waits, texts), keys.forget),
        outlook=SharedRead(lambda: client.carry_out(look()), lasts_s=LOOK_EVERY_S),
        waiting=Crowd(
            "event streams and waits",
            settings.max_waiting,
            settings.max_waiting_per_address,
            exempt=trusted(settings),
        ),
        keys=keys,
        doctor=SharedRead(lambda: examine(settings), lasts_s=EXAMINE_EVERY_S),
        outbound=Outbound(Policy.of(settings)) if settings.webhooks else None,
        signatures=Signatures(client, keys),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    here: Darkroom = app.state.darkroom
    _build_forms(here)
    async with here.client.redis, here.feed.client.redis, here.feed, here.inputs:
        yield


def _build_forms(here: Darkroom) -> None:
    """So that no client waits for them: about 2 ms for each model and task. Redis may be away;
    what a worker's record adds is built when it is asked for."""
    for card in here.catalog.cards.values():
        terms = offer(here.catalog, card, None)
        for task in terms.tasks:
            form(task, terms)
