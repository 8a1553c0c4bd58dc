"""Operations of training: counted on the step itself, the same for any batch, and what a budget is held against."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from pretraining import SIDE, TINY_BIOCLIM
from terraprobe.artifacts import write_json, write_table
from terraprobe.cli import main
from terraprobe.compute import ComputeRecipe, count_compute
from terraprobe.errors import TerraprobeError
from terraprobe.flops import _step_flops, flops_per_chip
from terraprobe.methods import METHODS, recipe_model

SIZES = {
    "width": 4, "depth": 1, "heads": 1, "patch_px": 8, "hidden": 16, "projection": 8, "features": 2, "aspp": 8,
    "aspp_rates": [1, 2], "output_stride": 8, "crop_px": [8, 16], "superpixel_px": 4,
}  # fmt: skip
"""Keys that recipes have in common, made small: a method that is added is counted too."""


def recipe_of(method, **more):
    fields = recipe_model(method).model_fields
    small = {key: value for key, value in SIZES.items() if key in fields}
    if "blocks" in fields:
        small["blocks"] = [1] * len(fields["blocks"].default)
    return recipe_model(method).model_validate(small | more)


WITH_CLIMATE = {"conditioning": "cbn", "context": "shuffled"}


@pytest.mark.parametrize(("method", "more"), [*((name, {}) for name in METHODS), ("bioclim", WITH_CLIMATE)])
def test_two_small_batches_tell_what_a_large_one_costs(method, more):
    state, recipe = torch.get_rng_state(), recipe_of(method, **more)
    assert flops_per_chip(method, recipe, SIDE, 8) == pytest.approx(_step_flops(method, recipe, SIDE, 8) / 8)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_layer_of_a_transformer_costs_what_its_matrices_say():
    width, tokens, towers = 16, (SIDE // 8) ** 2 + 1, 3
    one, two = (flops_per_chip("clip3", recipe_of("clip3", width=width, depth=depth), SIDE, 8)
                for depth in (1, 2))  # fmt: skip
    # 12 w² weights, forwards and twice backwards; scores and their use forwards, these again and four more backwards.
    weights, attention = 3 * 2 * 12 * width**2 * tokens, 2 * (2 + 5) * tokens**2 * width
    assert two - one == towers * (weights + attention)


def finished(root, name, method, epochs, **more):
    """Card and history of an encoder that saw 8 chips in each of 5 steps an epoch."""
    card = {"method": method, "chip_px": SIDE, "batch": {"train": 8, "val": 8}, "parameters": {"total": 77},
            "recipe": recipe_of(method, **more).model_dump(mode="json")}  # fmt: skip
    write_json(root / name / "card.json", card)
    write_table(root / name / "history.parquet", pd.DataFrame({"step": 5 * np.arange(1, epochs + 1)}))


def test_a_training_counts_with_what_it_started_from(tmp_path):
    finished(tmp_path, "first", "sscl_unifeat", 2)
    finished(tmp_path, "second", "sscl", 3)
    cards, histories = ([tmp_path / name / file for name in ("second", "first")]
                        for file in ("card.json", "history.parquet"))  # fmt: skip
    recipe = ComputeRecipe(encoders={"second": ("first", "second"), "first": ("first",)})
    count_compute(cards=cards, histories=histories, recipe=recipe, compute=tmp_path / "compute.parquet")
    table = pd.read_parquet(tmp_path / "compute.parquet").set_index("encoder")
    assert table["chips_seen"].to_dict() == {"second": 5 * 8 * 5, "first": 2 * 8 * 5}
    alone = {m: flops_per_chip(m, recipe_of(m), SIDE, 8) for m in ("sscl_unifeat", "sscl")}
    assert table.loc["first", "flops"] == pytest.approx(80 * alone["sscl_unifeat"])
    assert table.loc["second", "flops"] == pytest.approx(80 * alone["sscl_unifeat"] + 120 * alone["sscl"])
    assert table.loc["second", "stands_on"] == "first second" and table.loc["second", "parameters"] == 77
    count_compute(cards=cards[::-1], histories=histories, recipe=recipe, compute=tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "compute.parquet").read_bytes()
    with pytest.raises(TerraprobeError, match=r"count-compute: no card.json or no history.parquet of first"):
        count_compute(cards=cards[:1], histories=histories, recipe=recipe, compute=tmp_path / "compute.parquet")


def test_describe_counts_a_training_on_so_many_chips(capsys):
    given = ["describe", "bioclim", "--recipe", json.dumps(TINY_BIOCLIM), "--chip-px", str(SIDE)]
    assert main([*given, "--train-chips", "20"]) == 0
    said = capsys.readouterr().out
    each = flops_per_chip("bioclim", recipe_model("bioclim").model_validate(TINY_BIOCLIM), SIDE, 8)
    assert f"Training: {each / 1e9:.4g} GFLOP a chip, {64 * each / 1e12:.4g} TFLOP in all (64 chips seen)" in said
    assert main(given) == 0
    assert "Training:" not in capsys.readouterr().out
    assert main([*given, "--train-chips", "20", "--bands", "4"]) == 1
    assert "--train-chips: found beside --bands 4" in capsys.readouterr().err
