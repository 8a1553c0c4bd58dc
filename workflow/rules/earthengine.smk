"""Pixels over an area of interest, from Earth Engine."""


rule fetch_earthengine:
    """Ask Earth Engine for one layer of one shard's chips, on their own grid."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
    output:
        manifest=f"{COLLECTION}/tiles/{{layer}}/{{shard}}.json",
    log:
        f"{ROOT}/logs/fetch_earthengine/{{collection}}-{{layer}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/fetch_earthengine/{{collection}}-{{layer}}-{{shard}}.tsv"
    wildcard_constraints:
        layer="|".join(PRODUCTS),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=720,
        network=1,
        earthengine=1,
    params:
        recipe=lambda w: recipe(layer=w.layer, shard=w.shard, composite=NAMES[w.collection].composite_of(w.layer)),
        code=code("fetch-earthengine"),
    shell:
        "python -m terraprobe fetch-earthengine --grid {input.grid} --recipe {params.recipe:q} --code {params.code}"
        " --manifest {output.manifest} 2>&1 | tee -i {log} >&2"
