// The data of the page, and numbers as people read them (as in scalelab/figures/numbers.py).
const page = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

const UNITS = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];
const plain = (value, digits) => String(Number(value.toPrecision(digits)));

function short(value) {
  if (value === null || value === undefined || !isFinite(value)) return "unknown";
  for (const [scale, unit] of UNITS) {
    if (value >= scale * 0.9995) return plain(value / scale, 3) + unit;
  }
  return plain(value, 3);
}

const count = (value) => (value === null ? "unknown" : Math.round(value).toLocaleString("en"));
const flops = (value) => (value === null ? "unknown" : value.toExponential(2).replace("e+", "e"));
const percent = (share) => (share >= 0 ? "+" : "\u2212") + Math.abs(100 * share).toFixed(2) + "%";

// Both in the decimals that two digits of the difference need.
function changed(value, before) {
  const gap = Math.abs(value - before) || Math.abs(before) / 1000 || 1e-3;
  const places = Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(gap))));
  const text = (number) =>
    Math.abs(number) >= 1e5 ? number.toPrecision(4) : number.toFixed(places);
  return [text(value), text(before)];
}

// Text of data in a label of the plotting library, which knows some tags.
const inPlot = (text) =>
  String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// An element with text; what comes from data is never markup.
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const COLUMN_WORDS = {
  N: "non-embedding parameters N",
  N_total: "total parameters N_total",
  D: "training tokens D",
  U: "unique tokens U",
  C: "training FLOPs C",
  C_6ND: "training FLOPs 6 N D",
};
const columnWords = (column) => COLUMN_WORDS[column] ?? column;
