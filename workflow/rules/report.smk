"""What came out: one table of scores, t-SNE pictures, one page."""

EMBEDDINGS = [f"{ROOT}/embeddings/{e}/{c}.parquet" for c in NAMES for e in STUDY.encoders_of(c)]
LABELLED = [c.name for c in STUDY.collections if c.labels]


rule gather_scores:
    """All scores of the study in one table."""
    input:
        scores=score_files("parquet"),
    output:
        table=f"{ROOT}/scores.parquet",
    params:
        recipe=recipe(),
        code=code("gather-scores"),
    log:
        f"{ROOT}/logs/gather_scores/all.log",
    benchmark:
        f"{ROOT}/benchmarks/gather_scores/all.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    conda:
        ENVIRONMENT
    shell:
        "python -m terraprobe gather-scores --scores {input.scores} --recipe {params.recipe:q} --code {params.code}"
        " --table {output.table} 2>&1 | tee {log} >&2"


rule project_embeddings:
    """t-SNE of every encoder's embeddings of every collection."""
    input:
        embeddings=EMBEDDINGS,
    output:
        projections=f"{ROOT}/projections.parquet",
    params:
        recipe=recipe(max_points=STUDY.tsne_chips),
        code=code("project-embeddings"),
    log:
        f"{ROOT}/logs/project_embeddings/all.log",
    benchmark:
        f"{ROOT}/benchmarks/project_embeddings/all.tsv"
    resources:
        mem_mb=3000,
        runtime=120,
    conda:
        ENVIRONMENT
    shell:
        "python -m terraprobe project-embeddings --embeddings {input.embeddings} --recipe {params.recipe:q}"
        " --code {params.code} --projections {output.projections} 2>&1 | tee {log} >&2"


rule write_report:
    """One offline page."""
    input:
        chips=[f"{ROOT}/collections/{c}/chips.parquet" for c in NAMES],
        table=f"{ROOT}/scores.parquet",
        projections=f"{ROOT}/projections.parquet",
    output:
        page=f"{ROOT}/report/index.html",
    params:
        recipe=recipe(study=STUDY.study),
        code=code("write-report"),
    log:
        f"{ROOT}/logs/write_report/all.log",
    benchmark:
        f"{ROOT}/benchmarks/write_report/all.tsv"
    resources:
        mem_mb=3000,
        runtime=60,
    conda:
        ENVIRONMENT
    shell:
        "python -m terraprobe write-report --recipe {params.recipe:q} --code {params.code} --page {output.page}"
        " 2>&1 | tee {log} >&2"
