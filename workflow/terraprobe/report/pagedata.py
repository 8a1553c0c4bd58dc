"""How numbers get into the page: arrays as base64, everything else as JSON that cannot end a script element."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def packed(values: ArrayLike, dtype: str) -> str:
    """An array as base64 of its little-endian bytes, for a typed array of the page.

    Args:
        values: any shape, flattened by rows.
        dtype: `u2`, `i2`, `f4` …
    """
    return base64.b64encode(np.asarray(values).astype(f"<{dtype}").tobytes()).decode()


def coded(values: Iterable[Any], order: Iterable[str] = ()) -> dict[str, Any]:
    """Names and, of each value, the place of its name; what is empty or not known comes last, as an empty name.

    Args:
        values: text, or missing.
        order: names that come first; those that do not occur are left out.
    """
    text = pd.Series(list(values), dtype=object).fillna("").astype(str)
    found = set(text) - {""}
    first = [name for name in order if name in found]
    names = [*first, *sorted(found - set(first)), *([""] if (text == "").any() else [])]
    return {"names": names, "codes": packed(pd.Index(names).get_indexer(pd.Index(text)), "u2")}


def script_json(content: object) -> str:
    """JSON that may stand in a script element of type `application/json`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c")
