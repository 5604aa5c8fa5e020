"""What the command line shows people: tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from recsys.releases import GateReport, Release


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


def verdict(gate: GateReport) -> str:
    """What the gate decided, in a word."""
    return "passed" if gate.passed else "forced" if gate.forced else "refused"
