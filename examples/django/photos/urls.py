"""Where pages are."""

from django.conf import settings
from django.conf.urls.static import static
from django.urls import path

from photos import views

urlpatterns = [
    path("", views.photos),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),  # with DEBUG alone
]
