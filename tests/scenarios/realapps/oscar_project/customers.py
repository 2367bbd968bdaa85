"""What customers do in the shop, by its own pages: sign up, log in, with a second factor too, and buy."""

import json
import re
from collections.abc import Sequence
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt
from django.conf import settings
from django.core import mail
from django.test import Client
from oscar.core.loading import get_model

PASSWORD = "Correct-horse-7"
# By the address of who is logged in, the session's key in a browser.
BROWSERS = settings.RUN_DIRECTORY / "oscar-browsers.json"

ADDRESSES: Sequence[dict[str, str]] = (
    {"country": "GB", "postcode": "N1 9RT", "line4": "London", "phone_number": "+44 20 7946 0018"},
    {"country": "DE", "postcode": "10115", "line4": "Köln-Mülheim", "phone_number": "+49 30 901820"},
    {"country": "JP", "postcode": "100-0001", "line4": "東京", "phone_number": ""},
    {"country": "PT", "postcode": "1000-205", "line4": "Évora ⛵", "phone_number": ""},
)

Order = get_model("order", "Order")


def sign_up(address: str) -> Client:
    """Sign up, follow the link in the message, and log in."""
    browser = Client(headers={"user-agent": f"Browser of {address} ⛵"})
    mail.outbox.clear()
    _post(browser, "/id/signup/", {"email": address, "password1": PASSWORD})
    link = re.search(r"http://\S+(/id/confirm-email/\S+/)", mail.outbox[-1].body)
    assert link
    _post(browser, link[1], {})
    if "_auth_user_id" not in browser.session:
        log_in(browser, address)
    return browser


def log_in(browser: Client, address: str, code: str | None = None) -> None:
    answer = _post(browser, "/id/login/", {"login": address, "password": PASSWORD})
    if "/2fa/" in answer["Location"]:
        _post(browser, answer["Location"], {"code": code or totp_code(address)})
    assert "_auth_user_id" in browser.session


def log_in_through_network(number: int, address: str) -> Client:
    """Log in as a user whom another network knows, and sign up by that at the first time."""
    browser = Client()
    there = _post(browser, "/id/dummy/login/", {})["Location"]
    person = {"id": number, "email": address, "email_verified": "on", "first_name": "名", "last_name": "Ø'Neill"}
    _post(browser, there, person)
    assert "_auth_user_id" in browser.session
    return browser


def protect(browser: Client, address: str) -> None:
    """Add a second factor, which gives recovery codes too."""
    _post(browser, "/id/reauthenticate/?next=/id/2fa/totp/activate/", {"password": PASSWORD})
    assert browser.get("/id/2fa/totp/activate/").status_code == 200
    secret = browser.session[totp.SECRET_SESSION_KEY]
    _post(browser, "/id/2fa/totp/activate/", {"code": _code_of(secret)})
    assert Authenticator.objects.filter(user__email=address).count() == 2


def totp_code(address: str) -> str:
    """Return the code that the customer's application shows now."""
    factor = Authenticator.objects.get(user__email=address, type=Authenticator.Type.TOTP)
    return _code_of(decrypt(factor.data["secret"]))


def recovery_codes(address: str) -> list[str]:
    """Return the recovery codes that the customer has not used yet."""
    factor = Authenticator.objects.get(user__email=address, type=Authenticator.Type.RECOVERY_CODES)
    codes: list[str] = factor.wrap().get_unused_codes()
    return codes


def _code_of(secret: str) -> str:
    _, now, _ = totp.yield_hotp_counters_from_time()
    return totp.format_hotp_value(totp.hotp_value(secret, now))


def put_into_basket(browser: Client, product: Any, quantity: int = 1, **options: str) -> None:
    _post(browser, f"/basket/add/{product.pk}/", {"quantity": quantity} | options)


def check_out(browser: Client, number: int, *, guest: str | None = None) -> Any:
    """Buy what is in the basket, have it sent to one of the addresses, and return the order."""
    last = Order.objects.order_by("pk").last()
    if guest:
        _post(browser, "/checkout/", {"username": guest, "options": "anonymous"})
    person = {"first_name": "Ana", "last_name": "Ó 'Brien", "line1": f"{number} Ferry Road", "notes": "Ring ⛵\nTwice."}
    _post(browser, "/checkout/shipping-address/", person | ADDRESSES[number % len(ADDRESSES)])
    assert browser.get("/checkout/shipping-method/").status_code == 302
    answer = _post(browser, "/checkout/preview/", {"action": "place_order"})
    assert answer["Location"] == "/checkout/thank-you/", answer["Location"]
    return Order.objects.filter(pk__gt=last.pk if last else 0).get()


def remember(browsers: dict[str, Client]) -> None:
    """Keep the sessions of browsers, for the processes after this one."""
    BROWSERS.write_text(
        json.dumps({who: one.cookies[settings.SESSION_COOKIE_NAME].value for who, one in browsers.items()})
    )


def browsers() -> dict[str, Client]:
    """Return browsers that have these sessions, by who is logged in."""
    found = {}
    for who, key in json.loads(BROWSERS.read_text()).items():
        found[who] = Client(headers={"user-agent": f"Browser of {who} ⛵"})
        found[who].cookies[settings.SESSION_COOKIE_NAME] = key
    return found


def _post(browser: Client, address: str, words: dict[str, Any]) -> Any:
    answer = browser.post(address, words)
    assert answer.status_code == 302, (
        f"{address}: {answer.status_code} {answer.context and answer.context['form'].errors}"
    )
    return answer
