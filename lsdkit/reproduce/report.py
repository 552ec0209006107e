"""One page from a folder of runs: the notebook report.ipynb beside this file, run and exported without its code.

The page is a single HTML file that needs nothing beside itself: no scripts, no fonts, no addresses to fetch from. What
the notebook shows is made in `lsdkit.reproduce.report_parts`; `report.html.j2` and `report.css` are the page around it.
"""

from pathlib import Path

from lsdkit.common import files
from lsdkit.common.paths import project_path
from lsdkit.reproduce.headless import Job, execute
from lsdkit.training.runs import list_runs

NOTEBOOK, TEMPLATE, STYLE = (Path(__file__).with_name(f"report.{ending}") for ending in ("ipynb", "html.j2", "css"))


def write_report(runs_folder: Path | str, out: Path | str | None = None, command: str = "") -> Path:
    """Write one page over the finished runs in a folder; returns its path (default RUNS/report.html).

    The executed notebook, with its code, stays beside the page. `command` is named on the page as what made it. Raises
    `FileNotFoundError` where no run is finished, `ValueError` for a page that is not called .html, and
    `ChildProcessError` with the notebook's last words where it stops.
    """
    folder = Path(runs_folder).resolve()
    if not list_runs(folder):
        raise FileNotFoundError(
            f"Expected finished runs in {folder}, but found none; train with notebook 03 or `lsdkit demo`"
        )
    out = Path(out).resolve() if out else folder / "report.html"
    if out.suffix != ".html":
        raise ValueError(f"Expected a page whose name ends in .html, but got {out.name}; name another --out")
    parameters = {"RUN_DIR": str(folder), "COMMAND": command or f"lsdkit report {folder.name}"}
    copy = out.with_suffix(".ipynb")
    if error := execute(Job("report", NOTEBOOK, copy, parameters)):
        failed, why = project_path(copy.with_name(f"{copy.stem}.failed.ipynb")), error.splitlines()[-1]
        raise ChildProcessError(f"Expected the report's notebook to run, but it stopped; {failed} shows where: {why}")
    files.write_text(out, render_page(copy, f"{folder.name}: members and ensembles"))
    return out


def render_page(notebook: Path, title: str) -> str:
    """An executed notebook as one HTML page, its prose and outputs without the code, in the style of report.css."""
    from nbconvert import HTMLExporter  # takes a second

    left_out = dict.fromkeys(("input", "input_prompt", "output_prompt", "anchor_links"), True)
    exporter = HTMLExporter(template_file=str(TEMPLATE), **{f"exclude_{name}": so for name, so in left_out.items()})
    resources = {"title": title, "style": STYLE.read_text(encoding="utf-8")}
    return exporter.from_filename(str(notebook), resources=resources)[0]
