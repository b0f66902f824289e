"""Draw the losses of a stage as a small SVG: python -m training.plot diffusion loss out.svg"""

import argparse
import json
import math
from pathlib import Path

from training.run import RUNS

WIDTH, HEIGHT, MARGIN = 640, 240, 44
LINE, TEXT, GRID = "#3b6fd4", "#555", "#ddd"


def read_curve(stage: str, name: str) -> list[tuple[int, float]]:
    """Step and value; where a run was resumed, the newer lines count."""
    lines = map(json.loads, (RUNS / stage / "losses.jsonl").read_text().splitlines())
    return sorted({line["step"]: line[name] for line in lines if name in line}.items())


def ticks(low: float, high: float) -> list[float]:
    """About four round numbers between the two."""
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def draw(curve: list[tuple[int, float]], title: str) -> str:
    steps, values = zip(*curve, strict=True)
    settled = sorted(values)[: max(2, len(values) * 19 // 20)]  # the first steep fall is cut off
    low, high = settled[0], settled[-1]

    def place(step: float, value: float) -> tuple[float, float]:
        across = MARGIN + (WIDTH - 2 * MARGIN) * step / steps[-1]
        share = min(1.0, (value - low) / (high - low))
        return across, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share

    points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in curve)
    parts = [f'<text x="{MARGIN}" y="24" font-weight="bold">{title}</text>']
    for value in ticks(low, high):
        _, y = place(0, value)
        parts.append(f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}" stroke="{GRID}"/>')
        parts.append(f'<text x="4" y="{y + 4:.1f}">{value:g}</text>')
    for step in ticks(0, steps[-1]):
        x, _ = place(step, low)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 20}" text-anchor="middle">{step:g}</text>')
    parts.append(f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="{TEXT}">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage")
    parser.add_argument("loss")
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    curve = read_curve(arguments.stage, arguments.loss)
    arguments.target.write_text(draw(curve, f"{arguments.stage}: {arguments.loss} by step"))
