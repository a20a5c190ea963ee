"""What stands around every page: the navigation, the choice of the night, its date, cut-off and age."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import streamlit as st

from churn_ml.dashboard.formats import show_day, show_time
from churn_ml.dashboard.nights import Freshness, Night, freshness, published_nights
from churn_ml.errors import ChurnError
from churn_ml.settings import load_settings

_ICON = Path(__file__).with_name("icon.svg")

# The head of a page stands high, and tables scroll within themselves on a phone.
_LOOK = """<style>
[data-testid="stMainBlockContainer"] {padding-top: 3.5rem; padding-bottom: 3rem; max-width: 1240px}
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p {color: #52606D; opacity: 1}
[data-testid="stTable"] {overflow-x: auto}
[data-testid="stTable"] td, [data-testid="stTable"] th {font-size: 0.875rem; white-space: nowrap}
[data-testid="stTable"] td:last-child {white-space: normal}
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] {padding-left: 1rem; padding-right: 1rem}
  [data-testid="stMainBlockContainer"] h1 {font-size: 1.4rem; padding-top: 0}
  [data-testid="stMainBlockContainer"] h2 {font-size: 1.15rem}
}
</style>"""

# In the order of the navigation: file name in pages/ and path of the address, title, icon.
PAGES = {
    "retention_summary": ("Retention summary", ":material/monitoring:"),
    "mrr_bridge": ("MRR bridge", ":material/stacked_bar_chart:"),
    "revenue_at_risk": ("Revenue at risk", ":material/shield:"),
    "where_it_hurts": ("Where it hurts", ":material/grid_on:"),
    "cohorts": ("Cohorts", ":material/groups:"),
    "who_to_call_first": ("Who to call first", ":material/call:"),
    "one_customer": ("One customer", ":material/person:"),
    "can_i_trust_it": ("Can I trust it", ":material/verified:"),
}


def show_dashboard() -> None:
    """Draw the page that the address asks for."""
    st.set_page_config(page_title="Churn", page_icon=str(_ICON), layout="wide",
                       initial_sidebar_state="auto")  # fmt: skip
    st.html(_LOOK)
    pages = [
        st.Page(_page_of(name), title=title, icon=icon, url_path=name)
        for name, (title, icon) in PAGES.items()
    ]
    # The bare address leads to the first page, which so keeps an address of its own.
    start = st.Page(partial(st.switch_page, pages[0]), title="Start", url_path="start", default=True,
                    visibility="hidden")  # fmt: skip
    st.navigation([start, *pages]).run()


def _page_of(name: str) -> Callable[[], None]:
    def page() -> None:
        try:
            _show(name)
        except ChurnError as error:
            st.error(str(error), icon=":material/error:")

    return page


def _show(name: str) -> None:
    nights = published_nights()
    st.title(PAGES[name][0], anchor=False)
    if not nights:
        st.info(
            f"No night of {load_settings().dataset} is published yet: there is nothing to show.\n\n"
            "Next: `churn-ml night` runs and publishes one; `churn-ml run list` says what became of others.",
            icon=":material/info:",
        )
        return
    age = freshness()
    night = _chosen(nights)
    _show_night(night, age, is_newest=night == nights[0])
    import_module(f"churn_ml.dashboard.pages.{name}").show(night)


def _chosen(nights: list[Night]) -> Night:
    """Return the night that the reader picked; the address carries it from page to page."""
    by_day = {night.as_of_date.isoformat(): night for night in nights}
    if st.session_state.get("night") not in by_day:
        st.session_state.pop("night", None)
    with st.sidebar:
        day: str = st.selectbox(
            "Night (as-of date)",
            list(by_day),
            key="night",
            format_func=lambda day: show_day(by_day[day].as_of_date),
            help="The published nights, newest first.",
        )
    return by_day[day]


def _show_night(night: Night, age: Freshness, *, is_newest: bool) -> None:
    st.caption(
        f"As of **{show_day(night.as_of_date)}** · known by {show_time(night.known_as_of)} · "
        f"model {night.model_version} · {age.sentence()}"
    )
    if age.is_stale:
        st.warning(
            f"**What you see is stale.** {age.sentence()}\n\nNext: `churn-ml status`, then `churn-ml night`.",
            icon=":material/schedule:",
        )
    if not is_newest:
        st.info("An earlier night: later ones are published.", icon=":material/history:")
