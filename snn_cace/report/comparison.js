// Draws the comparison by one energy model and one count at a time; all numbers come from the element `data`.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byName = Object.fromEntries(data.variants.map((variant) => [variant.name, variant]));
const choices = Object.fromEntries(["model", "count", "chain"].map((id) => [id, document.getElementById(id)]));
const chosenChain = () => data.chains.find(({ variant }) => variant === choices.chain.value);
const fixed = (value, digits) => value.toFixed(digits).replace("-", "−");
const signed = (value, digits) => (value < 0 ? "" : "+") + fixed(value, digits);
const size = (value) => (value >= 1000 ? value.toFixed(0) : value.toPrecision(3));

function element(kind, text, kindOf) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (kindOf) made.className = kindOf;
  return made;
}

function rows() {
  const model = choices.model.value, count = choices.count.value;
  return data.variants.map((variant) => {
    const spent = variant.energy[count][model];
    const share = (other) => (other ? (100 * spent) / byName[other].energy[count][model] : null);
    return { variant, spent, ofDense: share(variant.dense), ofControl: share(variant.control) };
  });
}

function layout(title, more) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
  return {
    title: { text: title, font: { size: 15 } }, font: { color: ink }, margin: { l: 50, r: 15, t: 64, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: style.getPropertyValue("--soft"), activecolor: ink }, ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

function show(id, traces, arranged) {
  const options = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]],
    toImageButtonOptions: { format: "svg", filename: id } };
  Plotly.react(id, traces, arranged, options);
}

function drawAccuracy() {
  const traces = data.variants.flatMap(({ name, colour, accuracy, seeds }) => [
    { x: accuracy.values, y: seeds.map(() => name), mode: "markers", marker: { color: colour, size: 9 },
      text: seeds.map((seed) => `seed ${seed}`), hovertemplate: "%{x:.2f} %, %{text}<extra></extra>" },
    { x: [accuracy.mean], y: [name], mode: "markers", marker: { color: colour, size: 22, symbol: "line-ns-open",
      line: { width: 3 } }, hovertemplate: "mean %{x:.2f} %<extra></extra>" },
  ]);
  show("accuracy-chart", traces, layout("", { xaxis: { title: { text: "test segment accuracy, %" } },
    yaxis: { autorange: "reversed" } }));
}

function drawEnergy(found, title) {
  const narrow = document.getElementById("energy-chart").clientWidth < 600;  // names beside marks would overlap
  const traces = found.map(({ variant, spent }) => ({
    name: variant.name, x: [spent], y: [variant.accuracy.mean],
    error_y: { array: [variant.accuracy.std], color: variant.colour },
    mode: narrow ? "markers" : "markers+text", text: [variant.name], textposition: "middle right", cliponaxis: false,
    marker: { color: variant.colour, size: 12, symbol: variant.kind === "control" ? "circle-open" : "circle" },
    hovertemplate: `${variant.name}: %{x:.4g} µJ, %{y:.2f} %<extra></extra>`,
  }));
  const legend = { orientation: "h", y: -0.45 };
  show("energy-chart", traces, layout(title, { showlegend: narrow, legend,
    xaxis: { title: { text: "energy a clip, µJ" } },
    yaxis: { title: { text: "test segment accuracy, %" } } }));
}

function waterfall(id, title, unit, start, steps, values) {
  let base = start;
  const bases = values.map(([change]) => { const before = base; base += change; return before; });
  const bars = {
    type: "bar", x: steps.map((step) => step.part), base: bases, y: values.map(([change]) => change),
    error_y: { symmetric: false, array: values.map(([change, , high]) => (high === null ? 0 : high - change)),
      arrayminus: values.map(([change, low]) => (low === null ? 0 : change - low)), color: "#888" },
    marker: { color: steps.map((_, place) => (place === steps.length - 1 ? "#b3541e" : "#0072b2")) },
    customdata: values, hovertemplate: `%{x}: %{customdata[0]:+.2f} ${unit} (%{customdata[1]:+.2f} to ` +
      "%{customdata[2]:+.2f})<extra></extra>",
  };
  const ends = bases.flatMap((before, place) => [before, before + values[place][1], before + values[place][2]]);
  const low = Math.min(...ends), high = Math.max(...ends), room = 0.1 * (high - low || 1);
  const words = values.map(([change], place) => `${bars.x[place]}<br>${signed(change, 1)}`);
  show(id, [bars], layout(title, { xaxis: { tickvals: bars.x, ticktext: words }, yaxis: { title: { text: unit }, range: [low - room, high + room] } }));
}

function drawWhy(model, words) {
  const chain = chosenChain();
  if (!chain) return;
  waterfall("why-accuracy", `Accuracy, from ${chain.dense} to ${chain.variant}`, "%", chain.accuracy, chain.links,
    chain.links.map((link) => link.accuracy));
  waterfall("why-energy", `Energy, ${words}: the ANN is 100`, "% of the ANN's", 100, chain.steps,
    chain.steps.map((step) => step.energy[model]));
}

function drawStrip(model) {
  const strip = document.getElementById("strip");
  if (!strip) return;
  const heads = [element("th", "energy by the last step, % of the ANN’s"), ...data.models.map(({ title }) => element("th", title))];
  strip.tHead.rows[0].replaceChildren(...heads);
  strip.tBodies[0].replaceChildren(...data.chains.map((chain) => {
    const row = document.createElement("tr");
    const { part, energy } = chain.steps[chain.steps.length - 1];
    const cells = data.models.map(({ key }) =>
      element("td", signed(energy[key][0], 1), `${chain.verdicts[key]} ${key === model ? "chosen" : ""}`.trim()));
    row.append(element("td", `${chain.variant}: ${part}`), ...cells);
    return row;
  }));
}

function draw() {
  const found = rows(), model = choices.model.value;
  const words = data.models.find(({ key }) => key === model).title;
  document.querySelector("#chosen tbody").replaceChildren(...found.map(({ variant, spent, ofDense, ofControl }) => {
    const row = document.createElement("tr");
    const share = (value) => (value === null ? "–" : fixed(value, 1));
    const cells = [variant.name, fixed(variant.accuracy.mean, 2), size(spent), share(ofDense), share(ofControl)];
    row.append(...cells.map((cell) => element("td", cell)));
    return row;
  }));
  document.getElementById("said").textContent = data.chains.map(({ said }) => said[model]).join(" ");
  drawAccuracy();
  drawEnergy(found, words);
  drawStrip(model);
  drawWhy(model, words);
}

function download() {
  const lines = [...document.querySelectorAll("#chosen tr")].map((row) => [...row.cells].map((cell) =>
    `"${cell.textContent.replaceAll('"', '""')}"`).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  link.download = `energy-${choices.model.value.replace("/", "-")}-${choices.count.value}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

const chains = data.chains.map(({ variant }) => ({ key: variant, title: variant }));
choices.chain.parentElement.hidden = chains.length < 2;
for (const [name, options] of [["model", data.models], ["count", data.counts], ["chain", chains]]) {
  choices[name].replaceChildren(...options.map(({ key, title }) => {
    const option = element("option", title);
    option.value = key;
    return option;
  }));
  choices[name].addEventListener("change", draw);
}
document.getElementById("csv").addEventListener("click", download);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
