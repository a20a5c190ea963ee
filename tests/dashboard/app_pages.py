"""Pages of the dashboard in Streamlit's own app test: real pages, real warehouse, no browser."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from churn_ml.settings import Settings

APP = Path(__file__).parents[2] / "churn_ml" / "dashboard" / "start" / "app.py"


def open_page(monkeypatch: pytest.MonkeyPatch, settings: Settings, page: str, **address: str) -> AppTest:
    """Run `page` over the warehouse of `settings`, with what `address` says behind the question mark."""
    for name in ("home", "dataset", "database_prefix", "project_dir"):
        monkeypatch.setenv(f"CHURN_{name.upper()}", str(getattr(settings, name)))
    app = AppTest.from_file(str(APP), default_timeout=60)
    # A page of st.navigation that is a function can be opened in no other way before the first run.
    app._page_hash = calc_hash(page)
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def texts(app: AppTest) -> str:
    """Return what the page says, kind by kind, with plain spaces."""
    kinds = (
        app.title,
        app.header,
        app.subheader,
        app.caption,
        app.markdown,
        app.info,
        app.warning,
        app.error,
    )
    said = [str(element.value) for kind in kinds for element in kind]
    said += [f"{tile.label} {tile.value} {tile.delta}" for tile in app.metric]
    return "\n".join(said).replace("\N{NO-BREAK SPACE}", " ")
