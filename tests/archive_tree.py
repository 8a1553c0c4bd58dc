"""What a user of the full-size studies unpacks, faked: names alone, which is all that a study is checked by."""

CLASSES = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
           "Residential", "River", "SeaLake")  # fmt: skip


def fake_downloads(folder, per_class=1):
    """Write the archives that studies ask for and the files of their context below `folder`, all of them empty."""
    home = folder / "resources/downloads"
    for name in CLASSES:
        (home / "EuroSAT_MS" / name).mkdir(parents=True)
        for k in range(1, per_class + 1):
            (home / "EuroSAT_MS" / name / f"{name}_{k}.tif").touch()
    files = [f"worldclim/wc2.1_10m_bio/wc2.1_10m_bio_{k}.tif" for k in range(1, 20)]
    files += ["worldclim/wc2.1_10m_elev.tif", "eea/BiogeoRegions2016.shp"]
    files += [f"BigEarthNet/patches_with_{what}.csv" for what in ("seasonal_snow", "cloud_and_shadow")]
    for name in files:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    (home / "BigEarthNet/BigEarthNet-v1.0/S2A_MSIL2A_20170613T101031_0_45").mkdir(parents=True)
    for name, region in (("SEN12MS", "ROIs1158_spring"), ("DFC2020", "ROIs0000_test")):
        (home / name / region / "s2_1").mkdir(parents=True)
    return home
