"""The names of the variables that gapless hands to a release: its server reads them, and its other programs may."""

from __future__ import annotations

PREFIX = "GAPLESS_"

RELEASE = f"{PREFIX}RELEASE"  # which release runs
SHARED = f"{PREFIX}SHARED"  # the directory of the app's own data

# For `gapless serve`; spans are in seconds.
PRIVATE = f"{PREFIX}PRIVATE"  # the path of the private socket
CHECK = f"{PREFIX}CHECK"  # the path that must answer before the first visitor
CHECK_HOST = f"{PREFIX}CHECK_HOST"
CHECK_SCHEME = f"{PREFIX}CHECK_SCHEME"
CHECK_HEADERS = f"{PREFIX}CHECK_HEADERS"  # NAME=value, with a tab between two
CHECK_TIMEOUT = f"{PREFIX}CHECK_TIMEOUT"
RUNTIME = f"{PREFIX}RUNTIME"  # a directory of this instance alone, empty at its start
ASSETS = f"{PREFIX}ASSETS"  # the directory of public files, of this release and of those before
UPLOADS = f"{PREFIX}UPLOADS"  # directories that visitors read: PREFIX=DIRECTORY, with a tab between two
LINGER = f"{PREFIX}LINGER"
REQUESTS = f"{PREFIX}REQUESTS"
STREAMS = f"{PREFIX}STREAMS"
HEAD_TIMEOUT = f"{PREFIX}HEAD_TIMEOUT"
HEAD_SIZE = f"{PREFIX}HEAD_SIZE"  # in bytes
BODY_TIMEOUT = f"{PREFIX}BODY_TIMEOUT"
