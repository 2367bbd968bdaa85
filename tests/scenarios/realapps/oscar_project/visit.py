"""Look at the shop after a move, and go on working with it: its pages, its customers, its checkout, its dashboard."""

import html
import io
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection, models
from django.test import Client, override_settings
from oscar.core.loading import get_model

from tests.scenarios.realapps import comparison
from tests.scenarios.realapps.oscar_project import customers

AttributeOption = get_model("catalogue", "AttributeOption")
Category = get_model("catalogue", "Category")
Hierarchy = get_model("catalogue", "ProductCategoryHierarchy")
Product = get_model("catalogue", "Product")
LineAttribute = get_model("order", "LineAttribute")
Order = get_model("order", "Order")
OrderLine = get_model("order", "Line")


def compare() -> dict[str, Any]:
    return comparison.compare()


def verify() -> list[str]:
    return comparison.verify()


def materialized_view() -> dict[str, Any]:
    """Refresh the view that Oscar's migrations create on PostgreSQL alone, as it does when a category changes."""
    if connection.vendor != "postgresql":
        return {}
    with connection.cursor() as cursor:
        cursor.execute(f"REFRESH MATERIALIZED VIEW {Hierarchy._meta.db_table}")
    return {"products": Hierarchy.objects.values("product_id").distinct().count()}


def stay() -> dict[str, Any]:
    """Come with the browsers from before the first move, of which each has a customer logged in and a basket."""
    return _who_is_logged_in()


def _who_is_logged_in() -> dict[str, Any]:
    wrong = []
    for who, browser in customers.browsers().items():
        address, basket = browser.get("/id/email/"), browser.get("/basket/")
        if address.status_code != 200 or who not in address.content.decode():
            wrong.append(f"{who}: {address.status_code}")
        if basket.context["basket"].owner.email != who or not basket.context["basket"].num_items:
            wrong.append(f"{who}: {basket.context['basket']}")
    return {"people": len(customers.browsers()), "wrong": wrong}


def look() -> dict[str, Any]:
    """Open the pages of all products and categories as a visitor, and those of the dashboard as staff."""
    visitor, staff = Client(), Client()
    customers.log_in(staff, "chief@example.com")
    order, product = Order.objects.order_by("pk")[0], Product.objects.order_by("pk")[0]
    shown = [
        *(
            (visitor, one.get_absolute_url(), one.get_title())
            for one in Product.objects.browsable().filter(is_public=True)
        ),
        *((visitor, one.get_absolute_url(), one.name) for one in Category.objects.browsable()),
        (visitor, "/offers/", "Offer"),
        (visitor, "/about/1/", "zwei Ufer"),
        (staff, "/dashboard/", "Dashboard"),
        (staff, f"/dashboard/orders/{order.number}/", order.number),
        (staff, f"/dashboard/catalogue/products/{product.pk}/", product.title),
        (staff, "/dashboard/users/", "elsewhere"),
        (staff, "/dashboard/offers/", "Offer"),
        (staff, "/dashboard/vouchers/sets/", "Letters"),
        (staff, "/admin/order/order/", order.number),
    ]
    wrong = []
    for browser, address, text in shown:
        answer = browser.get(address)
        if answer.status_code != 200 or _words(text) not in _words(html.unescape(answer.content.decode())):
            wrong.append(f"{address}: {answer.status_code}")
    return {"pages": len(shown), "wrong": wrong}


def _words(text: str) -> str:
    return " ".join(text.split())


def log_in() -> dict[str, Any]:
    """Log in with a password, with a second factor, with a recovery code, and through another network."""
    plain, protected, lost = Client(), Client(), Client()
    customers.log_in(plain, "customer4@example.com")
    customers.log_in(protected, "customer0@example.com")
    codes = customers.recovery_codes("customer1@example.com")
    customers.log_in(lost, "customer1@example.com", codes[0])
    accounts = SocialAccount.objects.count()
    known = customers.log_in_through_network(2**40 + 1, "elsewhere1@example.com")
    return {
        "who": [User.objects.get(pk=one.session["_auth_user_id"]).email for one in (plain, protected, lost, known)],
        "recovery codes used": len(codes) - len(customers.recovery_codes("customer1@example.com")),
        "new accounts": SocialAccount.objects.count() - accounts,
    }


def go_on() -> dict[str, Any]:
    """Sign up, buy, and add to the catalogue; return which new keys are not the next ones."""
    kinds: list[type[models.Model]] = [User, EmailAddress, Order, OrderLine, LineAttribute, Product]
    last = {kind: kind._default_manager.aggregate(last=models.Max("pk"))["last"] for kind in kinds}
    address = f"after{last[User]}@example.com"
    browser = customers.sign_up(address)
    chosen = OrderLine.objects.filter(attributes__isnull=False).order_by("pk")[0]
    options = {one.option.code: one.value for one in chosen.attributes.all()}
    customers.put_into_basket(browser, chosen.product, 2, **options)
    order = customers.check_out(browser, last[Order])
    line = order.lines.get()
    product = Product(title="New ⛵", product_class=line.product.product_class, upc=f"after/{last[Product]}")
    product.attr.a_multi_option = list(AttributeOption.objects.order_by("pk")[:3])
    product.save()
    shelf = Category.objects.filter(depth=1).order_by("pk")[0]
    child = shelf.add_child(name=f"After {last[Product]}")
    made = [
        User.objects.get(email=address),
        EmailAddress.objects.get(email=address),
        order,
        line,
        line.attributes.order_by("pk")[0],
        product,
    ]
    return {
        "quantity": line.quantity,
        "options": {one.option.code: one.value for one in line.attributes.all()} == options,
        "order": order.number in browser.get("/accounts/orders/").content.decode(),
        "child": child.get_parent() == shelf,
        "not the next key": [
            f"{kind.__name__}: {new.pk} after {last[kind]}" for kind, new in zip(kinds, made, strict=True)
            if new.pk != last[kind] + 1
        ],
    }  # fmt: skip


def move_sessions() -> dict[str, Any]:
    """Move the sessions to Redis, and come with the same browsers."""
    caches["sessions"].clear()
    said = io.StringIO()
    call_command("copy_sessions_db_to_cache", source=connection.alias, dest="sessions", no_input=True, stdout=said)
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache", SESSION_CACHE_ALIAS="sessions"):
        found = _who_is_logged_in()
    return {**found, "said": said.getvalue().splitlines()}
