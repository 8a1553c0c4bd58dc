"""Fill the page's template: one file, with style, script and figures inside."""

from importlib.resources import files
from typing import Any


def render_page(content: dict[str, Any]) -> str:
    """HTML of the page.

    Args:
        content: variables of `page.html.j2`.
    """
    from jinja2 import Environment, StrictUndefined

    folder = files("terraprobe.report.html")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((folder / "page.html.j2").read_text())
    parts = {name: (folder / f"page.{name}").read_text() for name in ("css", "js")}
    return template.render(**parts, **content)
