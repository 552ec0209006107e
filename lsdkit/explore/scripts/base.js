// What every explorer shares. An explorer's script comes after this one, in one module, and ends with
// `export default explorer(async (page) => { ... })`; `page` is described at `explorer`.

const COLOURS = ["#D55E00", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#56B4E9"]; // Okabe and Ito, by class

// An element: tag, attributes (functions become listeners), children (elements and text).
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// A control with its name before it.
const labelled = (text, control) => make("label", { className: "lsdkit-control" }, make("span", {}, text), control);

// A drop-down list; `options` are texts, or [value, text] pairs.
function choose(options, value, change) {
  const pairs = options.map((each) => (Array.isArray(each) ? each : [each, each]));
  const list = make("select", {}, ...pairs.map(([key, text]) => make("option", { value: String(key) }, text)));
  list.value = String(value);
  list.addEventListener("change", () => change(list.value));
  return list;
}

// A slider that tells its value beside it.
function slide(low, high, step, value, change, digits = 2) {
  const shown = make("output", { className: "lsdkit-value" }, Number(value).toFixed(digits));
  const bar = make("input", { type: "range", min: low, max: high, step });
  bar.value = value;
  bar.addEventListener("input", () => {
    shown.textContent = Number(bar.value).toFixed(digits);
    change(Number(bar.value));
  });
  const both = make("span", { className: "lsdkit-slide" }, bar, shown);
  both.set = (given) => {
    bar.value = given;
    shown.textContent = Number(given).toFixed(digits);
  };
  return both;
}

const tick = (value, change) => {
  const box = make("input", { type: "checkbox", checked: value });
  box.addEventListener("change", () => change(box.checked));
  return box;
};

const press = (text, act) => make("button", { type: "button", click: act }, text);

// Pictures of one size out of a buffer of RGB bytes: (n, size, size, 3) to n canvases.
function unpack(buffer, count, height, width = height) {
  const bytes = new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, count * height * width * 3);
  return Array.from({ length: count }, (_, number) => {
    const canvas = make("canvas", { width, height });
    const data = new ImageData(width, height);
    const from = number * height * width * 3;
    for (let place = 0, at = from; place < data.data.length; place += 4, at += 3) {
      data.data[place] = bytes[at];
      data.data[place + 1] = bytes[at + 1];
      data.data[place + 2] = bytes[at + 2];
      data.data[place + 3] = 255;
    }
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  });
}

// Numbers out of a buffer, whatever it begins at: copies, so that the alignment is right.
function numbers(buffer, Kind = Float32Array) {
  const start = buffer.byteOffset ?? 0;
  return new Kind((buffer.buffer ?? buffer).slice(start, start + buffer.byteLength));
}

// 68 points (x, y in [-1, 1], y down) joined within each part; parts are lists of point numbers.
function drawPoints(context, points, parts, size, colour = "#ffffff", dot = "#00d0ff") {
  const at = (number) => [((points[2 * number] + 1) / 2) * size, ((points[2 * number + 1] + 1) / 2) * size];
  if (!Number.isFinite(points[0])) return;
  context.lineWidth = Math.max(0.7, size / 160);
  context.strokeStyle = colour;
  for (const part of parts) {
    context.beginPath();
    part.forEach((number, place) => (place ? context.lineTo(...at(number)) : context.moveTo(...at(number))));
    context.stroke();
  }
  context.fillStyle = dot;
  for (let number = 0; number < 68; number++) {
    context.beginPath();
    context.arc(...at(number), Math.max(0.9, size / 130), 0, 2 * Math.PI);
    context.fill();
  }
}

// Bars of shares in [0, 1] with names before and figures behind them; `update(values)` moves them.
function bars(names, values, colours = COLOURS) {
  const rows = names.map((name, place) => {
    const bar = make("span", { className: "lsdkit-bar", style: { background: colours[place % colours.length] } });
    const figure = make("span", { className: "lsdkit-value" });
    return { bar, figure, row: make("div", { className: "lsdkit-bars-row" }, make("span", {}, name), make("span", { className: "lsdkit-track" }, bar), figure) };
  });
  const all = make("div", { className: "lsdkit-bars", role: "img" }, ...rows.map((each) => each.row));
  all.update = (given) => {
    rows.forEach(({ bar, figure }, place) => {
      bar.style.width = `${100 * (given?.[place] ?? 0)}%`;
      figure.textContent = given ? given[place].toFixed(2) : "";
    });
    all.setAttribute("aria-label", names.map((name, place) => `${name} ${given?.[place]?.toFixed(2) ?? "none"}`).join(", "));
  };
  all.update(values);
  return all;
}

// The last call of several in a row, once the one under way has ended: a slider never queues up questions.
function latest(act) {
  let busy = false;
  let waiting = null;
  return async function run(...given) {
    if (busy) {
      waiting = given;
      return;
    }
    busy = true;
    try {
      await act(...given);
    } finally {
      busy = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        run(...next);
      }
    }
  };
}

// Offer a file for download.
function save(name, text, type = "text/csv") {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const quote = (text) => (/[",\r\n]/.test(text) ? `"${String(text).replaceAll('"', '""')}"` : String(text));

// An explorer is mounted where its still figure stands: the cell's output holds nothing but that figure, so that a saved
// or exported notebook shows it, and a page with a kernel replaces it.
// `build(page)` fills `page.root`. page.ask(question, given) asks the kernel and resolves to {content, buffers};
// page.say(text) writes the line below the controls; page.drawn() notes the time since the last input (data-ms).
function explorer(build) {
  return {
    initialize({ model }) {
      const waiting = new Map();
      const pages = new Set();
      let number = 0;
      let live = true;
      const end = () => {
        live = false;
        for (const page of pages) page.end();
      };
      model.on("msg:custom", (content, buffers) => {
        const question = waiting.get(content.number);
        if (!question) return;
        waiting.delete(content.number);
        if (content.error) question.reject(new Error(content.error));
        else question.resolve({ content: content.answer, buffers });
      });
      model.on("comm_live_update", end);
      model.on("comm:close", end);
      const ask = (question, given = {}, buffers = []) =>
        new Promise((resolve, reject) => {
          if (!live) return end();
          number += 1;
          waiting.set(number, { resolve, reject });
          model.send({ number, question, given }, undefined, buffers);
        });

      const mount = (place) => {
        place.dataset.mounted = "yes";
        const root = make("div", { className: "lsdkit-explorer", role: "group" });
        // JupyterLab leaves the keys of an element that says so alone; it looks at the focused element first.
        root.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
        root.setAttribute("aria-label", place.getAttribute("aria-label") ?? "explorer");
        const line = make("p", { className: "lsdkit-line", role: "status" });
        let since = performance.now();
        for (const event of ["input", "change", "click", "keydown"]) {
          root.addEventListener(event, () => (since = performance.now()), true);
        }
        const page = {
          root,
          ask: (...given) =>
            ask(...given).catch((error) => {
              line.textContent = error.message; // whoever asked may have nobody to tell
              throw error;
            }),
          say: (text) => (line.textContent = text),
          drawn: () => (root.dataset.ms = (performance.now() - since).toFixed(1)),
          end: () => {
            root.classList.add("lsdkit-ended");
            line.textContent = "The kernel that this explorer spoke to has gone: run this cell again.";
          },
        };
        pages.add(page);
        const still = [...place.childNodes];
        build(page).then(
          () => {
            root.append(line);
            place.replaceChildren(root);
            if (!live) page.end();
            root.dataset.ready = "yes";
          },
          (error) => place.replaceChildren(...still, make("p", { className: "lsdkit-line" }, error.message)),
        );
      };
      const look = () => {
        for (const place of document.querySelectorAll(`.lsdkit-${model.get("token")}`)) {
          if (!place.dataset.mounted) mount(place);
        }
      };
      const watcher = new MutationObserver(look);
      watcher.observe(document.body, { childList: true, subtree: true });
      look();
      return () => watcher.disconnect();
    },
    render() {}, // the output's own figure is the place; a view of the model has nothing to add
  };
}
