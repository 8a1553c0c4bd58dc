"""Encoders. Training state lives beside the weights: a job that was cut off goes on from it."""


rule pretrain_encoder:
    """Train one encoder on the train chips of its collections; what is best on validation chips is kept."""
    input:
        chips=lambda w: [f"{ROOT}/collections/{c}/chips.parquet" for c in trained_on(w.encoder)],
        stores=lambda w: [s for c in trained_on(w.encoder) for s in towers_read([w.encoder], c)],
        context=lambda w: [p for c in trained_on(w.encoder) for p in context_read([w.encoder], c)],
        labels=lambda w: labels_learnt(w.encoder),
        start=lambda w: start_files(w.encoder),
    output:
        weights=f"{ROOT}/encoders/{{encoder}}/encoder.safetensors",
        card=f"{ROOT}/encoders/{{encoder}}/card.json",
        history=f"{ROOT}/encoders/{{encoder}}/history.parquet",
    log:
        f"{ROOT}/logs/pretrain_encoder/{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/pretrain_encoder/{{encoder}}.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=6000,
        runtime=1440,
        gpu=1,
        # `torchrun …` or `srun …` where a training has several GPUs: docs/cluster.md. Not in its recipe.
        launcher="",
    params:
        recipe=lambda w: recipe(**STUDY.pretrain_recipe(w.encoder)),
        code=lambda w: code("pretrain-encoder", METHODS[STUDY.encoder(w.encoder).method]),
    shell:
        "{resources.launcher} python -m terraprobe pretrain-encoder --chips {input.chips} --stores {input.stores} --context {input.context}"
        " --labels {input.labels} --start {input.start} --recipe {params.recipe:q} --code {params.code} --weights {output.weights} --card {output.card}"
        " --history {output.history} 2>&1 | tee -i {log} >&2"


rule take_restart:
    """Weights after a restart of the learning rate, out of the training state: an encoder may start from them."""
    input:
        card=f"{ROOT}/encoders/{{encoder}}/card.json",
    output:
        weights=f"{ROOT}/encoders/{{encoder}}/encoder-epoch{{epoch}}.safetensors",
    log:
        f"{ROOT}/logs/take_restart/{{encoder}}-{{epoch}}.log",
    benchmark:
        f"{ROOT}/benchmarks/take_restart/{{encoder}}-{{epoch}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=lambda w: recipe(epoch=int(w.epoch)),
        code=code("take-restart"),
    shell:
        "python -m terraprobe take-restart --card {input.card} --recipe {params.recipe:q} --code {params.code}"
        " --weights {output.weights} 2>&1 | tee -i {log} >&2"


rule augment_chips:
    """A few chips of a training's first batch as its loss sees them: a picture alone."""
    input:
        chips=lambda w: [f"{ROOT}/collections/{c}/chips.parquet" for c in trained_on(w.encoder)],
        stores=lambda w: [s for c in trained_on(w.encoder) for s in towers_read([w.encoder], c)],
    output:
        views=f"{ROOT}/encoders/{{encoder}}/views.npz",
    log:
        f"{ROOT}/logs/augment_chips/{{encoder}}.log",
    benchmark:
        f"{ROOT}/benchmarks/augment_chips/{{encoder}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=lambda w: recipe(**STUDY.pretrain_recipe(w.encoder)),
        code=lambda w: code("augment-chips", METHODS[STUDY.encoder(w.encoder).method]),
    shell:
        "python -m terraprobe augment-chips --chips {input.chips} --stores {input.stores} --recipe {params.recipe:q}"
        " --code {params.code} --views {output.views} 2>&1 | tee -i {log} >&2"


rule count_compute:
    """Chips seen and floating-point operations of the trainings that are set side by side."""
    input:
        cards=encoder_files(counted_encoders(STUDY), "card.json"),
        histories=encoder_files(counted_encoders(STUDY), "history.parquet"),
    output:
        compute=f"{ROOT}/compute.parquet",
    log:
        f"{ROOT}/logs/count_compute/all.log",
    benchmark:
        f"{ROOT}/benchmarks/count_compute/all.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        recipe=recipe(**compute_recipe(STUDY)),
        code=code("count-compute", *methods_of(counted_encoders(STUDY))),
    shell:
        "python -m terraprobe count-compute --cards {input.cards} --histories {input.histories}"
        " --recipe {params.recipe:q} --code {params.code} --compute {output.compute} 2>&1 | tee -i {log} >&2"
