"""Operations on templates."""

from __future__ import annotations

from klaviyo_simulator.account import Account
from klaviyo_simulator.bodies import FREE, TEXT, TEXT_OR_NULL, Body, choice, data, fields, resource
from klaviyo_simulator.documents import many, one
from klaviyo_simulator.documents import resource as document
from klaviyo_simulator.errors import JsonObject, conflict, invalid, not_found, not_implemented
from klaviyo_simulator.filters import COMPARE, matches, moment, text
from klaviyo_simulator.limits import L, S
from klaviyo_simulator.ordering import Ordering
from klaviyo_simulator.paging import paginate
from klaviyo_simulator.query import QuerySpec, names
from klaviyo_simulator.routing import Call, Operation, Reply
from klaviyo_simulator.templating import MOST_TEMPLATES, Template, clone, fill, new_template, templates_of
from klaviyo_simulator.times import iso

FIELDS = names("amp created editor_type html id name text updated definition")


def the_template(account: Account, template_id: str) -> Template:
    found = templates_of(account).get(template_id)
    if found is None:
        raise not_found(f"A template with id {template_id} does not exist.")
    return found


def template_resource(call: Call, item: Template, **rendered: str) -> JsonObject:
    attributes: JsonObject = {
        "name": item.name,
        "editor_type": item.editor_type,
        "html": item.html,
        "text": item.text,
        "amp": item.amp,
        "created": iso(item.created),
        "updated": iso(item.updated),
    }
    return document(call, "template", item.id, attributes | rendered)


def get_templates(call: Call) -> Reply:
    query = call.query
    by_id = {
        item.id: item
        for item in templates_of(call.account).values()
        if item.reusable and all(matches(condition, getattr(item, condition.field)) for condition in query.conditions)
    }
    name = (query.sort or "id").lstrip("-")
    page = paginate(
        Ordering((getattr(item, name), item.id) for item in by_id.values()),
        query,
        descending=(query.sort or "").startswith("-"),
        strict=call.world.switches.strict_cursors,
    )
    return many(call, [template_resource(call, by_id[key[-1]]) for key in page.keys], page=page)


def create_template(call: Call) -> Reply:
    given = call.attributes
    if given.get("definition") is not None:
        raise not_implemented("templates with a definition (drag-and-drop)")
    if sum(item.reusable for item in templates_of(call.account).values()) >= MOST_TEMPLATES:
        raise conflict(f"An account can have at most {MOST_TEMPLATES} templates.")
    item = new_template(
        call.account,
        name=given["name"],
        editor_type=given["editor_type"],
        html=given.get("html") or "",
        text=given.get("text") or "",
        amp=given.get("amp"),
    )
    call.account.effect("template.created", call.cause, values={"template": item.id, "name": item.name})
    return one(call, template_resource(call, item), status=201)


def get_template(call: Call) -> Reply:
    return one(call, template_resource(call, the_template(call.account, call.params["id"])))


def update_template(call: Call) -> Reply:
    item = the_template(call.account, call.params["id"])
    if call.data["id"] != item.id:
        raise invalid("The id in the body must be the id in the path.", pointer="/data/id")
    if call.attributes.get("definition") is not None:
        raise not_implemented("templates with a definition (drag-and-drop)")
    item.name = call.attributes.get("name") or item.name
    item.html = call.attributes.get("html", item.html) or ""
    item.text = call.attributes.get("text", item.text) or ""
    item.amp = call.attributes.get("amp", item.amp)
    item.updated = call.account.now()
    return one(call, template_resource(call, item))


def delete_template(call: Call) -> Reply:
    """Live answers 200 with an empty document where the specification says 204."""
    item = the_template(call.account, call.params["id"])
    del templates_of(call.account)[item.id]
    return Reply(200, {})


def render_template(call: Call) -> Reply:
    item = the_template(call.account, call.data["id"])
    context = call.attributes["context"]
    shown = template_resource(call, item, html=fill(item.html, context), text=fill(item.text, context))
    return one(call, shown)


def clone_template(call: Call) -> Reply:
    source = the_template(call.account, call.data["id"])
    return one(call, template_resource(call, clone(call.account, source, name=call.attributes.get("name"))))


_TEMPLATE = QuerySpec(fields={"template": FIELDS}, additional={"template": names("definition")})
_READ = ("templates:read",)
_WRITE = ("templates:write",)
_ONE = "/api/templates/{id}"
_CREATE = fields(
    {"name": TEXT, "editor_type": choice("CODE", "USER_DRAGGABLE", "SYSTEM_DRAGGABLE", "HYBRID")},
    html=TEXT_OR_NULL,
    text=TEXT_OR_NULL,
    amp=TEXT_OR_NULL,
    definition={"type": ["object", "null"]},
)
_UPDATE = fields(
    name=TEXT_OR_NULL,
    html=TEXT_OR_NULL,
    text=TEXT_OR_NULL,
    amp=TEXT_OR_NULL,
    definition={"type": ["object", "null"]},
)

OPERATIONS = [
    Operation(
        id="get_templates",
        method="GET",
        path="/api/templates",
        handler=get_templates,
        limit=L,
        scopes=_READ,
        query=QuerySpec(
            fields={"template": FIELDS},
            additional={"template": names("definition")},
            filters={
                "id": text("any", "equals"),
                "name": text("any", "contains", "equals"),
                "created": moment("equals", *COMPARE),
                "updated": moment("equals", *COMPARE),
            },
            sort=names("created id name updated"),
            page=(10, 10),
        ),
    ),
    Operation(
        id="create_template",
        method="POST",
        path="/api/templates",
        handler=create_template,
        limit=L,
        scopes=_WRITE,
        query=_TEMPLATE,
        body=Body(data(resource("template", attributes=_CREATE))),
    ),
    Operation(
        id="get_template",
        method="GET",
        path=_ONE,
        handler=get_template,
        limit=L,
        scopes=_READ,
        query=_TEMPLATE,
    ),
    Operation(
        id="update_template",
        method="PATCH",
        path=_ONE,
        handler=update_template,
        limit=L,
        scopes=_WRITE,
        query=_TEMPLATE,
        body=Body(data(resource("template", needs_id=True, attributes=_UPDATE))),
    ),
    Operation(id="delete_template", method="DELETE", path=_ONE, handler=delete_template, limit=L, scopes=_WRITE),
    Operation(
        id="render_template",
        method="POST",
        path="/api/template-render",
        handler=render_template,
        limit=S,
        scopes=_READ,
        query=_TEMPLATE,
        body=Body(data(resource("template", needs_id=True, attributes=fields({"context": FREE})))),
    ),
    Operation(
        id="clone_template",
        method="POST",
        path="/api/template-clone",
        handler=clone_template,
        limit=L,
        scopes=_WRITE,
        query=_TEMPLATE,
        body=Body(data(resource("template", needs_id=True, optional_attributes=fields(name=TEXT_OR_NULL)))),
    ),
]
