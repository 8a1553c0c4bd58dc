"""The one table of bands and labels."""

import numpy as np
import pytest

from terraprobe.modalities import L1C_BANDS, L2A_BANDS, LABELS, MODALITIES, S2_BASELINE_OFFSET_DN, S2_RESOLUTION_M


def test_numbers_of_bands():
    counts = {name: len(m.bands) for name, m in MODALITIES.items() if not m.variable}
    assert counts == {"s2_l1c": 13, "s2_l2a": 12, "s2_rgb_monthly": 9, "s1_grd": 2, "s1_grd_monthly": 9, "rgb": 3}
    assert [name for name, m in MODALITIES.items() if m.variable] == ["s1_coherence"]


def test_sentinel_2_bands():
    assert set(L1C_BANDS) == set(S2_RESOLUTION_M)
    assert set(L1C_BANDS) - set(L2A_BANDS) == {"B10"}
    assert [b for b, metres in S2_RESOLUTION_M.items() if metres == 10] == ["B02", "B03", "B04", "B08"]
    assert [b for b, metres in S2_RESOLUTION_M.items() if metres == 60] == ["B01", "B09", "B10"]
    assert S2_BASELINE_OFFSET_DN == -1000


def test_monthly_bands_are_months_times_parts():
    assert MODALITIES["s2_rgb_monthly"].bands[:4] == ("m1_B04", "m1_B03", "m1_B02", "m2_B04")
    assert MODALITIES["s1_grd_monthly"].bands[-3:] == ("m3_VV", "m3_VH", "m3_VV-VH")


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_holds_together(name):
    modality = MODALITIES[name]
    assert modality.name == name
    assert modality.title
    assert modality.unit in ("reflectance", "backscatter_db", "coherence", "display")
    assert len(set(modality.bands)) == len(modality.bands)
    kind = np.iinfo(modality.dtype)
    assert kind.min <= modality.nodata <= kind.max
    low, high = modality.valid_range
    digital = [round((value - modality.offset) / modality.scale) for value in (low, high)]
    assert kind.min <= digital[0] < digital[1] <= kind.max
    if modality.unit == "reflectance":  # dark pixels have DN 0, which means "not observed": as ESA has it
        assert (modality.scale, modality.offset, modality.nodata) == (1e-4, 0.0, 0)
    else:
        assert not digital[0] <= modality.nodata <= digital[1]


def test_the_smallest_chip_follows_the_coarsest_band():
    assert MODALITIES["s2_l1c"].min_chip_m == 120
    assert MODALITIES["s2_rgb_monthly"].min_chip_m == 20
    assert MODALITIES["s1_coherence"].min_chip_m == pytest.approx(185.6)


@pytest.mark.parametrize("name", LABELS)
def test_a_label_layer_holds_together(name):
    layer = LABELS[name]
    assert layer.name == name
    assert bool(layer.classes) != bool(layer.quantity)
    kind = np.iinfo(layer.dtype)
    for code in (*layer.classes, *layer.quantity, *layer.stands_for, layer.nodata):
        assert kind.min <= code <= kind.max
    assert layer.nodata not in (*layer.classes, *layer.stands_for)
    if layer.quantity:
        assert not layer.quantity[0] <= layer.nodata <= layer.quantity[1]
    for value in layer.values.values():
        assert value.kind == ("share" if layer.classes else "mean")
        assert value.kind == "mean" or value.code in layer.classes
    assert str(layer.nodata) in layer.allowed


def test_no_two_layers_make_a_label_of_one_name():
    names = [value for layer in LABELS.values() for value in layer.values]
    assert len(set(names)) == len(names)
    assert {"vegetation", "builtup", "croplands", "water"} <= set(names)


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        MODALITIES["mine"] = MODALITIES["s1_grd"]
