"""The executed notebooks as Markdown pages with their pictures beside them, as a repository's site shows them.

Such a site drops scripts, styles and pictures inside a page. What an output shows in HTML is therefore kept without
them, and each of its pictures becomes a small file. A page carries the hash of the notebook it is of.
"""

import base64
import io
import re
import shutil
from pathlib import Path

from bs4 import BeautifulSoup
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor, Preprocessor
from nbformat.v4 import new_markdown_cell
from PIL import Image

from lsdkit.common import files
from lsdkit.common.paths import project_path
from lsdkit.reproduce.headless import Job
from lsdkit.reproduce.lessons import hash_sources, list_lessons, run_lessons

PAGES = "docs/notebooks"
WIDTH, QUALITY = 1000, 80  # of a picture: pixels at most, and WebP's quality
KEPT = {"alt", "colspan", "height", "href", "open", "rowspan", "src", "width"}  # attributes that such a site keeps
DROPPED = ("script", "style", "link", "button", "input", "select", "canvas", "svg")  # elements that it does not show
PICTURES = ("image/png", "image/jpeg")
INSIDE = re.compile(r"data:image/(?:png|jpeg|webp|gif);base64,(.+)", re.S)  # a picture inside HTML
STAMP = "notebook's sources: "


def write_pages(out: Path | str = PAGES) -> str:
    """Execute the notebooks that have to be (`run_lessons`) and write the page of each; returns where and how large."""
    pages = [write_page(lesson, Path(out)) for lesson in run_lessons()]
    sizes = [sum(path.stat().st_size for path in (page, *list_pictures(page))) for page in pages]
    return "\n".join(f"{project_path(page)}  {size / 1000:.0f} kB" for page, size in zip(pages, sizes, strict=True))


def write_page(lesson: Job, out: Path) -> Path:
    """Write OUT/NAME.md from a lesson's executed copy, and its pictures to OUT/NAME; returns the page.

    The cell of parameters that papermill puts in is told in the page's first line instead, and cells tagged `solution`
    are folded.
    """
    page, pictures = out / f"{lesson.notebook.stem}.md", Pictures(lesson.notebook.stem)
    steps = [CoalesceStreamsPreprocessor(enabled=True), pictures]  # the first leaves of a bar its last state
    body, _ = MarkdownExporter(preprocessors=steps).from_filename(str(lesson.copy))
    given = "".join(f", with `{name}` {value}" for name, value in lesson.parameters.items())
    head = (
        f"<!-- {STAMP}{hash_sources(lesson.notebook)} -->\n"
        f"*[{lesson.notebook.name}](../../notebooks/{lesson.notebook.name}) as it looks when it was run{given}. "
        "`make pages` writes this page.*\n\n"
    )
    shutil.rmtree(page.with_suffix(""), ignore_errors=True)
    for name, content in pictures.made.items():
        files.write_bytes(out / name, content)
    files.write_text(page, head + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n")
    return page


def list_pictures(page: Path) -> list[Path]:
    """The pictures of a page, by name."""
    return sorted(page.with_suffix("").glob("*.webp"))


def find_stale(out: Path | str = PAGES) -> list[str]:
    """The notebooks whose page is not there, or of other sources than the notebook has now."""
    stale = []
    for lesson in list_lessons():
        page = Path(out) / f"{lesson.notebook.stem}.md"
        if not page.is_file() or f"{STAMP}{hash_sources(lesson.notebook)} " not in page.read_text(encoding="utf-8"):
            stale.append(lesson.notebook.stem)
    return stale


class Pictures(Preprocessor):
    """Takes the pictures out of a notebook's outputs, and what a page cannot show; `made` is {place: WebP file}."""

    enabled = True

    def __init__(self, folder: str):
        super().__init__()
        self.folder, self.made, self.heading = folder, {}, folder

    def preprocess(self, nb, resources):
        """Each cell's outputs as a page can show them; solutions between the marks of a fold."""
        cells = []
        for cell in nb.cells:
            tags = cell.metadata.get("tags", ())
            if "injected-parameters" in tags:
                continue
            if cell.cell_type == "markdown":
                words = next(reversed(re.findall(r"^#+ (.+)$", cell.source, re.M)), self.heading)
                self.heading = re.sub(r"[^\w\s,.:;?!()'-]", "", words)  # no mark of Markdown or mathematics
            if cell.cell_type == "code":
                shown = (self._show(output) for output in cell.outputs)
                cell.outputs = [output for output in shown if output is not None]
            fold = "solution" in tags
            marks = ("<details><summary>Solution</summary>", "</details>") if fold else ()
            cells += [*map(new_markdown_cell, marks[:1]), cell, *map(new_markdown_cell, marks[1:])]
        nb.cells = cells
        return nb, resources

    def _show(self, output):
        """An output with one thing in it to show, or None where there is nothing to see."""
        if "data" not in output:  # a stream, or an error
            return output
        data, kinds = output["data"], [kind for kind in PICTURES if kind in output["data"]]
        if "text/html" in data:
            shown = {"text/html": self._clean(data["text/html"])}
        elif kinds:
            told = output["metadata"].get(kinds[0], {})
            name = self._keep(base64.b64decode(data[kinds[0]]))
            shown = {"text/markdown": f"![{told.get('alt') or self.heading}]({name})"}
        elif any("widget" in kind for kind in data):
            return None
        else:
            shown = {kind: text for kind, text in data.items() if kind in ("text/markdown", "text/latex", "text/plain")}
        output["data"] = shown
        return output if any(text.strip() for text in shown.values()) else None

    def _clean(self, text: str) -> str:
        """HTML without scripts, styles and blank lines, its pictures in files; "" where nothing is left to see."""
        soup = BeautifulSoup(text, "html.parser")
        for element in soup.find_all(DROPPED):
            element.decompose()
        for element in soup.find_all("img"):
            found = INSIDE.match(element.get("src", ""))
            if not found:
                element.decompose()
                continue
            element["src"] = self._keep(base64.b64decode(found[1]))
            element["alt"] = element.get("alt") or self.heading
        for element in soup.find_all(True):
            element.attrs = {name: value for name, value in element.attrs.items() if name in KEPT}
        if not soup.get_text(strip=True) and not soup.find("img"):
            return ""
        return re.sub(r"\n\s*\n+", "\n", str(soup)).strip()

    def _keep(self, content: bytes) -> str:
        """Keep a picture, small; returns its place beside the page. The same picture is kept once."""
        image = Image.open(io.BytesIO(content)).convert("RGBA")
        image.thumbnail((WIDTH, 10 * WIDTH))
        flat, stream = Image.new("RGB", image.size, "white"), io.BytesIO()
        flat.paste(image, mask=image.getchannel("A"))
        flat.save(stream, "WEBP", quality=QUALITY, method=6)
        known = {small: name for name, small in self.made.items()}
        name = known.get(stream.getvalue(), f"{self.folder}/{len(self.made) + 1:02}.webp")
        self.made[name] = stream.getvalue()
        return name
