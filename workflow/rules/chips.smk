"""Chips cut out of tiles: one shard of one layer a job, sealed into a store when all are there."""

STORE = f"{COLLECTION}/{{kind}}/{{layer}}"


rule cut_chips:
    """Warp the tiles of one layer onto the grid of one shard's chips."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
        tiles=lambda w: tiles(w.collection, w.layer, w.shard),
        manifest=lambda w: manifest(w.collection, w.shard, w.layer),
    output:
        pixels=f"{STORE}/{{shard}}.npy",
        valid=f"{STORE}/{{shard}}.valid.npy",
    log:
        f"{ROOT}/logs/cut_chips/{{collection}}-{{kind}}-{{layer}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/cut_chips/{{collection}}-{{kind}}-{{layer}}-{{shard}}.tsv"
    priority: 2  # everything waits for chips, and then for encoders: neither is left for last
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        recipe=lambda w: recipe(layer=w.layer, shard=w.shard, **own_classes(w)),
        code=code("cut-chips"),
    shell:
        "python -m terraprobe cut-chips --grid {input.grid} --manifest {input.manifest} --recipe {params.recipe:q}"
        " --code {params.code} --pixels {output.pixels} --valid {output.valid} 2>&1 | tee -i {log} >&2"


rule seal_store:
    """Check and hash the shards of a layer: from now on they are a store."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
        shards=lambda w: [
            f"{ROOT}/collections/{w.collection}/{w.kind}/{w.layer}/{name}{suffix}"
            for name in NAMES[w.collection].shard_names
            for suffix in (".npy", ".valid.npy")
        ],
    output:
        spec=f"{STORE}/spec.json",
    log:
        f"{ROOT}/logs/seal_store/{{collection}}-{{kind}}-{{layer}}.log",
    benchmark:
        f"{ROOT}/benchmarks/seal_store/{{collection}}-{{kind}}-{{layer}}.tsv"
    priority: 2
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        recipe=lambda w: recipe(layer=w.layer, **own_classes(w)),
        code=code("seal-store"),
    shell:
        "python -m terraprobe seal-store --grid {input.grid} --shards {input.shards} --recipe {params.recipe:q}"
        " --code {params.code} --spec {output.spec} 2>&1 | tee -i {log} >&2"


rule measure_labels:
    """Chip-level labels from the pixel labels, or as an archive gives them."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
        stores=lambda w: stores(w.collection, "labels"),
        images=lambda w: images(w.collection),
    output:
        labels=f"{COLLECTION}/labels.parquet",
    log:
        f"{ROOT}/logs/measure_labels/{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/measure_labels/{{collection}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        recipe=recipe(),
        code=code("measure-labels"),
    shell:
        "python -m terraprobe measure-labels --grid {input.grid} --stores {input.stores} --images {input.images}"
        " --recipe {params.recipe:q} --code {params.code} --labels {output.labels} 2>&1 | tee -i {log} >&2"
