"""What the command line shows people: tables."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.releases import GateReport, Release
from recsys.segments import ACTIVITY


def print_release(console: Console, release: Release) -> None:
    """What a release is, where it came from and what it was measured to do, as tables."""
    manifest = release.manifest
    lineage = manifest.lineage
    table = Table(show_header=False, box=None, padding=(0, 2), title=f"release {release.id}", title_justify="left")
    counts = ", ".join(f"{count:,} {what}" for what, count in manifest.counts.items())
    window = lineage["data"]["window"]
    table.add_row("data", f"{lineage['data']['name']}: {counts}")
    table.add_row("", " to ".join(time[:10] for time in window) if window else "undated")
    table.add_row("sha256", lineage["data"]["sha256"])
    table.add_row("model", ", ".join(f"{key} {value}" for key, value in lineage["config"]["model"].items()))
    table.add_row("seed", str(lineage["seed"]))
    code = lineage["code"]
    table.add_row("code", f"{code['version']}" + (f" at {code['commit'][:12]}" if code["commit"] else ""))
    table.add_row("libraries", ", ".join(f"{name} {number}" for name, number in lineage["libraries"].items()))
    table.add_row("gate", verdict(manifest.gate))
    for finding in manifest.gate.findings:
        table.add_row("", finding)
    console.print(table)

    accuracy = Table(
        "held out", "users", "pipeline", "popularity", title=manifest.metrics["split"], title_justify="left"
    )
    for metric, ours in manifest.metrics["pipeline"].items():
        if metric == "users":
            continue
        for segment, value in ours.items():
            theirs = manifest.metrics["popularity"][metric][segment]
            users = manifest.metrics["pipeline"]["users"][segment]
            shown = ("–" if number is None else f"{number:.4f}" for number in (value, theirs))
            accuracy.add_row(f"{metric.upper()} {segment}", f"{users:,}", *shown)
    console.print(accuracy)
    if content := manifest.metrics.get("content"):
        print_content(console, content)
    if ranker := manifest.metrics.get("ranker"):
        print_ranker(console, ranker)

    built = Table("index", "backend", "items × d", "recall@10", "recall@100", "one query", "build", "bytes")
    for name, report in manifest.indexes.items():
        built.add_row(
            name,
            report["backend"],
            f"{report['items']:,} × {report['dimensions']}",
            *(f"{report['recall'][depth]:.4f}" for depth in ("10", "100")),
            f"{report['query_ms']:.3f} ms",
            f"{report['build_s']:.2f} s",
            f"{report['bytes']:,}",
        )
    console.print(built)


def print_content(console: Console, content: Mapping[str, Any]) -> None:
    """What content brings cold items and costs warm ones, and of how many items nothing is known."""
    title = f"content: prior {content['prior']:g}, κ {content['kappa']:g}"
    table = Table("held out, by item", "", "overall", "warm", "cold", title=title, title_justify="left")
    for metric in content["with"]:
        for place, part in enumerate(("with", "without")):
            table.add_row("" if place else metric, part, *_shown(content[part][metric], "overall", "warm", "cold"))
    console.print(table)
    console.print(", ".join(f"{count:,} items: {what}" for what, count in content["items"].items()), style="dim")


def print_ranker(console: Console, ranker: Mapping[str, Any]) -> None:
    """Whether candidates are ranked, why not, and what the order is made of."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("ranker", "used" if ranker["used"] else "not used: the fusion's order is served")
    for finding in ranker["findings"]:
        table.add_row("", escape(finding))
    for name, between in ranker.get("against", {}).items():
        if between["difference"] is not None:
            told = f"{between['difference']:+.4f}, from {between['low']:+.4f} to {between['high']:+.4f}"
            table.add_row("", f"NDCG@10 {told}, beside {name}")
    importance = list(ranker.get("importance", {}).items())[:5]
    if importance:
        table.add_row("most gain", escape(", ".join(f"{name} {share:.0%}" for name, share in importance)))
    console.print(table)


def verdict(gate: GateReport) -> str:
    """What the gate decided, in a word."""
    return "passed" if gate.passed else "forced" if gate.forced else "refused"


def print_rows(console: Console, document: Mapping[str, Any]) -> None:
    """Models compared on one data set, best first, with what others have published beside them."""
    rows = [*document["rows"], *document["published"]]
    rows.sort(key=lambda row: row.get("ndcg@20") or 0, reverse=True)
    table = Table(
        "model", "kind", "Recall@20", "NDCG@20", "95 %", "against best", "p", "fit", "peak", "a user", "bytes an item",
        title=f"{document['dataset']}: {document['split']}", title_justify="left",
    )  # fmt: skip
    for row in rows:
        if "source" in row:
            table.add_row(row["model"], "published", *_shown(row, "recall@20", "ndcg@20"), row["source"], style="dim")
            continue
        low, high = row["intervals"].get("ndcg@20", (None, None))
        against = row.get("against", {}).get("ndcg@20", {})
        table.add_row(
            row["model"],
            row["kind"],
            *_shown(row, "recall@20", "ndcg@20"),
            "" if low is None else f"{low:.4f}–{high:.4f}",
            f"{against['difference']:+.4f}" if against.get("difference") is not None else "",
            f"{against['p']:.4f}" if against.get("p") is not None else "",
            f"{row['fit_s']:.1f} s",
            f"{row['peak_mb']:,.0f} MB",
            f"{row['ms_user']:.2f} ms" if row["ms_user"] is not None else "",
            f"{row['bytes_item']:,}",
        )
    console.print(table)
    for name, sentence in document["failed"].items():
        console.print(f"[red]{name}[/] could not be measured: {sentence}")


def print_ladder(console: Console, document: Mapping[str, Any]) -> None:
    """Systems by what they make of cold items, of warm ones, and of all, with what others have published."""
    names = [name for name in document["rows"][0] if name.startswith(("cold", "all_cold", "warm", "overall"))]
    shown = [name for name in names if not name.endswith("interval")]
    title = f"{document['dataset']}: {document['parts']}" if "parts" in document else document["dataset"]
    table = Table("system", *(name.replace("_", " ") for name in shown), "fit", title=title, title_justify="left")
    for row in document["rows"]:
        table.add_row(row["system"], *_shown(row, *shown), f"{row['fit_s']:.1f} s")
    console.print(table)
    for part in ("ablation", "curve"):
        if rows := document.get(part):
            table = Table(*(name.replace("_", " ") for name in rows[0]))
            for row in rows:
                table.add_row(*(_cell(value) if isinstance(value, float) else str(value) for value in row.values()))
            console.print(table)
    for line in document.get("published", ()):
        console.print(f"published: {line['model']} {line['ndcg@20']:.3f} NDCG@20 among cold items, {line['source']}")


def print_segments(console: Console, document: Mapping[str, Any]) -> None:
    """Each metric of each system by segment of users, and recall by segment of items."""
    systems = {row["model"]: row for row in document["rows"]}
    title = f"{document['dataset']}: {document['split']}"
    users = next(iter(systems.values()))["users"]["users"]
    heads = (f"{name} items" if name in ACTIVITY else name for name in users)
    table = Table("", "", *heads, title=title, title_justify="left")
    table.add_row("users", "", *(f"{count:,}" for count in users.values()), end_section=True)
    metrics = [name for name in next(iter(systems.values()))["users"] if name != "users"]
    for metric in metrics:
        for place, (name, row) in enumerate(systems.items()):
            shown = _shown(row["users"][metric], *users)
            table.add_row("" if place else metric, name, *shown, end_section=place == len(systems) - 1)
    console.print(table)
    items = Table("by popularity of the item", "", "head", "middle", "tail", "never seen in training", "all but these")
    for metric in next(iter(systems.values()))["items"]:
        for place, (name, row) in enumerate(systems.items()):
            items.add_row("" if place else metric, name, *_shown(row["items"][metric], *row["items"][metric]))
    console.print(items)
    for name, row in systems.items():
        lists = ", ".join(f"{metric} {row[metric]:.4f}" for metric in row if metric.startswith(("coverage", "gini")))
        for metric, (low, high) in row["intervals"].items():
            console.print(f"{name}: {metric} {_cell(row[metric])}, 95 % between {_cell(low)} and {_cell(high)}")
        if lists:
            console.print(f"{name}: {lists}")
        for metric, found in row.get("against", {}).items():
            if metric != "model":
                console.print(
                    f"{name} − {row['against']['model']}: {metric} {_cell(found['difference'])}, "
                    f"95 % between {_cell(found['low'])} and {_cell(found['high'])}, p = {_cell(found['p'])}"
                )


def print_stages(console: Console, document: Mapping[str, Any]) -> None:
    """What each stage of a surface adds, with intervals, and what its shortcuts cost."""
    title = f"{document['users']:,} users, stage by stage; in brackets 95 %"
    if "dataset" in document:
        title = f"{document['dataset']}, {document['split']}: {title}"
    metrics = [name for name, value in document["rows"][0].items() if isinstance(value, Mapping) and name != "less"]
    table = Table("stage", *metrics, title=title, title_justify="left")
    for row in document["rows"]:
        table.add_row(row["stage"], *(_bounds(row[name]) for name in metrics))
    console.print(table)
    if document["refused"]:
        console.print(
            f"the ranker is not above {' and '.join(document['refused'])} for certain: the whole is without it"
        )
    best = document["best_source"]
    for name, found in document["gain"].items():
        console.print(f"whole − {best}: {name} {_bounds(found, '+')}")
    lost = document["loss"]
    if lost["share"] is not None:
        parts = ", ".join(f"{name} {share:+.2%}" for name, share in lost["by"].items())
        console.print(
            f"lost of {lost['metric']} against exact, unfiltered scoring: {lost['share']:+.2%}, 95 % between "
            f"{lost['low']:+.2%} and {lost['high']:+.2%}, {lost['users']:,} users; by {parts}"
        )


def _bounds(found: Mapping[str, float | None], sign: str = "") -> str:
    """A number with its interval."""
    if found["mean"] is None:
        return "–"
    low, high = (f"{found[end]:{sign}.4f}" if found[end] is not None else "–" for end in ("low", "high"))
    return f"{found['mean']:{sign}.4f} \\[{low}, {high}]"


def _shown(row: Mapping[str, Any], *names: str) -> list[str]:
    return [_cell(row.get(name)) for name in names]


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def print_retrieval(console: Console, document: Mapping[str, Any]) -> None:
    """What index backends did over their ranges, and filtered search, as tables."""
    console.print(f"{document['vectors']}: {document['items']:,} × {document['dimensions']}, top 100, one thread")
    for build, group in groupby(document["rows"], key=_build):
        first, *others = rows = list(group)
        cost = (
            f"{build}: built in {first['build_s']:.1f} s, loaded in {first['load_ms']:.0f} ms, "
            f"{first['bytes_per_vector']:,.0f} bytes a vector"
        )
        fixed = {
            key for key, value in first["params"].items() if others and all(r["params"][key] == value for r in others)
        }
        measured = Table("search", title=cost, title_justify="left")
        for name in ("recall@100", "p50 ms", "p99 ms", "q/s", "to raw", "batch"):
            measured.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            step = ", ".join(f"{key} {value}" for key, value in row["params"].items() if key not in fixed)
            figures = (
                f"{row['recall@100']:.4f}", f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}", f"{row['qps_1']:,.0f}",
                f"{row['vs_raw_single']:.2f}", f"{row['vs_raw_batch']:.2f}",
            )  # fmt: skip
            measured.add_row(step, *figures)
        console.print(measured)
    filtered = Table("allowed", "plan", "recall@100", "p50 ms", title="filtered", title_justify="left")
    for row in document["filtered"]:
        filtered.add_row(f"{row['selectivity']:.1%}", row["plan"], f"{row['recall@100']:.4f}", f"{row['p50_ms']:.3f}")
    console.print(filtered)


def _build(row: Mapping[str, Any]) -> str:
    return f"{row['backend']} {row['params'].get('storage', '')}".strip()


def print_serving(console: Console, document: Mapping[str, Any]) -> None:
    """What answers cost, as clients saw it and by stage, and what the parts cost alone."""
    table = Table("load", "requests", "errors", "requests/s", "p50 ms", "p90 ms", "p99 ms", title=document["dataset"])
    rate, clients = document["open_loop"]["rate"], document["closed_loop"]["clients"]
    loads = {
        f"open, {rate:g} a second": document["open_loop"],
        f"closed, {clients} clients": document["closed_loop"],
        "closed, 1 client": document["one_client"],
        f"open, {rate:g} a second, of an empty route": document["empty_open_loop"],
    }
    if slow := document.get("slow_ranker"):
        name = f"open, the ranker takes {slow['ranker_ms']:g} ms of {slow['budget_ms']:g}"
        loads[name] = slow["open_loop"]
    for name, row in loads.items():
        figures = (f"{row['p50_ms']:.2f}", f"{row['p90_ms']:.2f}", f"{row['p99_ms']:.2f}")
        table.add_row(name, f"{row['requests']:,}", f"{row['errors']:,}", f"{row['rps']:,.0f}", *figures)
    console.print(table)
    alone = {"parts alone": document["floor"], "parts alone, by libraries": document["libraries"]}
    for title, parts in {"stages": document["stages_ms"], **alone}.items():
        console.print(f"{title}, ms: " + " · ".join(f"{name} {took:.3f}" for name, took in parts.items()))
    console.print(
        f"one client waits {document['times_floor']:g} × the parts alone, {document['times_libraries']:g} × those that "
        f"libraries do; other loops of an answer take {document['loops_ms']:.3f} ms · "
        f"ready in {document['ready_s']:g} s · a worker has {document['second_worker_private_mb']:,.0f} MB of its own"
    )
