"""`terraprobe sources`: where data come from, on which terms, what is here already, what answers now."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from terraprobe.sources import Source, read_sources

TIMEOUT_S = 5.0
DOWNLOADS = Path("resources/downloads")


def sources_command(arguments: Sequence[str]) -> int:
    """`terraprobe sources [--offline] [DATASET …]`: print the registry of sources, and what of it is here.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(prog="terraprobe sources", description="where data come from, and on which terms")
    parser.add_argument("dataset", nargs="*", choices=[[], *read_sources()], help="all of them where none is named")
    parser.add_argument("--offline", action="store_true", help="ask no server whether it answers")
    given = parser.parse_args(arguments)
    sources = [source for name, source in read_sources().items() if not given.dataset or name in given.dataset]
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda source: "not asked" if given.offline else answers_now(source), sources)
        for source, answer in zip(sources, answers, strict=True):
            print(describe(source, answer))
    return 0


def describe(source: Source, answer: str) -> str:
    """What people want to know of a source, in five lines."""
    where = f"resources/downloads/{source.folder}" if source.folder else "nowhere: asked for in each study"
    return (
        f"{source.dataset}: {source.title} ({source.version}), {source.size}\n"
        f"    needs    {source.needs}\n"
        f"    licence  {source.licence}\n"
        f"    for      {source.used_by}\n"
        f"    here     {'yes' if is_here(source) else 'no'} ({where}); reachable: {answer}"
    )


def is_here(source: Source, downloads: Path = DOWNLOADS) -> bool:
    """Whether something of it lies in its folder."""
    return any(next(iter((downloads / source.folder).glob(pattern)), None) for pattern in source.looks)


def answers_now(source: Source) -> str:
    """Whether the server of its first address answers, within a few seconds, whatever it answers."""
    import requests

    from terraprobe.acquire.remote import EnvironmentSession

    url = next((part.urls[0] for part in source.downloads), source.tiles.rpartition("/")[0] or source.home)
    if not url:
        return "not asked"
    host = urlsplit(url).hostname
    try:
        status = EnvironmentSession().head(url, timeout=TIMEOUT_S, allow_redirects=True).status_code
    except requests.RequestException:
        return f"no ({host} does not answer within {TIMEOUT_S:g} s)"
    # Some servers refuse to be asked for the head alone, or without a login: they are there.
    return "yes" if status < 400 or status in (401, 403, 405) else f"no ({host} answers HTTP {status})"
