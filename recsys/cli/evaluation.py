"""Measuring: the pipeline of a configuration, models against each other, what is promised of speed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from recsys.cli.options import AsJson, Config, deliver, extra, print_json, settings_of
from recsys.errors import SettingsError
from recsys.terminal import print_ladder, print_retrieval, print_rows, print_segments, print_serving, print_stages

app = typer.Typer()
bench_app = typer.Typer(help="Measure and compare.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

ReportPath = Annotated[Path | None, typer.Option("--report", help="Write one HTML file with tables and plots here.")]


@app.command(
    epilog="Examples: `recsys evaluate` · `recsys evaluate shop.toml --split last-one --report shop.html` · "
    "`recsys evaluate --metrics ndcg@10,recall@50,coverage@10 --json`"
)
def evaluate(
    config: Config = None,
    *,
    metrics: Annotated[str, typer.Option(help="Metrics with their depth, by commas; without it all that apply.")] = "",
    split: Annotated[str | None, typer.Option(help="How the log is parted; without it as `recsys train` does.")] = None,
    test_share: Annotated[
        float | None, typer.Option(help="The share that is judged by; without it train.test_share.")
    ] = None,
    surface: Annotated[str, typer.Option(help="Which surface is asked, and judged stage by stage.")] = "home",
    report: ReportPath = None,
    as_json: AsJson = False,
) -> None:
    """Fit on the older part of the log, judge the lists that would be served by the newer; nothing is published."""
    wanted = _metrics(metrics)
    with extra("train"):
        from benchmarks.pipeline import judge_pipeline
        from training.progress import Terminal, Unwatched
    write = _report_writer(report)

    settings = settings_of(config)
    if test_share is not None:
        settings = settings.model_copy(
            update={"train": settings.train.model_copy(update={"test_share": _share(test_share)})}
        )
    console = Console(stderr=as_json)
    document = judge_pipeline(
        settings,
        metrics=wanted,
        split=split,
        surface=surface,
        now=datetime.now(UTC),
        environ=os.environ,
        watcher=Unwatched() if as_json else Terminal(console),
    )
    write([document])
    if as_json:
        print_json(document)
    else:
        print_segments(console, document)
        print_stages(console, document["stages"])


@bench_app.command(
    "models",
    epilog="Examples: `recsys bench models ml-100k` · `recsys bench models gowalla --model als --json` · "
    "`recsys bench models ml-100k lastfm-2k --report models.html`",
)
def bench_models(
    datasets: Annotated[list[str], typer.Argument(help="Names of `recsys data list`.", metavar="DATASET…")],
    *,
    model: Annotated[
        list[str] | None, typer.Option(help="A configuration's name; may be given several times. Without it all.")
    ] = None,
    report: ReportPath = None,
    as_json: AsJson = False,
) -> None:
    """Fit, serve and judge the models of a data set, each in a process of its own, beside published figures."""
    with extra("train"):
        from benchmarks.models import compare, configs_of
        from training.progress import Terminal, Unwatched
    write = _report_writer(report)

    console = Console(stderr=as_json)
    watcher = Unwatched() if as_json else Terminal(console)
    for dataset in datasets:
        configs_of(dataset, model or ())
    documents = []
    for dataset in datasets:
        documents.append(compare(dataset, model or (), watcher, environ=os.environ))
        write(documents)
        if not as_json:
            print_rows(console, documents[-1])
    if as_json:
        print_json(documents[0] if len(documents) == 1 else documents)


@bench_app.command(
    "retrieval",
    epilog="Examples: `recsys bench retrieval` · `recsys bench retrieval --vectors glove --backend voyager` · "
    "`recsys bench retrieval --vectors synthetic:1000000x64 --json` · "
    "`recsys bench retrieval --vectors als:gowalla --vectors glove --report retrieval.html`",
)
def bench_retrieval(
    *,
    vectors: Annotated[
        list[str] | None,
        typer.Option(
            help="als:DATASET, glove or synthetic:NxD; may be given several times. Without it synthetic:100000x64.",
            metavar="NAME",
        ),
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="An index backend; may be given several times. Without it all.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw recall against time into this PNG.")] = None,
    report: ReportPath = None,
    as_json: AsJson = False,
) -> None:
    """Recall, time and memory of every index backend over its range, the bare library call beside ours."""
    with extra("train"):
        from benchmarks.retrieval import check_names, measure
    names = vectors or ["synthetic:100000x64"]
    try:
        for name in names:
            check_names(name, backend or ())
    except ValueError as error:
        raise SettingsError(str(error)) from error
    write = _retrieval_writer(names, plot, report)

    console = Console(stderr=as_json)
    documents = []
    for name in names:
        documents.append(measure(name, backend or ()))
        write(documents)
        if not as_json:
            print_retrieval(console, documents[-1])
    if as_json:
        print_json(documents[0] if len(documents) == 1 else documents)


@bench_app.command(
    "content",
    epilog="Examples: `recsys bench content citeulike-t` · `recsys bench content citeulike-a --json` · "
    "`recsys bench content ml-latest-small lastfm-2k --folder results --plot content.png`",
)
def bench_content(
    datasets: Annotated[
        list[str],
        typer.Argument(
            help="citeulike-a, citeulike-t, lastfm-2k, ml-latest-small, spotify-songs or free-music-mel.",
            metavar="DATASET…",
        ),
    ],
    *,
    validation: Annotated[
        bool, typer.Option("--validation", help="Judge by the items that settings are chosen by, not by the test.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep each document here as content-DATASET.json.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the ladders into this PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """What content says of items that nobody took: random, linear, network, oracle; cold, warm and overall."""
    with extra("train"):
        from benchmarks.content import keep, measure_all
        from training.progress import Terminal, Unwatched
    if plot is not None:
        with extra("report"):
            from benchmarks.content_plots import draw_ladders

    console = Console(stderr=as_json)
    documents = []
    for document in measure_all(
        datasets, Unwatched() if as_json else Terminal(console), environ=os.environ, validation=validation
    ):
        documents.append(document)
        if folder is not None:
            keep(document, folder)
        if not as_json:
            print_ladder(console, document)
    if plot is not None:
        draw_ladders(documents, plot)
    if as_json:
        print_json(documents[0] if len(documents) == 1 else documents)


@bench_app.command(
    "outliers", epilog="Examples: `recsys bench outliers citeulike-t` · `recsys bench outliers lastfm-2k`"
)
def bench_outliers(dataset: Annotated[str, typer.Argument(help="A data set whose content is studied.")]) -> None:
    """What the step content-outlier finds of known intruders, and what it does to the lists; JSON."""
    with extra("train"):
        from benchmarks.outliers import measure

    print_json(measure(dataset, os.environ))


@bench_app.command(
    "entities", epilog="Examples: `recsys bench entities lastfm-2k` · `recsys bench entities spotify-songs`"
)
def bench_entities(dataset: Annotated[str, typer.Argument(help="A data set with genres, tags or artists.")]) -> None:
    """Whether vectors of genres, tags and artists say what they are, and how playlists are continued; JSON."""
    with extra("train"):
        from benchmarks.entities import measure

    print_json(measure(dataset, os.environ))


@bench_app.command(
    "cascade",
    epilog="Examples: `recsys bench cascade ml-100k` · `recsys bench cascade gowalla --validation --json` · "
    "`recsys bench cascade ml-100k gowalla --folder results --plot cascade.png`",
)
def bench_cascade(
    datasets: Annotated[
        list[str], typer.Argument(help="Names of files in benchmarks/configs-cascade/.", metavar="DATASET…")
    ],
    *,
    validation: Annotated[
        bool, typer.Option("--validation", help="Judge by a part of the training part, not by the test.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Keep each document here as cascade-DATASET.json.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the stages into this PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Each source alone, what is fused of them, that put in order by a ranker, and the whole with its rules."""
    with extra("train"):
        from benchmarks.cascade import measure
        from benchmarks.content import keep
        from training.progress import Terminal, Unwatched
    if plot is not None:
        with extra("report"):
            from benchmarks.cascade_plot import draw

    console = Console(stderr=as_json)
    watcher = Unwatched() if as_json else Terminal(console)
    documents = []
    for dataset in datasets:
        documents.append(measure(dataset, watcher, environ=os.environ, validation=validation))
        if folder is not None:
            keep(documents[-1], folder, "cascade")
        if not as_json:
            print_stages(console, documents[-1])
    if plot is not None:
        draw(documents, plot)
    if as_json:
        print_json(documents[0] if len(documents) == 1 else documents)


@bench_app.command(
    "playlists",
    epilog="Examples: `recsys bench playlists --users 100000 --items 100000 --json` · "
    "`recsys bench playlists --users 10000`",
)
def bench_playlists(
    *,
    users: Annotated[int, typer.Option(min=1024, help="Users of a synthetic release of 64 dimensions.")] = 100_000,
    items: Annotated[int, typer.Option(min=2000, help="Its items.")] = 100_000,
    folder: Annotated[Path | None, typer.Option(help="Keep the document here as playlists.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """A night of playlists: users a second to an edition, memory, delivery to Redis, and what a listener waits."""
    with extra("bench"):
        from benchmarks.playlists import measure
    deliver(measure(users=users, items=items), folder, "playlists", as_json=as_json)


@bench_app.command("weeks", epilog="Examples: `recsys bench weeks` · `recsys bench weeks --plot weeks.png`")
def bench_weeks(
    *,
    plot: Annotated[Path | None, typer.Option(help="Draw hits and overlap by week into this PNG.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep the document here as weeks.json.")] = None,
) -> None:
    """Four weeks of playlists on ml-latest-small with real listening between them; JSON."""
    with extra("train"):
        from benchmarks.weeks import draw, measure
    document = measure(os.environ)
    if plot is not None:
        with extra("report"):
            draw(document, plot)
    deliver(document, folder, "weeks", as_json=True)


@bench_app.command(
    "serving",
    epilog="Examples: `recsys bench serving --items 1000000 --json` · "
    "`recsys bench serving --dataset ml-100k --rate 200`",
)
def bench_serving(
    *,
    items: Annotated[int, typer.Option(min=1000, help="Items of a synthetic release of 64 dimensions.")] = 1_000_000,
    users: Annotated[int, typer.Option(min=100, help="Its users.")] = 100_000,
    dataset: Annotated[str | None, typer.Option(help="A public data set in its place, trained as the demo is.")] = None,
    rate: Annotated[float, typer.Option(min=1, help="Requests a second of the open loop.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long the open loop goes on.")] = 20.0,
    slow_ranker: Annotated[
        float | None, typer.Option(min=1, help="Serve once more with a ranker of so many milliseconds and a budget.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the latencies into this PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """What an answer costs: a real server over a real Redis, asked by another process, beside its parts alone."""
    with extra("bench"):
        from benchmarks.serving import measure
    if plot is not None:
        with extra("report"):
            from benchmarks.latency import draw
    document = measure(items=items, users=users, dataset=dataset, rate=rate, seconds=seconds, slow_ranker=slow_ranker)
    times = document.pop("open_loop_ms")
    if plot is not None:
        draw(times, document, plot)
    print_json(document) if as_json else print_serving(Console(), document)


@bench_app.command("speed", epilog="Examples: `recsys bench speed` · `recsys bench speed loop --folder results`")
def bench_speed(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; without it all.", metavar="[NAME]…")] = None,
    *,
    folder: Annotated[Path | None, typer.Option(help="Keep each result here as NAME.json.")] = None,
) -> None:
    """What is promised of speed, as ratios within one run where they can be; JSON on standard output."""
    with extra("train"):
        from benchmarks.speed import run

    print_json(run(names or (), folder))


def _metrics(names: str) -> tuple[str, ...]:
    from recsys.evaluation import parse

    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in wanted:
        try:
            parse(name)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return wanted


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise typer.BadParameter(f"it is {value:g}, wanted more than 0 and less than 1", param_hint="--test-share")
    return value


def _report_writer(path: Path | None) -> Any:
    """Writes the report, or nothing without a path; what it needs is looked for before anything is measured."""
    if path is None:
        return lambda documents: None  # noqa: ARG005
    with extra("report"):
        from benchmarks.report import write_report

    return lambda documents: write_report(documents, path)


def _retrieval_writer(names: list[str], plot: Path | None, report: Path | None) -> Any:
    """Draws and writes what was asked for; what that needs is looked for before anything is measured."""
    if plot is None and report is None:
        return lambda documents: None  # noqa: ARG005
    if plot is not None and len(names) > 1:
        raise SettingsError(f"--plot draws one set of vectors and {len(names)} are given: --report takes them all")
    with extra("report"):
        from benchmarks.pareto import draw
        from benchmarks.retrieval_report import write_retrieval_report

    def write(documents: list[Any]) -> None:
        if plot is not None:
            draw(documents[-1], plot)
        if report is not None:
            write_retrieval_report(documents, report)

    return write
