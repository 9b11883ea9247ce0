"""Bring the catalogue up to what wordpress.org says: which packages changed, and then what became of each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from wppackages import archives, catalogue
from wppackages.catalogue import TYPES, Package
from wppackages.settings import Settings
from wppackages.upstream import Unavailable, Upstream

AT_ONCE = 4  # requests


def discover(database: sqlite3.Connection, upstream: Upstream, whole: bool = False) -> int:
    """Read the listings until a page has no news, or all of them; how many packages are to be looked at.

    Only a whole reading finds out what is no longer listed. Raises Unavailable; what was read until then is kept.
    """
    found = 0
    for type_ in TYPES:
        seen = set[str]()
        for page in upstream.pages(type_):
            fresh = catalogue.listed(database, type_, page)
            seen.update(slug for slug, _ in page)
            found += fresh
            if not fresh and not whole:
                break
        if whole:
            found += catalogue.missed(database, type_, seen)
    return found


def update(database: sqlite3.Connection, settings: Settings, limit: int) -> Iterator[tuple[str, bool | Unavailable]]:
    """Look at the packages that are due: yields each name with whether it changed, or why there was no answer.

    Without an answer it stays due, and as it was. Each answer is kept at once: who ends this loses nothing of it.
    """
    upstream = Upstream(settings.upstream)

    def ask(package: Package) -> Package:
        info = upstream.describe(package.type, package.slug)
        return replace(package, state="closed") if info is None else replace(package, state="open", info=info)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = {pool.submit(ask, package): (package, listed) for package, listed in catalogue.due(database, limit)}
        for answer in as_completed(asked):
            package, listed = asked[answer]
            try:
                package = answer.result()
                kept = archives.mirror(settings, database, package)
            except Unavailable as error:
                yield package.name, error
                continue
            with catalogue.changing(database):
                changed = catalogue.store(database, package, listed)
                if kept:
                    archives.store(database, package, *kept)
            yield package.name, changed or kept is not None
