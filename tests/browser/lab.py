"""JupyterLab in a headless Chromium, for tests that do what a person would do."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
BROKEN = "[...document.images].filter(each => !each.naturalWidth || !each.alt).length"  # not loaded, or without a text
HARMLESS = ("favicon", "net::ERR_", "Failed to load resource", "[Violation]")


@contextlib.contextmanager
def serve_lab(folder: Path, **variables: str) -> Iterator[str]:
    """JupyterLab on a free port with `folder` as its root; gives its address, ends it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", "--ServerApp.token="]
    options += ["--ServerApp.password=", f"--ServerApp.root_dir={folder}", "--LabApp.extension_manager=readonly"]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR")
    own = {name: str(folder / ".jupyter" / name.lower()) for name in names}
    tracker = Path(own["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab/notebook-extension/tracker.jupyterlab-settings")
    tracker.parent.mkdir(parents=True, exist_ok=True)
    tracker.write_text('{"windowingMode": "none"}')  # cells out of sight stay in the page, so that all can be counted
    command = [sys.executable, "-m", "jupyterlab", *options]
    environment = {**os.environ, **own, **variables}
    with (folder / "lab.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/api", timeout=2) as answer:
                json.load(answer)
                break
            time.sleep(0.2)
        else:
            raise TimeoutError((folder / "lab.log").read_text()[-2000:])
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its kernels too; asked to end, it waits for them
        process.wait()


@contextlib.contextmanager
def open_browser(width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """A page of a fresh Chromium; `page.errors` collects what its console says went wrong."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.errors = []
        page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        try:
            yield page
        finally:
            browser.close()


def write_notebook(path: Path, *cells: str) -> Path:
    """A notebook of code cells."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


def run_all(page: Page, address: str, name: str, seconds: float = 120) -> None:
    """Open a notebook in JupyterLab and run all its cells; returns when the kernel is idle again."""
    page.goto(f"{address}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    idle = page.locator(
        ".jp-NotebookPanel-toolbar [data-status='idle'], .jp-Notebook-ExecutionIndicator[data-status='idle']"
    )
    idle.first.wait_for(timeout=60_000)
    asked = page.locator(".jp-Dialog button", has_text="Select")  # which kernel, where Lab does not know
    with contextlib.suppress(TimeoutError):
        asked.first.click(timeout=3_000)
        idle.first.wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(
        "() => { const told = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(c => c.textContent);"
        " const shown = told.filter(text => text);"  # a folded cell says nothing
        " const failed = document.querySelector(\"[data-mime-type='application/vnd.jupyter.error']\");"
        " return failed || (shown.length && shown.every(text => /\\[\\d+\\]/.test(text))); }",
        timeout=seconds * 1000,
    )
    idle.first.wait_for(timeout=60_000)


def real_errors(page: Page) -> list[str]:
    """Errors of the console that are no fault of a page without a network."""
    return [text for text in page.errors if not any(word in text for word in HARMLESS)]


def open_explorer(page: Page, address: str, notebook: Path, *cells: str) -> Locator:
    """Write a notebook of these cells beside Lab's root, run it, and wait until its explorer is drawn."""
    write_notebook(notebook, *cells)
    run_all(page, address, notebook.name)
    page.locator(".lsdkit-explorer[data-ready=yes]").first.wait_for(timeout=60_000)
    return page.locator(".lsdkit-explorer").first
