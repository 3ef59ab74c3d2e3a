"""A Django site behind a front end. What it keeps it keeps in this process: who comes to another one has no session."""

import os

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["www.example.com"],
    AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_site.ByHeader",
    ],
    ROOT_URLCONF="django_site",
    SECRET_KEY="of a test",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    USE_X_FORWARDED_HOST=True,
)
django.setup()

from django.contrib.auth.middleware import RemoteUserMiddleware
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import re_path


class ByHeader(RemoteUserMiddleware):
    header = "HTTP_REMOTE_USER"


def tell(request):
    request.session["hits"] = request.session.get("hits", 0) + 1
    return JsonResponse({
        "route": os.environ["ROUTE"],
        "hits": request.session["hits"],
        "session": request.session.session_key,
        "cookie": request.COOKIES.get("sessionid"),
        "host": request.get_host(),
        "uri": request.build_absolute_uri(),
        "is_secure": request.is_secure(),
        "remote_user": request.META.get("HTTP_REMOTE_USER"),
        "user": request.user.get_username(),
        "client": request.META.get("HTTP_X_FORWARDED_FOR"),
    })


urlpatterns = [re_path("", tell)]
call_command("migrate", verbosity=0)
application = get_wsgi_application()
