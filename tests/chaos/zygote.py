"""A process that has imported all of Darkroom, torch included, and forks its processes from itself.

Their own code runs unchanged; what is saved is seconds of imports at each start. The supervisor's
engine is forked from the supervisor in the same way. Told what to start by JSON lines on standard
input; tells on standard output what started and what ended.

With `cold MODULE` it only installs the traps and becomes that one process.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from tests.chaos import traps

ENGINE = "worker.engine"
_PR_SET_PDEATHSIG = 1


def serve() -> None:
    """Start what is asked for until standard input closes."""
    # Standard output is for what is told to the parent.
    with redirect_stdout(sys.stderr):
        _import_everything()
    gc.collect()
    gc.freeze()
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    _tell(ready=True)
    rest = b""
    while True:
        ready, _, _ = select.select([0, wake], [], [], 1.0)
        if wake in ready:
            os.read(wake, 4096)
        if 0 in ready:
            data = os.read(0, 2**16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                _tell(started=_start(json.loads(line)))
        _bury()


def _import_everything() -> None:
    """With what is imported late: at the load of a model and by its first picture."""
    import torch

    torch.set_num_threads(1)
    for name in ("worker.__main__", "service.__main__", "darkroom.command.cli", "darkroom.keeper"):
        importlib.import_module(name)
    traps.install()
    _make_a_picture()
    others = len(list(Path("/proc/self/task").iterdir())) - 1
    assert others == 0, "only a process of one thread can be forked and go on"


def _make_a_picture() -> None:
    import torch
    from tqdm import tqdm

    # Its own lock lies in memory that forked processes share: one killed with it stops all others.
    tqdm.set_lock(threading.RLock())

    from darkroom.catalog import Catalog
    from darkroom.offers import offer
    from worker import engine, trial
    from worker.gathering.gather import Gather
    from worker.loading import pipelines

    # Neither of them shall start threads here; in the forked processes they may.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tqdm.monitor_interval, interval = 0, tqdm.monitor_interval
    catalog = Catalog.read(Path(os.environ["DARKROOM_MODELS"]))
    card = catalog.find(None)
    model = pipelines.load(card, catalog, Gather(), torch.device("cpu"))
    trial.run(model, offer(catalog, card, model.record))
    tqdm.monitor_interval = interval
    assert engine.__name__ == ENGINE


def _start(order: dict[str, Any]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    with _ends_here():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        _become([null, log, log], order["env"])
        os.chdir(order["cwd"])
        os.setpgid(0, 0)
        if order["cold"]:
            command = [sys.executable, "-m", "tests.chaos.zygote", "cold", order["module"]]
            os.execve(command[0], command, order["env"])
        subprocess.Popen._execute_child = _fork_engines  # type: ignore[attr-defined]
        _run(order["module"], [])
    raise AssertionError


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(ended=pid, status=os.waitstatus_to_exitcode(status))


def _tell(**said: Any) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


_execute_child = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def _fork_engines(self: Any, args: Any, executable: Any, preexec_fn: Any, *rest: Any) -> None:
    """What `Popen` does, except that an engine is forked and not executed."""
    passed, env, process_group = rest[1], rest[3], rest[-1]
    p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[7:13]
    if list(args[1:3]) != ["-m", ENGINE]:
        _execute_child(self, args, executable, preexec_fn, *rest)
        return
    self.pid = os.fork()
    self._child_created = True
    if self.pid == 0:
        with _ends_here():
            _become([p2cread, c2pwrite, 2 if errwrite == -1 else errwrite], env, passed)
            os.setpgid(0, process_group)
            if preexec_fn:
                preexec_fn()
            _run(ENGINE, list(args[3:]))
    for mine, theirs in ((p2cread, p2cwrite), (c2pwrite, c2pread), (errwrite, errread)):
        if mine != -1 and theirs != -1:
            os.close(mine)


def _become(streams: list[int], env: dict[str, str], passed: Iterable[int] = ()) -> None:
    """A process with these three streams, of its parent's other files those that are passed on, and
    this environment."""
    copies = [os.dup(each) for each in streams]
    for number, copy in enumerate(copies):
        os.dup2(copy, number)
    last = 2
    for kept in sorted(passed):
        os.closerange(last + 1, kept)
        last = kept
    os.closerange(last + 1, 4096)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, closefd=False) for number, mode in enumerate(("r", "w", "w"))
    )
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)


def _run(module: str, arguments: list[str]) -> None:
    """What `python -m module` does, the module being imported already."""
    sys.argv = [module, *arguments]
    if module == ENGINE:
        _sign()
        sys.modules[ENGINE].main()  # type: ignore[attr-defined]
    elif module == "keeper":
        from darkroom.command.cli import app

        app(["keeper"])
    else:
        sys.exit(sys.modules[f"{module}.__main__"].main())  # type: ignore[attr-defined]


def _sign() -> None:
    """Leave word which engine this process is."""
    if folder := os.environ.get("CHAOS_ENGINES"):
        name = sys.argv[sys.argv.index("--engine") + 1]
        temporary = Path(folder) / f".{os.getpid()}"
        temporary.write_text(name)
        temporary.rename(Path(folder) / str(os.getpid()))


class _ends_here:
    """Around all that a forked process does: it never returns into the code of its parent."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> NoReturn:
        status = 0
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
        elif error is not None:
            traceback.print_exception(error)
            status = 1
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                status = status or 120
        os._exit(status)


def cold(module: str, arguments: list[str]) -> None:
    """Become one process that imports all it needs by itself, its engines likewise."""
    sys.argv = [module, *arguments]
    if module == ENGINE:
        traps.install()
        _sign()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return

    def execute(self: Any, args: Any, *rest: Any) -> None:
        if list(args[1:3]) == ["-m", ENGINE]:
            args = [args[0], "-m", "tests.chaos.zygote", "cold", *args[2:]]
        _execute_child(self, args, *rest)

    subprocess.Popen._execute_child = execute  # type: ignore[attr-defined]
    if module == "keeper":
        module, sys.argv[1:] = "darkroom.command.cli", ["keeper"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["cold"]:
        cold(sys.argv[2], sys.argv[3:])
    else:
        serve()
