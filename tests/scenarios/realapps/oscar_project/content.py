"""Fill a new shop by its own means: its models' methods, its pages for customers, and its dashboard for the staff."""

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib.auth.models import Group, Permission, User
from django.contrib.flatpages.models import FlatPage
from django.contrib.sites.models import Site
from django.core.files.base import ContentFile
from django.core.files.images import ImageFile
from django.db import transaction
from django.test import Client
from django.utils import timezone
from oscar.core.loading import get_class, get_model
from PIL import Image

from tests.scenarios.realapps.oscar_project import customers
from tests.scenarios.realapps.phrases import phrase, title_of

PRODUCTS = 36
CUSTOMERS = 8
ORDERS = 14

Country = get_model("address", "Country")
UserAddress = get_model("address", "UserAddress")
AttributeOptionGroup = get_model("catalogue", "AttributeOptionGroup")
Category = get_model("catalogue", "Category")
Option = get_model("catalogue", "Option")
Product = get_model("catalogue", "Product")
ProductAttribute = get_model("catalogue", "ProductAttribute")
ProductClass = get_model("catalogue", "ProductClass")
ProductImage = get_model("catalogue", "ProductImage")
ProductRecommendation = get_model("catalogue", "ProductRecommendation")
CommunicationEventType = get_model("communication", "CommunicationEventType")
Notification = get_model("communication", "Notification")
Benefit = get_model("offer", "Benefit")
Condition = get_model("offer", "Condition")
ConditionalOffer = get_model("offer", "ConditionalOffer")
Range = get_model("offer", "Range")
LinePrice = get_model("order", "LinePrice")
OrderLine = get_model("order", "Line")
OrderLineDiscount = get_model("order", "OrderLineDiscount")
OrderNote = get_model("order", "OrderNote")
PaymentEventType = get_model("order", "PaymentEventType")
ShippingEventType = get_model("order", "ShippingEventType")
Surcharge = get_model("order", "Surcharge")
Partner = get_model("partner", "Partner")
StockAlert = get_model("partner", "StockAlert")
Bankcard = get_model("payment", "Bankcard")
Source = get_model("payment", "Source")
SourceType = get_model("payment", "SourceType")
OrderAndItemCharges = get_model("shipping", "OrderAndItemCharges")
WeightBased = get_model("shipping", "WeightBased")
Voucher = get_model("voucher", "Voucher")
VoucherSet = get_model("voucher", "VoucherSet")
EventHandler = get_class("order.processing", "EventHandler")
get_unused_code = get_class("voucher.utils", "get_unused_code")


def fill() -> dict[str, int]:
    """Make all of it, and count the orders."""
    with transaction.atomic():
        staff = make_staff()
        countries = make_countries()
        partners = make_partners(staff, countries)
        kinds = make_kinds()
        products = make_products(kinds, partners, make_categories())
        make_offers(products)
        make_shipping(countries)
        make_what_lies_beside(staff, products)
    people = let_people_come()
    orders = let_them_buy(people, products)
    with transaction.atomic():
        process(orders, staff)
    let_staff_work(orders)
    settle_amounts()
    return {"orders": len(orders)}


def settle_amounts() -> None:
    """Write amounts as Django reads them.

    Oscar divides discounts among lines. SQLite stores all digits of the parts, and a move of them is refused.
    """
    for model, fields in (
        (OrderLine, ["line_price_excl_tax"]),
        (LinePrice, ["price_incl_tax", "price_excl_tax"]),
        (OrderLineDiscount, ["amount"]),
    ):
        model.objects.bulk_update(model.objects.all(), fields)


def picture(number: int) -> ImageFile:
    data = io.BytesIO()
    Image.new("RGB", (60 + number, 40), (number * 7 % 256, 99, 200)).save(data, "PNG")
    return ImageFile(io.BytesIO(data.getvalue()), name=f"picture{number}.png")


def make_staff() -> list[User]:
    chief = User.objects.create_superuser("chief", "chief@example.com", customers.PASSWORD, last_name="Ø'Neill")
    group = Group.objects.create(name="Fulfilment ⛵")
    group.permissions.set(Permission.objects.filter(content_type__app_label__in=["order", "partner"]))
    EmailAddress.objects.create(user=chief, email=chief.email, verified=True, primary=True)
    staff = [chief]
    for number in range(3):
        user = User.objects.create_user(
            f"staff{number}", f"staff{number}@example.com", customers.PASSWORD, is_staff=True
        )
        user.groups.add(group)
        user.user_permissions.add(Permission.objects.get(codename="dashboard_access"))
        staff.append(user)
    return staff


def make_countries() -> list[Any]:
    names = {"GB": "United Kingdom", "DE": "Deutschland", "JP": "日本", "PT": "Portugal", "CI": "Côte d’Ivoire"}
    return [
        Country.objects.create(
            iso_3166_1_a2=code, printable_name=name, name=name.upper(), display_order=n,
            is_shipping_country=code != "CI",
        )
        for n, (code, name) in enumerate(names.items())
    ]  # fmt: skip


def make_partners(staff: list[User], countries: list[Any]) -> list[Any]:
    partners = []
    for number in range(3):
        partner = Partner.objects.create(name=phrase(number))
        partner.users.set(staff[: number + 1])
        partner.addresses.create(line1=phrase(number), postcode="n1 9rt", country=countries[number], search_text="x")
        partners.append(partner)
    return partners


def make_kinds() -> list[Any]:
    """Make kinds of products with an attribute of every type, and options that customers choose."""
    colours = AttributeOptionGroup.objects.create(name="Colours", code="colours")
    for number in range(6):
        colours.options.create(option=phrase(number), code=f"c{number}")
    kinds = []
    for number, name in enumerate(("Book", "Tea — loose", "Voucher")):
        kind = ProductClass.objects.create(name=name, requires_shipping=number < 2, track_stock=number < 2)
        for type_, title in ProductAttribute.TYPE_CHOICES:
            group = colours if "option" in type_ else None
            kind.attributes.create(name=str(title), code=f"a_{type_}", type=type_, option_group=group)
        kinds.append(kind)
    for number, (type_, title) in enumerate(Option.TYPE_CHOICES):
        group = colours if type_ in ("select", "radio", "multi_select", "checkbox") else None
        option = Option.objects.create(name=str(title), type=type_, order=number, option_group=group)
        kinds[1].options.add(option)
    return kinds


def make_categories() -> list[Any]:
    """Grow a tree, and move, delete and hide some of it."""
    roots = [Category.add_root(name=f"Shelf {letter}", code=letter) for letter in "CABD"]
    branches = [
        root.add_child(name=title_of(number), description=phrase(number), image=picture(number))
        for number, root in enumerate(roots * 2)
    ]
    leaves = [branch.add_child(name=f"Leaf {number}") for number, branch in enumerate(branches)]
    Category.objects.get(pk=branches[0].pk).move(Category.objects.get(pk=roots[1].pk), "first-child")
    Category.objects.get(pk=leaves[-1].pk).delete()
    hidden = Category.objects.get(pk=branches[3].pk)
    hidden.is_public = False
    hidden.save()
    return [Category.objects.get(pk=category.pk) for category in (*branches, *leaves[:-1])]


def make_products(kinds: list[Any], partners: list[Any], categories: list[Any]) -> list[Any]:
    """Make products with values of all attributes, variants of some, and stock of what is sold."""
    red, blue, *_ = AttributeOptionGroup.objects.get().options.all()
    made = []
    for number in range(PRODUCTS):
        kind = kinds[number % 3]
        has_variants = number % 9 == 8
        product = Product(
            title=title_of(number), upc=f"upc/{number} ü" if number % 4 else None, product_class=kind,
            description=f"<p>{phrase(number)}</p>", priority=number - 20, is_public=number % 12 != 11,
            structure="parent" if has_variants else "standalone",
            meta_description=None if number % 2 else phrase(number),
        )  # fmt: skip
        if number % 2:
            attributes: dict[str, Any] = {
                "text": phrase(number), "integer": -number, "boolean": bool(number % 4), "float": 0.1 * number,
                "richtext": f"<b>{phrase(number)}</b>", "date": date(1969, 12, 31),
                "datetime": datetime(2038, 1, 19, 3, 14, 8, 999999, tzinfo=UTC), "option": red,
                "multi_option": [red, blue], "entity": partners[number % 3],
                "file": ContentFile(b"\x00\xff", name=f"leaflet{number}.bin"), "image": picture(number),
            }  # fmt: skip
            for code, value in attributes.items():
                setattr(product.attr, f"a_{code}", value)
        product.save()
        product.categories.set([categories[number % len(categories)], categories[number * 5 % len(categories)]])
        sold = [product]
        if has_variants:
            sold = [
                Product.objects.create(
                    structure="child", parent=product, title=f"{product.title} {size}", upc=f"{number}{size}"
                )
                for size in "SML"
            ]
        for one in sold:
            one.stockrecords.create(
                partner=partners[number % 3], partner_sku=f"{one.pk}·{number}", price=Decimal(number * 7 + 1) / 4,
                num_in_stock=0 if number == 5 else 500, low_stock_threshold=number,
            )  # fmt: skip
        for order in range(number % 3):
            ProductImage.objects.create(
                product=product, original=picture(number), caption=phrase(order), display_order=order
            )
        if made:
            ProductRecommendation.objects.create(primary=product, recommendation=made[-1], ranking=number)
        made.append(product)
    return made


def make_offers(products: list[Any]) -> None:
    everything = Range.objects.create(name="Everything", includes_all_products=True)
    some = Range.objects.create(name="Some ⛵", is_public=True, description=phrase(1))
    for number, product in enumerate(products[:9]):
        some.add_product(product, display_order=-number)
    some.excluded_products.add(products[20])
    some.classes.add(ProductClass.objects.first())
    some.included_categories.add(Category.objects.first())
    now = timezone.now()
    vouchers = []
    for number, (range_, kind, value) in enumerate(
        (
            (everything, Benefit.PERCENTAGE, Decimal(10)),
            (some, Benefit.FIXED, Decimal("2.50")),
            (some, Benefit.PERCENTAGE, Decimal("33.33")),
        )
    ):
        offer = ConditionalOffer.objects.create(
            name=f"Offer {title_of(number)}", description=phrase(number), priority=-number,
            offer_type=ConditionalOffer.VOUCHER if number else ConditionalOffer.SITE,
            condition=Condition.objects.create(range=range_, type=Condition.COUNT, value=1),
            benefit=Benefit.objects.create(range=range_, type=kind, value=value),
            exclusive=False, start_datetime=now - timedelta(days=1), max_discount=None if number else Decimal(1000),
        )  # fmt: skip
        if number:
            voucher = Voucher.objects.create(
                name=phrase(number), code=f"SAVE{number}", usage=Voucher.MULTI_USE,
                start_datetime=now - timedelta(days=1), end_datetime=now + timedelta(days=365),
            )  # fmt: skip
            voucher.offers.add(offer)
            vouchers.append(offer)
    vouchers[0].combinations.add(vouchers[1])
    letters = VoucherSet.objects.create(
        name="Letters", count=5, description=phrase(2), start_datetime=now, end_datetime=now + timedelta(days=9)
    )
    for number in range(letters.count):
        Voucher.objects.create(
            name=f"Letter {number}", code=get_unused_code(), voucher_set=letters,
            start_datetime=letters.start_datetime, end_datetime=letters.end_datetime,
        )  # fmt: skip


def make_shipping(countries: list[Any]) -> None:
    by_order = OrderAndItemCharges.objects.create(
        name="Post", price_per_order=Decimal("2.50"), price_per_item=Decimal("0.35")
    )
    by_order.countries.set(countries)
    by_weight = WeightBased.objects.create(name="By ship ⛵", default_weight=Decimal("0.125"))
    by_weight.countries.set(countries[:2])
    for number in range(4):
        by_weight.bands.create(upper_limit=Decimal(number + 1) / 8, charge=Decimal(number) * Decimal("1.99"))


def make_what_lies_beside(staff: list[User], products: list[Any]) -> None:
    site = Site.objects.get()
    site.domain, site.name = "shop.example.com", "Ünser Shop"
    site.save()
    for number in range(3):
        page = FlatPage.objects.create(url=f"/about/{number}/", title=title_of(number), content=phrase(number))
        page.sites.add(site)
        app = SocialApp.objects.create(
            provider="github", name=f"App {number}", client_id=f"id{number}", secret="s" * 191,
            settings={"scope": ["ü", None, 1.5]},
        )  # fmt: skip
        app.sites.add(site)
        CommunicationEventType.objects.create(
            code=f"EVENT_{number}", name=phrase(number), email_subject_template="{{ order.number }}",
            email_body_template=phrase(7),
        )  # fmt: skip
        Notification.objects.create(
            recipient=staff[0], sender=staff[number], subject=title_of(number), body=phrase(number)
        )
        StockAlert.objects.create(stockrecord=products[number].stockrecords.get(), threshold=number)


def let_people_come() -> dict[str, Client]:
    """Let customers sign up, two of them with a second factor, and others come from another network."""
    people = {}
    for number in range(CUSTOMERS):
        address = f"customer{number}@example.com"
        people[address] = customers.sign_up(address)
        if number < 2:
            customers.protect(people[address], address)
        if number == 3:
            people[address].post("/id/email/", {"action_add": "", "email": "second@example.com"})
    for number in range(3):
        address = f"elsewhere{number}@example.com"
        people[address] = customers.log_in_through_network(2**40 + number, address)
    for account in SocialAccount.objects.all():
        SocialToken.objects.create(
            app=SocialApp.objects.first(), account=account, token="t" * 3000, expires_at=timezone.now()
        )
    customers.remember(people)
    return people


def let_them_buy(people: dict[str, Client], products: list[Any]) -> list[Any]:
    sold = [
        product for product in products if product.is_public and not product.is_parent and product.pk != products[5].pk
    ]
    options = {
        option.code: {"integer": "7", "boolean": "on", "float": "0.1", "date": "2024-02-29"}.get(option.type, "c1")
        for option in Option.objects.all()
    }
    for option in Option.objects.exclude(option_group=None):
        options[option.code] = option.option_group.options.all()[0].option
    orders = []
    buyers = list(people.items())
    for number in range(ORDERS):
        address, browser = buyers[number % len(buyers)]
        guest = None
        if number % 5 == 4:
            browser, guest = Client(), f"guest{number}@example.com"
        for product in (sold[number], sold[number * 2 + 1]):
            chosen = options if product.product_class.options.exists() else {}
            customers.put_into_basket(browser, product, number % 3 + 1, **chosen)
        if number % 2:
            browser.post("/basket/vouchers/add/", {"code": "SAVE1"})
        orders.append(customers.check_out(browser, number, guest=guest))
        assert orders[-1].lines.count() == 2
    for number, (address, browser) in enumerate(people.items()):
        product = sold[number + 4]
        assert browser.get(product.get_absolute_url()).status_code == 200
        browser.get("/search/", {"q": title_of(number)})
        review = {"title": title_of(number), "body": phrase(number), "score": number % 5 + 1}
        browser.post(f"{product.get_absolute_url()}reviews/add/", review)
        browser.post(f"/accounts/wishlists/add/{product.pk}/")
        browser.post(f"/accounts/alerts/create/{products[5].pk}/", {})
        user = User.objects.get(email=address)
        UserAddress.objects.create(
            user=user, line1=phrase(number), line4="X", postcode="n1 9rt", country_id="GB", phone_number="+4930901820"
        )
        Bankcard.objects.create(
            user=user, card_type="Visa", name=phrase(1), number="4111111111111111", expiry_date=date(2040, 2, 29)
        )
        # What is in the baskets when the shop moves.
        customers.put_into_basket(browser, sold[0], number + 1)
    first = sold[4].reviews.first()
    list(people.values())[1].post(f"{sold[4].get_absolute_url()}reviews/{first.pk}/vote/", {"delta": 1})
    return orders


def process(orders: list[Any], staff: list[User]) -> None:
    """Take the money, and send the goods."""
    paid, refunded = (PaymentEventType.objects.create(name=name) for name in ("Paid", "Refunded"))
    sent = ShippingEventType.objects.create(name="Sent ⛵")
    bank = SourceType.objects.create(name="Bank transfer")
    handler = EventHandler(staff[0])
    for number, order in enumerate(orders):
        source = Source.objects.create(source_type=bank, order=order, currency="GBP", reference=phrase(number))
        source.allocate(order.total_incl_tax, reference=phrase(0))
        source.debit(order.total_incl_tax)
        lines = list(order.lines.all())
        quantities = [line.quantity for line in lines]
        handler.handle_payment_event(
            order, refunded if number % 4 == 3 else paid, order.total_incl_tax, lines, quantities
        )
        if number % 2:
            handler.handle_shipping_event(order, sent, lines, quantities, reference="x")
        order.set_status("Cancelled" if number % 4 == 3 else "Sent")
        OrderNote.objects.create(order=order, user=staff[number % len(staff)], message=phrase(number), note_type="Info")
        Surcharge.objects.create(
            order=order, name=phrase(number), code="c", incl_tax=Decimal("0.10"), excl_tax=Decimal("0.05")
        )


def let_staff_work(orders: list[Any]) -> None:
    """Work in the dashboard and in the admin."""
    staff = Client()
    customers.log_in(staff, "chief@example.com")
    staff.post(f"/dashboard/orders/{orders[0].number}/", {"order_action": "save_note", "message": phrase(7)})
    for number in range(3):
        page = {"url": f"/shipping/{number}/", "title": title_of(number), "content": phrase(number)}
        assert staff.post("/dashboard/pages/create/", page).status_code == 302
        country = {"iso_3166_1_a2": f"Z{number}", "printable_name": phrase(number), "name": "z", "display_order": 1}
        assert staff.post("/admin/address/country/add/", country).status_code == 302
