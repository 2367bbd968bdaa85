"""Wagtail's own addresses, none of ours: its admin, its API, documents, and pages for all the rest."""

from django.urls import include, path
from wagtail import urls as wagtail_urls
from wagtail.admin import urls as admin_urls
from wagtail.api.v2.router import WagtailAPIRouter
from wagtail.api.v2.views import PagesAPIViewSet
from wagtail.documents import urls as documents_urls

router = WagtailAPIRouter("api")
router.register_endpoint("pages", PagesAPIViewSet)

urlpatterns = [
    path("admin/", include(admin_urls)),
    path("documents/", include(documents_urls)),
    path("api/", router.urls),
    path("", include(wagtail_urls)),
]
