"""The `darkroom` command; imports neither service nor worker: it starts them as processes.

Commands that talk to a running Darkroom need only its URL. Exit status: 0 done, 1 failed,
2 wrong usage.
"""

import signal
import socket
import threading
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from darkroom import __version__
from darkroom.command import files, flags, jobs, keys, mcp, models, queues, remote, webhooks
from darkroom.command.child import become
from darkroom.command.flags import GroupedCommand, with_redis, with_settings
from darkroom.command.terminal import AsJson, err, faults, out, print_json
from darkroom.field_errors import in_our_words
from darkroom.settings import Settings


class Darkroom(TyperGroup):
    """All commands; what is wrong with their options is told in Darkroom's own sentences."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = _in_our_words(error.__cause__)
            raise


def _in_our_words(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":  # raised by typer, for what is none of several words
        return str(first["ctx"]["error"])
    return in_our_words(first["type"], first["msg"], first.get("ctx", {}))[1]


app = typer.Typer(
    cls=Darkroom,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def darkroom(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Darkroom turns prompts into pictures with latent diffusion models."""


app.add_typer(jobs.jobs, name="jobs")
app.add_typer(queues.queue, name="queue")
app.add_typer(files.files, name="files")
app.add_typer(models.models, name="models")
app.add_typer(keys.keys, name="keys")
app.add_typer(webhooks.webhooks, name="webhooks")


NoKeys = Annotated[
    bool,
    typer.Option("--no-keys", help="Let in whoever reaches the API, without a key: --keys off."),
]


def _keyless(settings: Settings, no_keys: bool) -> Settings:
    return settings.model_copy(update={"keys": "off"}) if no_keys else settings


@app.command(cls=GroupedCommand)
@with_settings(*flags.EVERYWHERE, *flags.API, *flags.WORKER, *flags.KEEPER)
def up(
    settings: Settings,
    workers: Annotated[int, typer.Option(min=0, help="How many workers to start.")] = 1,
    no_keys: NoKeys = False,
) -> None:
    """Start everything on this machine.

    API, keeper, workers and, unless a Redis is named, an embedded Valkey. Ctrl-C stops all of it.
    """
    from darkroom import streams
    from darkroom.command.up import run

    streams.guard()
    with faults():
        run(_keyless(settings, no_keys), workers, out.print)


@app.command(cls=GroupedCommand)
@with_settings(*flags.EVERYWHERE, *flags.API)
def api(settings: Settings, no_keys: NoKeys = False) -> None:
    """Start the API alone. Needs the Redis that the workers use."""
    become("service", with_redis(_keyless(settings, no_keys)))


@app.command(cls=GroupedCommand)
@with_settings(*flags.EVERYWHERE, *flags.WORKER)
def worker(settings: Settings) -> None:
    """Start a worker alone: one per GPU. Needs the Redis and the image store that the API uses, or
    the state directory of a running `darkroom up`."""
    become("worker", with_redis(settings))


@app.command(cls=GroupedCommand)
@with_settings(*flags.EVERYWHERE, *flags.KEEPER)
def keeper(settings: Settings) -> None:
    """Start the keeper alone: leases, deadlines, retention. Several may run."""
    from darkroom import heap, keeper, logs, streams
    from darkroom.queue.connection import connect
    from darkroom.queue.queue import Queue

    settings = with_redis(settings)
    streams.guard()
    logs.setup(settings, process="keeper")
    heap.keep_large_apart()
    heap.keep_small()
    stop = threading.Event()

    def stop_soon(*_: object) -> None:
        # Not from here: what the signal interrupts may hold the event's own lock.
        threading.Thread(target=stop.set, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_soon)
    keeper.run(stop, settings=settings, queue=Queue.of(connect(settings.redis_url or ""), settings))


@app.command("worker-health")
@with_settings("redis_url", "state_dir", "worker_name")
def worker_health(settings: Settings) -> None:
    """Exit 0 if this host's workers give signs of life, else 1. For health checks."""
    from darkroom.queue.connection import connect
    from darkroom.queue.workers import Workers

    redis_url = with_redis(settings).redis_url or ""
    with faults():
        name, host = settings.worker_name, socket.gethostname()
        workers = Workers(connect(redis_url)).all()
        alive = [w for w in workers if (w.name == name if name else w.host == host)]
    for info in alive:
        out.print(f"{info.name}: {info.state}")
    if not alive:
        err.print(f"No worker {name or f'of {host}'} has been heard of lately.")
        raise typer.Exit(1)


@app.command()
@with_settings(*flags.EVERYWHERE, "device")
def doctor(
    settings: Settings,
    load: Annotated[bool, typer.Option(help="Load every model, which can take minutes.")] = True,
    as_json: AsJson = False,
) -> None:
    """Check this machine and say what to do about each fault. Exit status 1 on a fault."""
    from darkroom.command import doctor

    checks = doctor.examine(settings, load=load)
    if as_json:
        print_json([check.as_dict() for check in checks])
    else:
        for check in checks:
            out.print(f"{doctor.SIGNS[check.state]:>7}  {check.name}: {check.found}")
            if check.remedy:
                out.print(f"         {check.remedy}")
    if any(check.state == "fault" for check in checks):
        raise typer.Exit(1)


app.command(cls=remote.GenerateCommand)(remote.generate)
app.command("mcp")(mcp.mcp)


@app.command()
@with_settings("state_dir", "models")
def demo(settings: Settings) -> None:
    """Start everything, make one picture under out/, stop it.

    With the demo model, on the CPU.
    """
    from darkroom.command.demo import run

    with faults():
        run(settings, out, err)


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    print_json({"version": __version__}) if as_json else out.print(__version__)


if __name__ == "__main__":
    app()
