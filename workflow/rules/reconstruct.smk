"""Autoencoders: how well they give test chips back, and what a support vector machine learns from their embeddings."""


rule reconstruct_chips:
    """Give the test chips back by one autoencoder and its untrained twins; labels of train chips alone are read."""
    input:
        chips=lambda w: f"{ROOT}/collections/{reconstructed(w)}/chips.parquet",
        stores=lambda w: towers_read([w.encoder], reconstructed(w)),
        context=lambda w: context_read([w.encoder], reconstructed(w)),
        card=f"{ROOT}/encoders/{{encoder}}/card.json",
        weights=f"{ROOT}/encoders/{{encoder}}/encoder.safetensors",
        embeddings=lambda w: f"{ROOT}/embeddings/{w.encoder}/{reconstructed(w)}.parquet",
        labels=lambda w: machine_labels(w),
        # No test chip of a collection whose audit stops the run. Ancient: what the audit found changes no score.
        audit=lambda w: ancient(f"{ROOT}/collections/{reconstructed(w)}/leakage.json"),
    output:
        errors=f"{ROOT}/reconstruction/{{evaluation}}/{{encoder}}.parquet",
        images=f"{ROOT}/reconstruction/{{evaluation}}/{{encoder}}.npz",
    log:
        f"{ROOT}/logs/reconstruct_chips/{{evaluation}}-{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/reconstruct_chips/{{evaluation}}-{{encoder}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=1,
    params:
        recipe=lambda w: recipe(**STUDY.reconstruct_recipe(w.evaluation)),
        code=lambda w: code("reconstruct-chips", METHODS[STUDY.encoder(w.encoder).method]),
    shell:
        "python -m terraprobe reconstruct-chips --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --card {input.card} --weights {input.weights} --embeddings {input.embeddings} --labels {input.labels}"
        " --recipe {params.recipe:q} --code {params.code} --errors {output.errors} --images {output.images} 2>&1"
        " | tee -i {log} >&2"


rule score_reconstruction:
    """All autoencoders of an evaluation side by side, on the same test chips; their labels are read here alone."""
    input:
        errors=lambda w: [
            f"{ROOT}/reconstruction/{w.evaluation}/{e}.parquet"
            for e in STUDY.judged(STUDY.reconstruction(w.evaluation))
        ],
        chips=lambda w: f"{ROOT}/collections/{reconstructed(w)}/chips.parquet",
        labels=lambda w: machine_labels(w),
    output:
        scores=f"{ROOT}/reconstruction/{{evaluation}}.parquet",
        differences=f"{ROOT}/reconstruction/{{evaluation}}.differences.parquet",
    log:
        f"{ROOT}/logs/score_reconstruction/{{evaluation}}.log",
    benchmark:
        f"{ROOT}/benchmarks/score_reconstruction/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        recipe=lambda w: recipe(**STUDY.reconstruction_recipe(w.evaluation)),
        code=code("score-reconstruction"),
    shell:
        "python -m terraprobe score-reconstruction --errors {input.errors} --chips {input.chips}"
        " --labels {input.labels} --recipe {params.recipe:q} --code {params.code} --scores {output.scores}"
        " --differences {output.differences} 2>&1 | tee -i {log} >&2"
