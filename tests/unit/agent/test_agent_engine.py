"""An engine that hangs, goes away or pulls slowly: bounded waits, free threads, telling words."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Part
from rookery.model import PullPolicy
from rookery_agent.runtime.docker_engine import Engine
from rookery_agent.runtime.docker_exec import execute
from rookery_agent.runtime.docker_provision import Images
from rookery_agent.runtime.docker_pull import Progress, Pulls
from rookery_agent.runtime.docker_stream import Stream
from rookery_agent.runtime.protocol import EngineAway, ImageMissing, RuntimeFailure

PULL, IMAGE = "/images/create", "/images/web:1/json"


def play(folder: Path, test: Callable[[FakeEngine, Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        async with FakeEngine(folder) as fake:
            engine = Engine(fake.url)
            try:
                async with asyncio.timeout(30):
                    await test(fake, engine)
            finally:
                fake.hang(False)
                engine.close()
                await until(lambda: not threads())  # none is kept by anything

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 threads don't tell
            await asyncio.sleep(0.01)


def threads() -> int:
    return sum(t.name.startswith(("engine", "start", "exec", "check")) for t in threading.enumerate())


def test_a_call_to_an_engine_that_hangs_ends_in_time_and_says_so(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        await engine.call(lambda client: client.version(), timeout_s=20)
        fake.hang(True)
        began = time.monotonic()
        with pytest.raises(EngineAway, match="hangs"):
            await engine.call(lambda client: client.version(), timeout_s=0.3)
        assert time.monotonic() - began < 10  # not the engine's own minute
        fake.hang(False)
        await engine.call(lambda client: client.version(), timeout_s=20)

    play(tmp_path, test)


def test_threads_are_free_again_soon_after_a_hang(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        fake.hang(True)
        calls = [engine.call(lambda client: client.inspect_image("web:1"), timeout_s=0.3) for _ in range(100)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, EngineAway) for result in results)
        assert threads() <= 16
        await asyncio.sleep(1.2)  # until the threads gave up, too
        fake.hang(False)
        fake.values[IMAGE] = {"Id": "i"}
        assert await engine.call(lambda client: client.inspect_image("web:1"), timeout_s=30) == {"Id": "i"}

    play(tmp_path, test)


def test_probes_and_pulls_that_hang_leave_room_for_others(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        never = asyncio.Event()
        fake.streams[PULL] = lambda: [{"status": "Pulling from web"}, never]
        fake.streams["/exec/x/start"] = lambda: [never]
        fake.values["/containers/c/exec"] = {"Id": "x"}
        fake.values["/exec/x/json"] = {"Running": True, "Pid": 0, "ExitCode": None}
        pulls = Pulls(engine, stalled_s=60)
        stuck = [asyncio.ensure_future(pulls.pull("web:1", "")) for _ in range(10)]
        stuck += [asyncio.ensure_future(execute(engine, "c", ("sleep",), timeout_s=60)) for _ in range(40)]  # type: ignore[arg-type]
        await until(lambda: fake.asked.count(PULL) == 2 and fake.asked.count("/exec/x/start") == 16)
        await engine.call(lambda client: client.version(), timeout_s=20)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)

    play(tmp_path, test)


def test_a_stream_that_does_not_begin_is_given_up(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        await engine.call(lambda client: client.version(), timeout_s=20)
        fake.hang(True)
        before = threading.active_count()
        for _ in range(3):
            with pytest.raises(EngineAway, match="hangs"):
                async for _ in engine.stream(lambda client: Stream(client, "/events", begin_s=0.2), Stream.messages):
                    pass
        await until(lambda: threading.active_count() <= before)

    play(tmp_path, test)


def test_a_stream_that_stands_may_be_silent(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        goes_on = asyncio.Event()
        fake.streams["/events"] = lambda: [goes_on, {"status": "die"}]
        heard = []
        async for item in engine.stream(lambda client: Stream(client, "/events", begin_s=1.5), Stream.messages):
            heard.append(item)
            if item is None:
                asyncio.get_running_loop().call_later(2.0, goes_on.set)
        assert heard == [None, {"status": "die"}]

    play(tmp_path, test)


def test_a_command_is_not_blamed_for_an_engine_that_hangs(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        never = asyncio.Event()
        fake.values["/containers/c/exec"] = {"Id": "x"}
        fake.values["/exec/x/json"] = {"Running": True, "Pid": 0, "ExitCode": None}
        fake.streams["/exec/x/start"] = lambda: [never]
        with pytest.raises(TimeoutError):
            await execute(engine, "c", ("sleep", "9"), timeout_s=0.3)
        hanging = asyncio.ensure_future(execute(engine, "c", ("sleep", "9"), timeout_s=0.5))
        await until(lambda: fake.asked.count("/exec/x/start") == 2)
        fake.hang(True)
        with pytest.raises(EngineAway):
            await hanging

    play(tmp_path, test)


def slow_pull(pauses: list[asyncio.Event]) -> Callable[[], list[Part]]:
    """A pull that goes on by a piece each time that an event is set."""
    parts: list[Part] = [{"status": "Pulling from web", "id": "1"}]
    for number, pause in enumerate(pauses):
        parts += [pause, {"status": "Downloading", "id": "layer", "progressDetail": {"current": number + 1}}]
    return lambda: parts


def test_a_slow_pull_is_waited_for(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        pauses = [asyncio.Event() for _ in range(6)]
        fake.streams[PULL] = slow_pull(pauses)
        for number, pause in enumerate(pauses):
            asyncio.get_running_loop().call_later(0.5 * (number + 1), pause.set)
        await Pulls(engine, stalled_s=2.0).pull("web:1", "")  # takes 3 s

    play(tmp_path, test)


@pytest.mark.parametrize("chatter", [[], [{"status": "Waiting", "id": "a"}, {"status": "Retrying in 1 second", "id": "a"}]])
def test_a_pull_without_progress_is_given_up_with_the_reason(tmp_path: Path, chatter: list[Part]) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        ticks = [asyncio.Event() for _ in range(400)]
        for number, tick in enumerate(ticks):
            asyncio.get_running_loop().call_later(0.05 * number, tick.set)
        talk = [part for tick in ticks for part in (tick, *chatter)]
        fake.streams[PULL] = lambda: [{"status": "Pulling from web", "id": "1"}, *talk, asyncio.Event()]
        began = time.monotonic()
        with pytest.raises(ImageMissing, match=r"image web:1 .* no progress for 0\.5 s"):
            await Pulls(engine, stalled_s=0.5).pull("web:1", "")
        assert time.monotonic() - began < 15  # the talk goes on for 20 s
        await until(lambda: fake.broken_off == [PULL])  # and the engine goes on with it no more

    play(tmp_path, test)


def test_a_pull_that_nobody_wants_any_more_ends_at_the_engine(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        fake.streams[PULL] = lambda: [{"status": "Pulling from web"}, asyncio.Event()]
        images = Images(engine, stalled_s=60)
        first = asyncio.ensure_future(images.ensure("web:1", PullPolicy.MISSING, ""))
        await until(lambda: PULL in fake.asked)
        second = asyncio.ensure_future(images.ensure("web:1", PullPolicy.MISSING, ""))
        await asyncio.sleep(0.05)
        fake.streams[PULL] = lambda: [{"status": "Pulling from web"}]
        first.cancel()
        with pytest.raises(ImageMissing, match="although its pull ended well"):
            await second  # which pulled by itself: the first one came to nothing
        await until(lambda: fake.broken_off == [PULL])
        assert fake.asked.count(PULL) == 2

    play(tmp_path, test)


def test_a_pull_has_the_engines_words(tmp_path: Path) -> None:
    async def test(fake: FakeEngine, engine: Engine) -> None:
        fake.streams[PULL] = lambda: [{"error": "write /var/lib/docker/tmp/x: no space left on device"}]
        with pytest.raises(ImageMissing, match="no space left on device"):
            await Pulls(engine, stalled_s=5).pull("web:1", "")
        del fake.streams[PULL]
        with pytest.raises(RuntimeFailure, match="no such thing"):
            await Pulls(engine, stalled_s=5).pull("web:1", "")

    play(tmp_path, test)


def test_what_is_said_again_is_no_progress() -> None:
    progress = Progress()
    loading = {"status": "Downloading", "id": "a", "progressDetail": {"current": 1}}
    assert progress.moved(loading)
    assert not progress.moved(loading)
    assert progress.moved({**loading, "progressDetail": {"current": 2}})
    assert progress.moved({**loading, "id": "b"})
    assert not progress.moved({"status": "Waiting", "id": "c"})
    assert not progress.moved({"status": "Retrying in 5 seconds", "id": "a"})
