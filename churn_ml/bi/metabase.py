"""Bring a Metabase to what stands in ``bi/metabase/``: idempotent, and nothing of others is touched."""

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from churn_ml.bi.metabase_api import Metabase, Patience, account_of
from churn_ml.bi.metabase_bodies import (
    Body,
    Ids,
    card_body,
    dashboard_body,
    dashboard_differs,
    differs,
    held_card,
    mark_in,
    marked,
)
from churn_ml.bi.metabase_checks import read_representation
from churn_ml.bi.metabase_database import connection_details, load_database, wait_for_fields
from churn_ml.bi.metabase_files import DATABASE, Card, Collection, Dashboard, Representation
from churn_ml.errors import SettingsError
from churn_ml.settings import Settings

log = logging.getLogger(__name__)

Done = Literal["created", "updated", "unchanged"]


@dataclass
class Loaded:
    """What a load did.

    Attributes
    ----------
    created, updated, unchanged : list of str
        Kind and name of each entity.
    left_alone : int
        Dashcards on our dashboards that others put there.
    home_page : str
        What people see first: ours, or what somebody else chose.
    """

    address: str
    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    left_alone: int = 0
    home_page: str = ""

    def note(self, done: str, what: str) -> None:
        """Keep what was done to one entity."""
        {"created": self.created, "updated": self.updated, "unchanged": self.unchanged}[done].append(what)


def load_metabase(settings: Settings, patience: Patience | None = None) -> Loaded:
    """Set Metabase up where nobody did, connect it to the marts and load questions and dashboards.

    Running it again changes only what differs from the files; what was interrupted goes on. Nothing is
    deleted.

    Raises
    ------
    SettingsError
        If the address, the e-mail or the password is not set.
    DeclarationError
        If the files of ``bi/metabase/`` do not fit together.
    ServiceError
        If Metabase does not answer, refuses something, or does not find the marts.
    """
    patience = patience or Patience()
    if settings.metabase_url is None:
        raise SettingsError(
            "Expected CHURN_METABASE_URL to say where Metabase answers, found nothing. Set it in .env."
        )
    account = account_of(settings)
    representation = read_representation(settings.project_dir / "bi" / "metabase")
    details = connection_details(settings)
    secrets = tuple(filter(None, (account.password, details["password"])))
    with Metabase(settings.metabase_url, secrets=secrets) as metabase:
        metabase.wait_until_up(patience)
        try:
            metabase.sign_in(account)
            loaded = _load(metabase, representation, details, patience)
        finally:
            metabase.sign_out()
    log.info(
        "Metabase: %d created, %d updated, %d unchanged",
        len(loaded.created), len(loaded.updated), len(loaded.unchanged),
    )  # fmt: skip
    return loaded


def _load(metabase: Metabase, representation: Representation, details: Body, patience: Patience) -> Loaded:
    loaded = Loaded(metabase.address)
    _stop_tracking(metabase)
    database, done = load_database(metabase, details)
    loaded.note(done, f"database {DATABASE}")
    ids = Ids(database, wait_for_fields(metabase, database, representation.fields, patience))
    _load_collections(metabase, representation, ids, loaded)
    held = {key: _marked_items(metabase, number) for key, number in ids.collections.items()}
    for key, card in representation.cards.items():
        ids.cards[key], done = _load_card(metabase, card, ids, held[card.collection_id].get(("card", key)))
        loaded.note(done, f"question {card.name}")
    for key, dashboard in representation.dashboards.items():
        number = held[dashboard.collection_id].get(("dashboard", key))
        ids.dashboards[key], done = _load_dashboard(metabase, dashboard, ids, number, loaded)
        loaded.note(done, f"dashboard {dashboard.name}")
    loaded.home_page = _load_home_page(metabase, representation, ids)
    return loaded


def _stop_tracking(metabase: Metabase) -> None:
    """Switch off what Metabase tells its makers."""
    if metabase.get("/api/session/properties").get("anon-tracking-enabled"):
        metabase.put("/api/setting/anon-tracking-enabled", {"value": False})


def _load_collections(metabase: Metabase, representation: Representation, ids: Ids, loaded: Loaded) -> None:
    held = {mark_in(one.get("description")): one for one in metabase.get("/api/collection")}
    for key, collection in representation.collections.items():
        body = _collection_body(collection, ids)
        found = held.get(key)
        if found is None:
            ids.collections[key] = metabase.post("/api/collection", body)["id"]
            loaded.note("created", f"collection {collection.name}")
            continue
        ids.collections[key] = found["id"]
        changed = {
            name: body[name] for name in ("name", "description") if differs(body[name], found.get(name))
        }
        if changed:
            metabase.put(f"/api/collection/{found['id']}", changed)
        loaded.note("updated" if changed else "unchanged", f"collection {collection.name}")


def _collection_body(collection: Collection, ids: Ids) -> Body:
    body = {"name": collection.name, "description": marked(collection.description, collection.entity_id)}
    return {**body, "parent_id": ids.collections[collection.parent_id]} if collection.parent_id else body


def _marked_items(metabase: Metabase, collection: int) -> dict[tuple[str, str], int]:
    """Return the number of each (kind, entity id) in a collection; of copies that people made, the oldest."""
    items = metabase.get(f"/api/collection/{collection}/items")["data"]
    found = [(one["model"], mark_in(one.get("description")), one["id"]) for one in items]
    return {(kind, key): number for kind, key, number in sorted(found, key=_newest_first) if key}


def _newest_first(item: tuple[str, str | None, int]) -> int:
    return -item[2]


def _load_card(metabase: Metabase, card: Card, ids: Ids, number: int | None) -> tuple[int, Done]:
    body = card_body(card, ids)
    if number is None:
        return metabase.post("/api/card", body)["id"], "created"
    held = metabase.get(f"/api/card/{number}", **{"legacy-mbql": "true"})
    if not differs(body, held_card(held)):
        return number, "unchanged"
    metabase.put(f"/api/card/{number}", body)
    return number, "updated"


def _load_dashboard(
    metabase: Metabase, dashboard: Dashboard, ids: Ids, number: int | None, loaded: Loaded
) -> tuple[int, Done]:
    done: Done = "created" if number is None else "updated"
    if number is None:
        number = metabase.post(
            "/api/dashboard",
            {
                "name": dashboard.name,
                "description": marked(dashboard.description, dashboard.entity_id),
                "collection_id": ids.collections[dashboard.collection_id],
                "collection_position": dashboard.collection_position,
            },
        )["id"]
    held = metabase.get(f"/api/dashboard/{number}")
    body = dashboard_body(dashboard, ids, held)
    loaded.left_alone += len(body["dashcards"]) - len(dashboard.dashcards)
    if not dashboard_differs(dashboard, body, held):
        return int(number), "unchanged"
    metabase.put(f"/api/dashboard/{number}", body)
    return int(number), done


def _load_home_page(metabase: Metabase, representation: Representation, ids: Ids) -> str:
    """Make our first dashboard the home page, unless somebody chose another."""
    first = min(representation.dashboards.values(), key=lambda one: one.collection_position)
    properties = metabase.get("/api/session/properties")
    chosen: Any = properties.get("custom-homepage-dashboard") if properties.get("custom-homepage") else None
    if chosen not in (None, ids.dashboards[first.entity_id]):
        return f"dashboard {chosen}, which somebody chose"
    if chosen is None:
        home = {"custom-homepage": True, "custom-homepage-dashboard": ids.dashboards[first.entity_id]}
        metabase.put("/api/setting", home)
    return first.name
