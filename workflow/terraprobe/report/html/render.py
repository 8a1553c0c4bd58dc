"""Fill the templates of the pages: each is one file, with style, script and figures inside."""

from importlib.resources import files
from typing import Any

_SCRIPTS = ("tables", "plot", "explorer", "errormap")
"""Scripts of the page; `plot` before the two that draw with it."""


def render_page(content: dict[str, Any]) -> str:
    """HTML of the report.

    Args:
        content: variables of `page.html.j2`.
    """
    return _render("page.html.j2", content)


def render_costs(content: dict[str, Any]) -> str:
    """HTML of the costs.

    Args:
        content: variables of `cost.html.j2`.
    """
    return _render("cost.html.j2", content)


def _render(template: str, content: dict[str, Any]) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("terraprobe.report.html")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (folder / name).read_text()),
    )
    css = (folder / "page.css").read_text()
    scripts = {name: (folder / f"{name}.js").read_text() for name in _SCRIPTS}
    return environment.get_template(template).render(css=css, scripts=scripts, **content)
