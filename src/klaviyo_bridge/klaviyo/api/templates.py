"""Templates: the HTML of messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from klaviyo_bridge.klaviyo.api.documents import accepted, every, page, page_query, resource
from klaviyo_bridge.klaviyo.rows import encode
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Page, RemoteResource, attributes_of


class Templates:
    """Templates; an account takes no new one by API beyond a thousand."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
    ) -> Page[RemoteResource]:
        """Ten templates, which is Klaviyo's largest page."""
        query = page_query("get_templates", filter=filter, sort=sort, cursor=cursor)
        return page(self._session.call("get_templates", query=query), RemoteResource.parse)

    def all(self) -> Iterator[RemoteResource]:
        """Every template of the account."""
        return every(lambda cursor: self.page(cursor=cursor))

    def get(self, template_id: str) -> RemoteResource:
        """One template. Raises NotFound."""
        return RemoteResource.parse(resource(self._session.call("get_template", path={"id": template_id})))

    def create(self, name: str, html: str, *, text: str | None = None) -> RemoteResource:
        """A new template of the code editor."""
        attributes: dict[str, object] = {"name": name, "editor_type": "CODE", "html": html}
        if text is not None:
            attributes["text"] = text
        body = encode({"data": {"type": "template", "attributes": attributes}})
        return RemoteResource.parse(accepted(self._session.call("create_template", body=body)))

    def update(self, template_id: str, attributes: Mapping[str, object]) -> RemoteResource:
        """Change name, html or text."""
        body = encode({"data": {"type": "template", "id": template_id, "attributes": attributes}})
        reply = self._session.call("update_template", path={"id": template_id}, body=body)
        return RemoteResource.parse(accepted(reply))

    def delete(self, template_id: str) -> None:
        """Delete a template. Raises Rejected while something uses it."""
        self._session.call("delete_template", path={"id": template_id})

    def render(self, template_id: str, context: Mapping[str, object]) -> RemoteResource:
        """The template filled with `context`; html and text are in the attributes."""
        attributes = {"context": context}
        body = encode({"data": {"type": "template", "id": template_id, "attributes": attributes}})
        return RemoteResource.parse(resource(self._session.call("render_template", body=body)))

    def html(self, template_id: str) -> str:
        """The HTML of a template."""
        reply = self._session.call("get_template", path={"id": template_id})
        return str(attributes_of(resource(reply)).get("html") or "")
