// The runs of a sweep in a table, asked for anew while something runs and the table is on the page.

const TINTS = { running: "#0072B2", failed: "#D55E00", waiting: "#999999", done: "#009E73" };

export default explorer(async (page) => {
  const text = make("p", { className: "lsdkit-title" });
  const body = make("tbody");
  page.root.append(text, make("table", { className: "lsdkit-record" }, body));
  const row = ([state, name, said, share]) => {
    const bar = make("span", { className: "lsdkit-bar", style: { width: `${100 * share}%`, background: TINTS[state] } });
    const track = make("span", { className: "lsdkit-track", style: { display: "block", width: "90px" } }, bar);
    return make("tr", {}, make("td", { style: { color: TINTS[state] } }, state), make("td", {}, name), make("td", {}, track), make("td", {}, said));
  };
  const refresh = async () => {
    const { content } = await page.ask("status");
    text.textContent = content.text;
    body.replaceChildren(...content.rows.map(row));
    page.root.dataset.alive = content.alive ? "yes" : "no";
    page.say(content.alive ? `looked at ${new Date().toLocaleTimeString()}` : "Nothing runs any more.");
    if (content.alive) setTimeout(() => page.root.isConnected && refresh(), 1000 * content.every);
  };
  await refresh();
});
