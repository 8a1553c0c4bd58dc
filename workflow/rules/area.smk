"""What is fetched over an area of interest: pixels from Earth Engine, coherence from ASF, built-up surface."""


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


rule search_coherence:
    """List the interferograms that ASF has over the chips of an area."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
    output:
        products=f"{COLLECTION}/tiles/s1_coherence/products.parquet",
    log:
        f"{ROOT}/logs/search_coherence/{{collection}}.log",
    benchmark:
        f"{ROOT}/benchmarks/search_coherence/{{collection}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
        network=1,
    params:
        recipe=lambda w: recipe(months=NAMES[w.collection].months),
        code=code("search-coherence"),
    shell:
        "python -m terraprobe search-coherence --grid {input.grid} --recipe {params.recipe:q} --code {params.code}"
        " --products {output.products} 2>&1 | tee -i {log} >&2"


rule fetch_coherence:
    """Fetch the interferograms that touch one shard's chips, each once for all studies."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
        products=rules.search_coherence.output.products,
    output:
        manifest=f"{COLLECTION}/tiles/s1_coherence/{{shard}}.json",
    log:
        f"{ROOT}/logs/fetch_coherence/{{collection}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/fetch_coherence/{{collection}}-{{shard}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=1440,
        network=1,
    params:
        recipe=lambda w: recipe(shard=w.shard, cache=f"{DOWNLOADS}/gunw"),
        code=code("fetch-coherence"),
    shell:
        "python -m terraprobe fetch-coherence --grid {input.grid} --products {input.products}"
        " --recipe {params.recipe:q} --code {params.code} --manifest {output.manifest} 2>&1 | tee -i {log} >&2"


rule fetch_ghs:
    """Fetch the tiles of built-up surface that touch one shard's chips, each once for all studies."""
    input:
        grid=f"{COLLECTION}/grid.parquet",
    output:
        manifest=f"{COLLECTION}/tiles/ghs_built/{{shard}}.json",
    log:
        f"{ROOT}/logs/fetch_ghs/{{collection}}-{{shard}}.log",
    benchmark:
        f"{ROOT}/benchmarks/fetch_ghs/{{collection}}-{{shard}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=240,
        network=1,
    params:
        recipe=lambda w: recipe(
            shard=w.shard, cache=f"{DOWNLOADS}/ghs_built", **read_sources()["ghs_built"].tiles_recipe()
        ),
        code=code("fetch-ghs"),
    shell:
        "python -m terraprobe fetch-ghs --grid {input.grid} --recipe {params.recipe:q} --code {params.code}"
        " --manifest {output.manifest} 2>&1 | tee -i {log} >&2"
