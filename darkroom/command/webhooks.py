"""`darkroom webhooks`: their secret, a test of a receiver, messages that were given up; a client of
any URL."""

from typing import Annotated
from urllib.parse import quote

import typer

from darkroom.client.connecting import DEFAULT_URL
from darkroom.command.remote import Key, Url, client_of
from darkroom.command.terminal import AsJson, err, faults, out, print_json, print_rows
from darkroom.text import plain

webhooks = typer.Typer(
    help="Draw secrets of webhooks, try receivers, send messages again.", no_args_is_help=True
)

Receiver = Annotated[str, typer.Argument(metavar="RECEIVER", help="Its URL.")]
Overlap = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long messages are signed with the one before too; left out: a day.",
    ),
]
Message = Annotated[
    str | None, typer.Argument(metavar="[MESSAGE]", help="Its id; left out: the last 100.")
]


@webhooks.command("secret")
def webhooks_secret(
    overlap: Overlap = None, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Draw a secret that messages are signed with, and print it, this once."""
    body = {} if overlap is None else {"overlap_s": overlap}
    with faults(), client_of(url, key) as client:
        drawn = client.ask("POST", "webhooks/secret", json=body)
    if as_json:
        print_json(drawn)
        return
    if drawn["previous_until"]:
        err.print(plain(f"The one before signs until {drawn['previous_until']}."))
    err.print("It is shown this once:")
    out.print(plain(drawn["secret"]), soft_wrap=True)


@webhooks.command("test")
def webhooks_test(
    receiver: Receiver, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Post a test message to a receiver; exit 1 if it does not take it."""
    with faults(), client_of(url, key) as client:
        tried = client.ask("POST", "webhooks/test", json={"url": receiver})
    if as_json:
        print_json(tried)
    else:
        out.print("delivered" if tried["delivered"] else plain(tried["why"]))
    if not tried["delivered"]:
        raise typer.Exit(1)


@webhooks.command("failed")
def webhooks_failed(url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List the last 100 messages that were given up."""
    with faults(), client_of(url, key) as client:
        found = client.ask("GET", "webhooks/failed")["data"]
    if as_json:
        print_json(found)
    elif found:
        rows = [tuple(str(each[name]) for name in _SHOWN) for each in found]
        print_rows([_SHOWN, *rows])
    else:
        err.print("No message was given up.")


@webhooks.command("resend")
def webhooks_resend(
    message: Message = None, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Send messages that were given up again."""
    with faults(), client_of(url, key) as client:
        found = client.ask("GET", "webhooks/failed")["data"] if message is None else ()
        ids = [each["id"] for each in found] if message is None else [message]
        sent = [
            client.ask("POST", f"webhooks/failed/{quote(each, safe='')}/resend") for each in ids
        ]
    print_json(sent) if as_json else out.print(f"{len(sent)} to be sent again.")


_SHOWN = ("id", "type", "url", "attempts", "failed_at", "why")
