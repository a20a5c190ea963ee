"""A real HTTP server that answers as Metabase's documented API does, and remembers what was asked."""

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from metabase_contract import faults

Rows = dict[int, dict[str, Any]]
OPEN = {
    ("GET", "/api/health"),
    ("GET", "/api/session/properties"),
    ("POST", "/api/setup"),
    ("POST", "/api/session"),
}
HIDDEN = "**MetabasePass**"


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(status)
        self.status, self.answer = status, answer


@dataclass
class Metabase:
    """What one Metabase holds.

    Attributes
    ----------
    columns_of : callable
        Takes connection details, returns (table, column) of what they show; raises ConnectionError.
    looks_until_synced : int
        How often the columns must be asked for after a sync before they are there.
    writes_left : int or None
        After so many writes it answers nothing but 500, as one that is stopped does.
    """

    columns_of: Callable[[dict[str, Any]], set[tuple[str, str]]]
    address: str = ""
    starting: int = 0
    looks_until_synced: int = 0
    writes_left: int | None = None
    token: str | None = field(default_factory=lambda: secrets.token_hex(16))
    users: dict[str, tuple[str, bool]] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    databases: Rows = field(default_factory=dict)
    fields: dict[int, dict[int, tuple[str, str]]] = field(default_factory=dict)
    collections: Rows = field(default_factory=dict)
    cards: Rows = field(default_factory=dict)
    dashboards: Rows = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(101))

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Return (method, path) of what changed anything but sessions."""
        return [(method, path) for method, path, _ in self.asked
                if method != "GET" and path not in {"/api/session", "/api/setup"}]  # fmt: skip

    def answer(self, method: str, url: str, body: Any, session: str | None) -> Any:
        path = urlsplit(url).path
        query = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        self.asked.append((method, path, body))
        route = re.sub(r"/\d+(?=/|$)", "/:id", re.sub(r"^/api/setting/.+", "/api/setting/:key", path))
        if (method, route) not in OPEN and session not in self.sessions:
            raise Refused(401, "Unauthenticated")
        handler = getattr(
            self, f"{method}_{route.strip('/')}".lower().translate(str.maketrans("/-", "__", ":")), None
        )
        if handler is None:
            raise Refused(404, "API endpoint does not exist.")
        if wrong := faults(method, route, body):
            raise Refused(400, {"errors": dict.fromkeys(wrong, "invalid"), "specific-errors": wrong})
        if method != "GET" and (method, route) not in OPEN and self.writes_left is not None:
            if self.writes_left == 0:
                raise Refused(500, {"message": "stopped"})
            self.writes_left -= 1
        number = [int(part) for part in path.split("/") if part.isdigit()]
        return handler(*number, body=body, query=query, session=session, path=path)

    def get_api_health(self, **_: Any) -> Any:
        if self.starting:
            self.starting -= 1
            raise Refused(503, {"status": "initializing", "progress": 0.3})
        return {"status": "ok"}

    def get_api_session_properties(self, **_: Any) -> Any:
        tracking = {"anon-tracking-enabled": True}
        return {**tracking, **self.settings, "setup-token": self.token, "has-user-setup": bool(self.users)}

    def post_api_setup(self, *, body: Any, **_: Any) -> Any:
        if self.users:
            raise Refused(403, "The /api/setup route can only be used to create the first user")
        if body["token"] != self.token:
            raise Refused(400, {"errors": {"token": "Token does not match the setup token."}})
        self.users[body["user"]["email"]] = (body["user"]["password"], True)
        self.settings["anon-tracking-enabled"] = True  # whatever the body says
        self.token = None
        return self._session(body["user"]["email"])

    def post_api_session(self, *, body: Any, **_: Any) -> Any:
        if self.users.get(body["username"], ("", False))[0] != body["password"]:
            raise Refused(401, {"errors": {"password": "did not match stored password"}})
        return self._session(body["username"])

    def delete_api_session(self, *, session: str, **_: Any) -> Any:
        del self.sessions[session]

    def get_api_user_current(self, *, session: str, **_: Any) -> Any:
        email = self.sessions[session]
        return {"email": email, "is_superuser": self.users[email][1]}

    def put_api_setting(self, *, body: Any, **_: Any) -> Any:
        self.settings.update(body)

    def put_api_setting_key(self, *, path: str, body: Any, **_: Any) -> Any:
        self.settings[path.rsplit("/", 1)[1]] = body["value"]

    def get_api_database(self, *_: int, **__: Any) -> Any:
        rows = [self.get_api_database_id(number) for number in self.databases]
        return {"data": rows, "total": len(rows)}

    def get_api_database_id(self, number: int, **_: Any) -> Any:
        row = self._row(self.databases, number)
        return {**row, "details": {**row["details"], "password": HIDDEN, "advanced-options": False}}

    def get_api_database_id_healthcheck(self, number: int, **_: Any) -> Any:
        try:
            self.columns_of(self._row(self.databases, number)["details"])
        except ConnectionError as error:
            return {"status": "error", "message": str(error)}
        return {"status": "ok"}

    def get_api_database_id_fields(self, number: int, **_: Any) -> Any:
        self._row(self.databases, number)
        known = self.fields.get(number, {}) if self.looks_until_synced == 0 else {}
        self.looks_until_synced = max(0, self.looks_until_synced - 1)
        return [{"id": key, "name": column, "table_name": table, "schema": "marts"}
                for key, (table, column) in known.items()]  # fmt: skip

    def post_api_database(self, *, body: Any, **_: Any) -> Any:
        number = next(self.numbers)
        self._connect(number, body["details"])
        self.databases[number] = {"id": number, **body}
        return self.get_api_database_id(number)

    def put_api_database_id(self, number: int, *, body: Any, **_: Any) -> Any:
        row = self._row(self.databases, number)
        details = {**row["details"], **body.get("details", {})}
        self._connect(number, details)
        row.update(body, details=details)
        return self.get_api_database_id(number)

    def post_api_database_id_sync_schema(self, number: int, **_: Any) -> Any:
        self._connect(number, self._row(self.databases, number)["details"])
        return {"status": "ok"}

    def get_api_collection(self, **_: Any) -> Any:
        root = {"id": "root", "name": "Our analytics", "description": None}
        return [root, *(row for row in self.collections.values() if not row["archived"])]

    def post_api_collection(self, *, body: Any, **_: Any) -> Any:
        if body.get("parent_id") is not None:
            self._row(self.collections, body["parent_id"])
        return self._new(self.collections, {"parent_id": None, **body})

    def put_api_collection_id(self, number: int, *, body: Any, **_: Any) -> Any:
        self._row(self.collections, number).update(body)
        return self.collections[number]

    def get_api_collection_id_items(self, number: int, **_: Any) -> Any:
        self._row(self.collections, number)
        found = []
        for model, rows in (("card", self.cards), ("dashboard", self.dashboards)):
            for row in rows.values():
                if row["collection_id"] == number and not row["archived"]:
                    told = {key: row.get(key) for key in ("id", "name", "description", "entity_id")}
                    found.append({**told, "model": model})
        return {"total": len(found), "data": sorted(found, key=lambda row: row["name"])}

    def get_api_card_id(self, number: int, *, query: dict[str, str], **_: Any) -> Any:
        row = self._row(self.cards, number)
        if query.get("legacy-mbql") == "true":
            return row
        native = row["dataset_query"]["native"]
        stage = {
            "lib/type": "mbql.stage/native",
            "native": native["query"],
            "template-tags": native["template-tags"],
        }
        return {**row, "dataset_query": {"lib/type": "mbql/query", "stages": [stage]}}

    def post_api_card(self, *, body: Any, **_: Any) -> Any:
        return self._new(self.cards, {"description": None, "parameters": [], **self._told_card(body)})

    def put_api_card_id(self, number: int, *, body: Any, **_: Any) -> Any:
        self._row(self.cards, number).update(self._told_card(body))
        return self.cards[number]

    def get_api_dashboard_id(self, number: int, **_: Any) -> Any:
        return self._row(self.dashboards, number)

    def post_api_dashboard(self, *, body: Any, **_: Any) -> Any:
        fresh = {"parameters": [], "dashcards": [], "tabs": [], "width": "fixed", "auto_apply_filters": True}
        if body.get("collection_id") is not None:
            self._row(self.collections, body["collection_id"])
        return self._new(self.dashboards, {**fresh, **body})

    def put_api_dashboard_id(self, number: int, *, body: Any, **_: Any) -> Any:
        row = self._row(self.dashboards, number)
        row.update({key: value for key, value in body.items() if key not in {"dashcards", "tabs"}})
        if "dashcards" in body:
            self._place(row, body["dashcards"], body.get("tabs") or [])
        return row

    def _place(self, dashboard: dict[str, Any], dashcards: list[Any], tabs: list[Any]) -> None:
        """Keep exactly `dashcards` and `tabs`: what is left out is gone, what has a negative id is new."""
        before = {one["id"]: one for one in dashboard["dashcards"]}
        if unknown := [one["id"] for one in dashcards if one["id"] > 0 and one["id"] not in before]:
            raise Refused(400, {"message": f"no dashcards {unknown}"})
        if len({one["id"] for one in dashcards}) < len(dashcards):
            raise Refused(400, {"errors": {"dashcards": "ids must be unique"}})
        if any(tabs) and not all(one.get("dashboard_tab_id") for one in dashcards):
            raise Refused(400, "This dashboard has tab, makes sure every card has a tab")
        placed = []
        for one in dashcards:
            card = self._row(self.cards, one["card_id"]) if one.get("card_id") else None
            fresh = {
                "series": [],
                "dashboard_tab_id": None,
                "action_id": None,
                "entity_id": secrets.token_hex(10),
            }
            known = before.get(one["id"], {"id": next(self.numbers), **fresh})
            mappings = [_told_target(mapping) for mapping in one.get("parameter_mappings") or []]
            placed.append({**known, **one, "id": known["id"], "card": card, "parameter_mappings": mappings})
        dashboard["dashcards"], dashboard["tabs"] = placed[::-1], tabs

    def _told_card(self, body: Any) -> Any:
        """Return a card as Metabase stores it, with what it adds to references."""
        if "collection_id" in body:
            self._row(self.collections, body["collection_id"])
        if "dataset_query" not in body:
            return body
        query = body["dataset_query"]
        self._row(self.databases, query["database"])
        tags = {}
        for name, tag in query["native"].get("template-tags", {}).items():
            if tag["name"] != name:
                raise Refused(400, {"errors": {"template-tags": "keys must match the :name of their values"}})
            if tag["type"] == "dimension" and tag["dimension"][1] not in self.fields[query["database"]]:
                raise Refused(400, {"errors": {"dataset_query": f"no field {tag['dimension'][1]}"}})
            tags[name] = {**tag, **({"dimension": [*tag["dimension"][:2], {"base-type": "type/Text"}]}
                                    if "dimension" in tag else {})}  # fmt: skip
        native = {**query["native"], "template-tags": tags}
        return {**body, "dataset_query": {**query, "native": native},
                "parameters": [_told_target(one) for one in body.get("parameters") or []]}  # fmt: skip

    def _connect(self, number: int, details: dict[str, Any]) -> None:
        try:
            columns = self.columns_of(details)
        except ConnectionError as error:
            raise Refused(
                400, {"message": str(error), "errors": {"host": "check your host settings"}}
            ) from None
        known = {pair: key for key, pair in self.fields.get(number, {}).items()}
        self.fields[number] = {known.get(pair) or next(self.numbers): pair for pair in sorted(columns)}

    def _session(self, email: str) -> Any:
        session = secrets.token_hex(16)
        self.sessions[session] = email
        return {"id": session}

    def _new(self, rows: Rows, row: dict[str, Any]) -> Any:
        number = next(self.numbers)
        rows[number] = {
            "id": number,
            "entity_id": secrets.token_hex(10),
            "archived": False,
            "creator_id": 1,
            **row,
        }
        return rows[number]

    def _row(self, rows: Rows, number: int) -> dict[str, Any]:
        if number not in rows:
            raise Refused(404, "Not found.")
        return rows[number]


def _told_target(one: dict[str, Any]) -> dict[str, Any]:
    if (one.get("target") or [None])[0] != "dimension":
        return one
    return {**one, "target": [*one["target"][:2], {"stage-number": 0}]}


@contextmanager
def serving(metabase: Metabase) -> Iterator[Metabase]:
    """Serve `metabase` on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                answer, status = (
                    metabase.answer(self.command, self.path, body, self.headers.get("X-Metabase-Session")),
                    200,
                )
            except Refused as refused:
                answer, status = refused.answer, refused.status
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(204 if status == 200 and answer is None else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    metabase.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield metabase
    finally:
        server.shutdown()
        server.server_close()
