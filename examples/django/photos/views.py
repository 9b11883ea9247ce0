"""The one page: the photos, and a form for another one."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from photos.models import Photo


@require_http_methods(["GET", "HEAD", "POST"])
def photos(request: HttpRequest) -> HttpResponse:
    """Show the newest photos, or take another one."""
    if request.method == "POST" and "file" in request.FILES:
        Photo.objects.create(file=request.FILES["file"])
        return redirect("/")
    return render(request, "photos.html", {"photos": Photo.objects.order_by("-id")[:20]})
