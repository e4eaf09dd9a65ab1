"""A Django site with a login form and WebSockets: `python django_site.py PORT DATABASE SETTING`.

SETTING is a line of a settings module, the one that docs/recipes/django.md has for a site behind a proxy.
"""

import ast
import re
import sys
import threading

import django
from django.conf import settings
from django.http import HttpResponse, HttpResponseForbidden, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

LOGIN_PAGE = '<form method="post">{% csrf_token %}{{ form }}<button>Log in</button></form>'

released = threading.Event()
taken = 0


def seen(request):
    """What the site knows of who asks."""
    names = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Host", "Forwarded", "X-Real-IP")
    return {
        "user": request.user.get_username(),
        "secure": request.is_secure(),
        "target": request.META["RAW_TARGET"],
        **{name: request.headers.get(name) for name in names},
    }


def me(request):
    return JsonResponse(seen(request))


@csrf_exempt
def websocket(request):
    event = request.headers.get("ce-type")
    if event == "sidesocket.open":
        if not request.user.is_authenticated:
            return HttpResponse("Log in first.", status=401)
        return HttpResponse(status=204, headers={"Sidesocket-Subscribe": "news"})
    if event == "sidesocket.message":
        return JsonResponse(seen(request))
    return HttpResponse(status=204 if event == "sidesocket.close" else 400)


def stream(request):
    """Sends the first line, and the second when it is told to."""
    released.clear()

    def lines():
        yield "first\n"
        released.wait(30)
        yield "second\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


def release(request):
    released.set()
    return HttpResponse()


@csrf_exempt
def upload(request):
    """Counts what comes of the body, as it comes."""
    global taken
    taken = 0
    while part := request.read(4096):
        taken += len(part)
    return HttpResponse(str(taken))


def uploaded(request):
    return HttpResponse(str(taken))


urlpatterns = [
    re_path(r"^me\b", me),
    path("ws", websocket),
    path("events", websocket),
    path("stream", stream),
    path("release", release),
    path("upload", upload),
    path("uploaded", uploaded),
]


def main(port, database, setting):
    name, value = re.fullmatch(r"(\w+) = (.+)", setting).groups()
    settings.configure(
        SECRET_KEY="not secret",
        ALLOWED_HOSTS=["shop.example"],
        ROOT_URLCONF=__name__,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {"login.html": LOGIN_PAGE})]},
            }
        ],
        # Quick, for a user of a test.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGIN_REDIRECT_URL="/me",
        SECURE_SSL_REDIRECT=True,
        SESSION_COOKIE_SECURE=True,
        CSRF_COOKIE_SECURE=True,
        CSRF_FAILURE_VIEW="__main__.csrf_failure",
        **{name: ast.literal_eval(value)},
    )
    django.setup()
    from django.contrib.auth import get_user_model
    from django.contrib.auth.views import LoginView
    from django.core.management import call_command
    from django.core.servers.basehttp import WSGIRequestHandler, run
    from django.core.wsgi import get_wsgi_application

    urlpatterns.append(path("login", LoginView.as_view(template_name="login.html")))
    call_command("migrate", run_syncdb=True, verbosity=0)
    get_user_model().objects.create_user("alice", password="wonderland")
    environment = WSGIRequestHandler.get_environ
    WSGIRequestHandler.get_environ = lambda self: {**environment(self), "RAW_TARGET": self.path}
    # Head and body of an answer in one packet.
    WSGIRequestHandler.wbufsize = -1
    run("127.0.0.1", port, get_wsgi_application(), threading=True)


def csrf_failure(request, reason=""):
    return HttpResponseForbidden(reason)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
