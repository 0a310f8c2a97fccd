"""What the page carries for its scripts: data as JSON, our own scripts, the plotting library.

The library, plotly.js, is read out of the installed package when the page is written and embedded
compressed; the browser unpacks it. Nothing is fetched.
"""

import base64
import functools
import gzip
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

WEB = Path(__file__).parent / "web"
SCRIPTS = ("text", "fit", "curve", "plot", "law", "runs", "planner", "table", "start")
"""Files of `web/` in the order in which they stand in the page, as one module."""
ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


@functools.cache
def library() -> Markup:
    """plotly.js, gzip in base64: the same bytes whenever the package is the same."""
    from plotly.offline import get_plotlyjs

    packed = gzip.compress(get_plotlyjs().encode(), compresslevel=9, mtime=0)
    return Markup(base64.b64encode(packed).decode())


def as_json(value: Any) -> Markup:
    """JSON for a script element: no text in it can end the element or open another one."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(ESCAPES))


def script() -> Markup:
    """Our own scripts."""
    return Markup("\n".join(_read(f"{name}.js") for name in SCRIPTS))


def style() -> Markup:
    """Our own style sheet."""
    return Markup(_read("page.css"))


def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")
