"""Which months a study can be of."""

import re
from datetime import date

from terraprobe.acquire.earthengine.products import after
from terraprobe.errors import TerraprobeError

FIRST_MONTH = "2015-07"
"""The first whole month of Sentinel-2: COPERNICUS/S2_HARMONIZED begins on 2015-06-27 (its dataset page)."""

FIRST_SURFACE_MONTH = "2017-04"
"""The first whole month of surface reflectance: COPERNICUS/S2_SR_HARMONIZED begins on 2017-03-28 (its dataset page)."""

FIRST_CLOUD_SCORE_MONTH = "2022-01"
"""QA60 holds no cloud from 2022-01-25 to 2024-02-28 (page of COPERNICUS/S2_SR_HARMONIZED)."""


def parse_months(text: str, today: date) -> list[str]:
    """Every calendar month from the first to the last.

    Args:
        text: `2023-04/2023-06`, or one month.
        today: a month that is not over has no whole composite.

    Raises:
        TerraprobeError: it is of another form, backwards, before Sentinel-2's first whole month or not over yet.
    """
    first, slash, last = text.partition("/")
    last = last if slash else first
    if not all(re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) for month in (first, last)):
        raise TerraprobeError(f"--dates: found {text!r}, allowed months as 2023-04/2023-06, both included.")
    if last < first:
        raise TerraprobeError(f"--dates: found {text!r}, which ends before it begins. Give the earlier month first.")
    if first < FIRST_MONTH:
        raise TerraprobeError(
            f"--dates: there is no image of {first}: Sentinel-2's first whole month is {FIRST_MONTH}. Begin there or "
            "later."
        )
    if date.fromisoformat(after(last)) > today:
        raise TerraprobeError(
            f"--dates: there are no images of all of {last} yet: it is not over on {today}. End before it."
        )
    months = [first]
    while months[-1] < last:
        months.append(after(months[-1])[:7])
    return months
