"""Pieces of an HTML page that needs nothing beside itself: no scripts, no fonts, no addresses to fetch from."""

import base64
import html
from collections.abc import Iterable

from lsdkit.plots import Figure, png

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; color: #222; background: #fff; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
p { max-width: 46rem; }
.lead { color: #444; margin-top: 0; }
.note { color: #555; font-size: .92rem; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: #555; font-size: .88rem; max-width: 46rem; margin-top: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #e4e4e4; text-align: right; vertical-align: top; }
th { border-bottom: 2px solid #999; vertical-align: bottom; }
.left { text-align: left; }
td.nowrap { white-space: nowrap; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.tiles div { border: 1px solid #ddd; border-radius: .4rem; padding: .6rem 1rem; }
.tiles b { display: block; font-size: 1.4rem; }
.tiles span { color: #555; font-size: .88rem; }
code { background: #f3f3f3; padding: .05rem .3rem; border-radius: .2rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) { body { padding: .9rem; } h1 { font-size: 1.35rem; } }
@media print {
  body { max-width: none; font-size: 10.5pt; padding: 0; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .4rem; }
  td.nowrap { white-space: normal; }
}
"""


def document(title: str, sections: Iterable[str]) -> str:
    """A whole page from HTML sections."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )


def figure(drawn: Figure, caption: str, dpi: int = 150) -> str:
    """A figure as an inline PNG with its caption, which is also its description for those who cannot see it."""
    data, text = base64.b64encode(png(drawn, dpi)).decode(), html.escape(caption)
    image = f'<img alt="{text}" width="{round(drawn.get_figwidth() * 96)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], left: Iterable[int] = (0,)) -> str:
    """A table; the columns numbered in `left` hold text, the others numbers, aligned to the right and never broken."""
    columns, left = list(columns), set(left)
    kinds = ["left" if number in left else "nowrap" for number in range(len(columns))]
    head = "".join(f'<th class="{kind}">{html.escape(name)}</th>' for kind, name in zip(kinds, columns, strict=True))
    lines = [
        "".join(f'<td class="{kind}">{html.escape(str(value))}</td>' for kind, value in zip(kinds, row, strict=True))
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
