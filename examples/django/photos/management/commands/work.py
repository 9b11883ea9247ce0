"""The worker: it makes the digest of each photo that has none."""

import hashlib
import signal
import threading

from django.core.management.base import BaseCommand

from photos.models import Photo


class Command(BaseCommand):
    """Works until it is told to end; the photo at hand it finishes."""

    help = "Makes the digest of each photo."

    def handle(self, **_options: object) -> None:
        """Look for work once a second: that of two releases may do the same photo, to the same end."""
        over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: over.set())
        while not over.is_set():
            photo = Photo.objects.filter(digest="").first()
            if photo is None:
                over.wait(1)
                continue
            with photo.file.open("rb") as file:
                digest = hashlib.file_digest(file.file, "sha256").hexdigest()
            Photo.objects.filter(pk=photo.pk).update(digest=digest)
            self.stdout.write(f"{photo.file.name} {digest}")
