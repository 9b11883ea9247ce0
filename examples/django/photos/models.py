"""What is kept of a photo."""

from django.db import models


class Photo(models.Model):
    """A file that a visitor left, and its digest, once the worker has made it."""

    file = models.FileField()
    digest = models.CharField(max_length=64, blank=True, db_default="")
    at = models.DateTimeField(auto_now_add=True)
