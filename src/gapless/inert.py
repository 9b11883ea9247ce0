"""What a browser is told of a file that a visitor gave to the app: it may show it, and run nothing of it."""

from __future__ import annotations

POLICY = "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; sandbox"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
