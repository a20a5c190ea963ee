"""Data Docs that call no other host; named in ``great_expectations.yml``, which loads them."""

from html import escape
from typing import Any

from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader


class GatePageView(DefaultJinjaPageView):  # type: ignore[misc]  # the library is untyped here
    """The library's page with the templates of this project in front of its own."""

    def __init__(self, custom_styles_directory: str, custom_views_directory: str) -> None:
        super().__init__(custom_styles_directory, custom_views_directory)
        ours = FileSystemLoader([custom_views_directory, custom_styles_directory])
        self.env.loader = ChoiceLoader([ours, self.env.loader])

    def render_string_template(self, template: Any) -> Any:
        """Escape the text as well: the library escapes only what it puts into it."""
        if isinstance(template, dict):
            template = template | {"template": escape(template.get("template", ""), quote=False)}
        return super().render_string_template(template)


class NoIndex:
    """Stands where the library writes its first page: `churn_ml.quality.index` writes ours.

    The library's needs a script from another host, lists no gate whose query failed and reads
    every stored result again.
    """

    def __init__(self, **_: Any) -> None:
        pass

    def build(self, **_: Any) -> tuple[None, None]:
        """Write nothing."""
        return None, None
