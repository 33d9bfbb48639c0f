"""Scope products: who answers for which scopes and until when, and ending one with notice."""

from typing import Any

import orjson
from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import NOTICE, ScopeProduct, ScopeStatus, Version
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Asked, Cell, Column, Empty, Filter, Listed, Option

_TONES = {
    ScopeStatus.DRAFT: "plain",
    ScopeStatus.ACTIVE: "good",
    ScopeStatus.DEPRECATED: "warn",
    ScopeStatus.RETIRED: "bad",
}
LIST = List(
    columns=(
        Column("Product"),
        Column("State"),
        Column("Answers for it"),
        Column("Data"),
        Column("Scopes", number=True),
        Column("Last day", number=True),
    ),
    one="scope product",
    many="scope products",
    empty=Empty("No scope products", "The policy in force has none, so every scope counts as covered."),
    filters=(
        Filter("state", "State", tuple(Option(each.value, each.value.capitalize()) for each in ScopeStatus)),
    ),
)


async def show_list(visit: Visit) -> Response:
    """List the scope products of the policy that is in force everywhere."""

    def look(ctx: Context, asked: Asked) -> Listed:
        products, _ = policies.scope_products(ctx, None)
        shown = [each for each in products if asked["state"] in {"", each.status.value}]
        rows = [
            (
                Cell(each.name.replace("_", " "), address("operations.product", each.name), each.purpose),
                Cell(each.status.value, kind="badge", tone=_TONES[each.status]),
                Cell(each.owner),
                Cell(each.data_class.value.replace("_", " ")),
                Cell(str(len(each.covers))),
                Cell(f"{each.sunset:%-d %b %Y}" if each.sunset else ""),
            )
            for each in shown
        ]
        return Listed(rows, len(rows))

    lead = "A scope is granted only as part of a product in force, and every product has an owner."
    return await visit.show_list(LIST, look, lead=lead)


async def show(visit: Visit) -> Response:
    """Show one scope product, and the form that ends it with notice."""
    return await _page(visit, fields.NO_FORM, None)


async def _page(visit: Visit, given: Form, error: Invalid | None) -> Response:
    def look(ctx: Context) -> dict[str, Any]:
        products, _ = policies.scope_products(ctx, None)
        found = _named(products, visit.param())
        others = [each.name for each in products if each.in_force and each.name != found.name]
        return {
            "product": found,
            "tone": _TONES[found.status],
            "others": [("", "None"), *((each, each.replace("_", " ")) for each in others)],
            "ends": found.in_force and "platform_admin" in ctx.actor.roles,
            "earliest": (ctx.now + NOTICE).date(),
            "everywhere": policies.in_force(ctx).everywhere,
        }

    return visit.render(
        "console/operations/product.html",
        **fields.answered(given, error),
        days=NOTICE.days,
        **await visit.read(look),
    )


def _named(products: tuple[ScopeProduct, ...], name: str) -> ScopeProduct:
    found = next((each for each in products if each.name == name), None)
    if found is None:
        raise NotFound("product_not_found", "The policy in force has no such scope product.")
    return found


async def deprecate(visit: Visit, form: Form) -> Response:
    """Write a version of the policy in which a product is deprecated; it is put in force on its own page."""

    def verb(ctx: Context) -> Version:
        products, _ = policies.scope_products(ctx, None)
        product = _named(products, visit.param())
        sunset, begins = fields.day(form, "sunset"), fields.day(form, "deprecated_from") or ctx.now
        if sunset is None:
            raise Invalid("product_invalid", "Choose its last day.", fields={"sunset": "missing"})
        base = policies.in_force(ctx).everywhere
        document = orjson.loads(policies.get_signed(ctx, base).document)
        changed = document["scopes"][product.name] | {
            "status": ScopeStatus.DEPRECATED.value,
            "version": product.version + 1,
            "deprecated_from": begins.date().isoformat(),
            "sunset": sunset.date().isoformat(),
        }
        words = {name: form.one(name).strip() for name in ("successor", "no_successor")}
        changed = {name: value for name, value in changed.items() if name not in words}
        document["scopes"][product.name] = changed | {name: value for name, value in words.items() if value}
        note = f"Deprecate {product.name} until {sunset:%-d %b %Y}"
        return policies.add_version(ctx, document, base=base, note=note)

    try:
        made = await visit.write(verb)
    except Invalid as error:
        wrong = {name.rpartition(".")[2]: code for name, code in error.fields.items()}
        return await _page(visit, form, Invalid(error.code, error.detail, fields=wrong))
    return to(address("operations.apply", str(made.number)))
