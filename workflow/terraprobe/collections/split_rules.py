"""How a study may say that chips are split into train, val and test: one model a rule.

`geobands` is the rule of `clip3` (public tool of Allen et al., [C]); `stratified` draws within regions, as `bioclim`
does ([P]); `blocks` keeps neighbours together; `official` takes a benchmark's own list; `hashed` draws images that have
no place on Earth.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from terraprobe.stage import Recipe

Part = Literal["train", "val", "test"]
PARTS = ("train", "val", "test")


class Geobands(Recipe):
    """Split by geographic bands.

    Attributes:
        kind: `geobands`.
        direction_rad: angle of the axis that the bands cut across; 0 runs west to east.
        n_bands: number of bands.
        pattern: splits of successive bands, repeated.
        buffer_m: least ground between chips of different splits; nearer train and val chips are left out.
    """

    kind: Literal["geobands"] = "geobands"
    direction_rad: float = 0.0
    n_bands: int = Field(60, ge=3)
    pattern: tuple[Part, ...] = ("train", "train", "train", "test", "val")
    buffer_m: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _every_split(self) -> "Geobands":
        if set(self.pattern) != {"train", "val", "test"} or self.n_bands < len(self.pattern):
            raise ValueError(
                f"pattern {list(self.pattern)} over {self.n_bands} bands; it must name train, val and test, "
                f"and n_bands must be at least its length ({len(self.pattern)})"
            )
        return self


class Shares(Recipe):
    """Shares of the three splits, which sum to 1.

    Attributes:
        train: share of chips to learn from.
        val: share to choose by.
        test: share to report on.
    """

    train: float = Field(0.6, gt=0, lt=1)
    val: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Shares":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train {self.train} + val {self.val} + test {self.test} = {total:g}; they must sum to 1")
        return self


class Stratified(Recipe):
    """Draw chips at random within each region. Neighbours fall into different splits: report leakage beside it.

    Attributes:
        kind: `stratified`.
        shares: of train, val and test in every region.
        seed: of the draw.
    """

    kind: Literal["stratified"] = "stratified"
    shares: Shares = Shares()
    seed: int = Field(0, ge=0)


class Blocks(Recipe):
    """Deal square cells of equal area, whole, so that the shares of chips are met as closely as they allow.

    Attributes:
        kind: `blocks`.
        side_km: side of a cell; where none is given, twice the longest autocorrelation length of the labels.
        shares: of train, val and test among all chips, before the buffer.
        seed: of the deal.
        buffer_m: least ground between chips of different splits; nearer train and val chips are left out.
    """

    kind: Literal["blocks"] = "blocks"
    side_km: float | None = Field(None, gt=0)
    shares: Shares = Shares()
    seed: int = Field(0, ge=0)
    buffer_m: float = Field(0.0, ge=0)


class Official(Recipe):
    """The split that a benchmark was published with, or any other list.

    Attributes:
        kind: `official`.
        file: CSV with the columns `source` and `split` (train, val or test), a row for each source of the chips;
            its path from the folder that Snakemake runs in. None for the split that an archive comes with.
    """

    kind: Literal["official"] = "official"
    file: str = ""


class Hashed(Recipe):
    """Draw images whose places nobody knows, within each class, in the order of a hash of their names.

    Neighbours cannot be kept apart: scores may flatter what would hold elsewhere.

    Attributes:
        kind: `hashed`.
        shares: of train, val and test in every class.
    """

    kind: Literal["hashed"] = "hashed"
    shares: Shares = Shares()


SplitRule = Annotated[Geobands | Stratified | Blocks | Official | Hashed, Field(discriminator="kind")]
"""Any of them."""
