"""Links from page to page that keep the session, and with it the night that was picked."""

import streamlit as st

_CUSTOMER_PAGE = "one_customer"

STATUSES = {
    "to_treat": "Within budget",
    "beyond_budget": "Beyond budget",
    "no_campaign": "No campaign runs",
    "profit_not_known": "Profit not known",
}


def link_to_customer(customer_id: str, label: str | None = None) -> None:
    """Draw a link to the page of one customer."""
    shown = f":blue[**{literal(label or customer_id)}**]"
    st.page_link(_customer_page(), label=shown, query_params={"customer_id": customer_id})


def go_to_customer(customer_id: str) -> None:
    """Leave for the page of one customer."""
    st.switch_page(_customer_page(), query_params={"customer_id": customer_id})


def literal(text: str) -> str:
    """Return a text of the marts so that no sign in it is taken for markup."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#$~|:" else sign for sign in text)


def _customer_page() -> st.Page:
    # A page is known by its address: this one stands for the page of the navigation.
    return st.Page(_not_drawn, title="One customer", url_path=_CUSTOMER_PAGE)


def _not_drawn() -> None:
    """Stand for a page that the navigation draws."""
