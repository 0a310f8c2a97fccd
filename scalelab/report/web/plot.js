// What the plots have in common. Colours as in the still figures (Okabe and Ito 2008).
const COLOURS = { law: "#0072B2", ahead: "#B34700", ink: "#1a1a1a", seed: "#767676", bad: "#B3261E" };
const SHADES = ["#2d1160", "#51127c", "#7c2a8a", "#a3307e", "#c83e73", "#d9534f", "#d96c2f", "#b8860b"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "pentagon", "x"];

const shade = (place, all) =>
  SHADES[all < 2 ? 0 : Math.round((place / (all - 1)) * (SHADES.length - 1))];
const symbol = (place) => SYMBOLS[place % SYMBOLS.length];

function axis(title, log, more = {}) {
  const { dtick, ...rest } = more;
  return {
    title: { text: inPlot(title), standoff: 8 },
    type: log ? "log" : "linear",
    gridcolor: "#e8eaed",
    linecolor: "#9a9a9a",
    ticks: "outside",
    tickcolor: "#9a9a9a",
    zeroline: false,
    automargin: true,
    nticks: window.innerWidth < 600 ? 5 : 8,
    minor: log ? { ticks: "outside", ticklen: 2, tickcolor: "#c4c4c4" } : {},
    ...rest,
    ...(log && dtick ? { dtick } : {}),
  };
}

// Ticks of counts (k, M, and B from a billion on) and of FLOPs (powers of ten).
const POWERS = { exponentformat: "power" };

function ticksOf(values) {
  const known = values.filter((value) => value > 0), most = Math.max(...known);
  const decades = Math.log10(most / Math.min(...known));
  const roomy = window.innerWidth < 600 ? 1.3 : 2.6;
  // 1, 2 and 5 of each power of ten, where these neither crowd nor are too few.
  const steps = decades > 0.7 && decades < roomy ? { dtick: "D2" } : {};
  return { ...(most >= 1e9 ? { exponentformat: "B" } : { tickformat: "~s" }), ...steps };
}

const LEGEND = {
  orientation: "h", y: -0.24, yanchor: "top", x: 0, font: { size: 12 }, traceorder: "normal",
};

const layout = (more) => ({
  font: { family: 'system-ui, "Segoe UI", "Liberation Sans", sans-serif', size: 13, color: "#1a1a1a" },
  paper_bgcolor: "#ffffff",
  plot_bgcolor: "#ffffff",
  margin: { l: 60, r: 16, t: 12, b: 48 },
  hovermode: "closest",
  hoverlabel: { align: "left", font: { size: 13 } },
  legend: LEGEND,
  dragmode: "zoom",
  ...more,
});

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset", showTips: false };

// The library takes the size of the plot from its element, at once and when the window changes.
function show(id, traces, { height, ...shape }, words) {
  const node = byId(id);
  node.style.height = `${height}px`;
  node.setAttribute("aria-label", words);
  return Plotly.react(node, traces, layout(shape), CONFIG);
}

// What hovering over a run tells.
function about(run) {
  const lines = [
    `<b>${inPlot(run.label)}</b> ${inPlot(run.id)}`,
    `N = ${count(run.N)}, D = ${count(run.D)}, C = ${flops(run.C)}`,
    run.loss_nats === null ? "" : `held-out loss ${run.loss_nats.toFixed(4)} nats per token`,
    run.ok ? "" : `status ${inPlot(run.status)}`,
  ];
  return lines.filter(Boolean).join("<br>");
}

// Options of a choice; it is hidden where there is nothing to choose.
function choices(id, options, change) {
  const node = byId(id);
  node.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  node.closest("label").hidden = options.length < 2;
  node.onchange = () => change(node.value);
}
