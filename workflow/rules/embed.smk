"""Embeddings: one process reads a collection once and serves every encoder that can take it."""

for name in (c.name for c in STUDY.collections if STUDY.embedding_of(c.name)):

    rule:
        name:
            f"embed_chips_{name}"
        input:
            chips=f"{ROOT}/collections/{name}/chips.parquet",
            stores=towers_read(STUDY.embedding_of(name), name),
            context=context_read(STUDY.embedding_of(name), name),
            cards=[f"{ROOT}/encoders/{e}/card.json" for e in STUDY.embedding_of(name)],
            weights=[f"{ROOT}/encoders/{e}/encoder.safetensors" for e in STUDY.embedding_of(name)],
        output:
            embeddings=[f"{ROOT}/embeddings/{e}/{name}.parquet" for e in STUDY.embedding_of(name)],
        log:
            f"{ROOT}/logs/embed_chips/{name}.log",
        benchmark:
            f"{ROOT}/benchmarks/embed_chips/{name}.tsv"
        priority: 1
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=4000,
            runtime=240,
            gpu=1,
        params:
            recipe=recipe(collection=name, channels=STUDY.embedding_channels, random_inits=STUDY.random_inits),
            code=code("embed-chips", *{METHODS[STUDY.encoder(e).method] for e in STUDY.embedding_of(name)}),
        shell:
            "python -m terraprobe embed-chips --chips {input.chips} --stores {input.stores} --context {input.context}"
            " --cards {input.cards} --weights {input.weights} --recipe {params.recipe:q} --code {params.code}"
            " --embeddings {output.embeddings} 2>&1 | tee -i {log} >&2"
