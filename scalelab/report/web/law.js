// The law: its curve, the points, the residuals; other fits, other axes, and points left out.
const state = { view: 0, rival: null, axis: null, logX: true, logY: true, out: new Set() };
const trusted = new Map(); // whether the page reproduces a fit, by view and rival

const view = () => page.views[state.view];
const law = () => (state.rival === null ? view() : view().rivals[state.rival]);
const xOf = (x) => (state.axis === "6ND" ? 6 * x.N * x.D : x[state.axis]);

function lawKeys() {
  const keys = [];
  page.views.forEach((one, place) => {
    const same = page.views.findIndex((other) => kind(other) === kind(one));
    if (same !== place) return;
    keys.push([`${place}`, `${one.law}: ${one.formula}${one.y === "loss_nats" ? "" : `, ${one.y}`}${one.note ? ` (${one.note})` : ""}`]);
    one.rivals.forEach((rival, k) => keys.push([`${place}/${k}`, `${rival.law}, for comparison`]));
  });
  return keys;
}

const kind = (one) => [one.law, one.y, one.note, one.columns.length, ...one.columns.slice(1)].join("|");
const alike = () =>
  page.views.map((one, place) => [one, place]).filter(([one]) => kind(one) === kind(view()));

function startLaw() {
  choices("law-choice", lawKeys(), (value) => {
    const [place, rival] = value.split("/");
    const before = view().columns[0];
    state.view = Number(place);
    const same = alike().find(([one]) => one.columns[0] === before);
    if (same) state.view = same[1];
    state.rival = rival === undefined ? null : Number(rival);
    changeView();
  });
  byId("log-x").onchange = (event) => ((state.logX = event.target.checked), drawLaw());
  byId("log-y").onchange = (event) => ((state.logY = event.target.checked), drawLaw());
  byId("all-back").onclick = () => {
    state.out.clear();
    document.querySelectorAll("#points input").forEach((box) => (box.checked = true));
    drawLaw();
  };
  changeView();
  byId("law-plot").on("plotly_click", (event) => {
    const place = event.points[0].data.places?.[event.points[0].pointIndex];
    if (place !== undefined) byId(`point-${place}`)?.click();
  });
}

// Another fit: its counting, its axes, its points.
function changeView() {
  state.out.clear();
  const counted = alike().map(([one, place]) => [`${place}`, one.convention]);
  choices("count-choice", counted, (value) => {
    const rival = state.rival === null ? null : law().law;
    state.view = Number(value);
    const at = view().rivals.findIndex((one) => one.law === rival);
    state.rival = at < 0 ? null : at;
    changeView();
  });
  byId("count-choice").value = `${state.view}`;
  const axes = view().columns.map((column) => [column, columnWords(column)]);
  if (view().columns.includes("N") && view().columns.includes("D")) {
    axes.push(["6ND", "training FLOPs 6 N D"]);
  }
  choices("axis-choice", axes, (value) => ((state.axis = value), drawLaw()));
  state.axis = axes[0][0];
  listPoints();
  drawLaw();
}

function listPoints() {
  const boxes = view().points.map((point, place) => {
    const input = element("input", { type: "checkbox", id: `point-${place}` });
    input.checked = true;
    input.onchange = () => {
      if (input.checked) state.out.delete(place);
      else state.out.add(place);
      drawLaw();
    };
    return element("label", {}, input, ` ${nameOf(point)}`);
  });
  byId("points").replaceChildren(...boxes);
}

const nameOf = (point) =>
  Object.entries(point.x).map(([column, value]) => `${column} = ${short(value)}`).join(", ");

// The law without the points left out: {params} or {why}.
function refitted() {
  if (!state.out.size) return null;
  const one = law();
  const fit = (points, start) => fitLaw(one.form, points, view().delta ?? null, start);
  if (view().refit) return { why: view().refit };
  const key = `${state.view}/${state.rival}`;
  if (!trusted.has(key)) {
    const all = fit(view().points, one.params);
    trusted.set(key, all !== null && agrees(all.params, one.params));
  }
  if (!trusted.get(key)) {
    return { why: "Fitted here, all points do not give the constants of laws.json, so no fit without some is shown: scalelab fit does it, on a table without those rows." };
  }
  const kept = view().points.filter((_, place) => !state.out.has(place));
  const found = fit(kept, one.params);
  if (found === null) {
    return { why: `${kept.length} points are left, fewer than the constants of the law: no fit.` };
  }
  return found;
}

function drawLaw() {
  const found = refitted();
  const [text, words] = [refitText(found), plotText(found)];
  byId("refit").textContent = text;
  const params = found?.params ?? null;
  const traces = view().columns.length > 1 ? severalTraces(params) : curveTraces(params);
  const unit = `held-out loss (${view().unit})`;
  const x = state.axis === "6ND" ? "training FLOPs 6 N D"
    : view().columns.length > 1 ? columnWords(state.axis)
    : `${view().convention} ${view().columns[0].length < 9 ? view().columns[0] : ""}`.trim();
  const flopsAlong = state.axis === "6ND" || state.axis.startsWith("C");
  const ticks = flopsAlong ? POWERS : ticksOf([...view().points, ...(view().columns.length > 1 ? [] : view().ahead)].map((one) => xOf(one.x)));
  show("law-plot", [...traces, ...residualTraces(params)], {
    height: 520,
    xaxis: axis(x, state.logX, { anchor: "y2", domain: [0, 1], ...ticks }),
    yaxis: axis(unit, state.logY, { domain: [0.32, 1], tickformat: ".3~g" }),
    yaxis2: axis("residual (%)", false, {
      domain: [0, 0.22], tickformat: "~g", nticks: 6, zeroline: true, zerolinecolor: "#767676",
      rangemode: "tozero",
    }),
    legend: { ...LEGEND, y: -0.16 },
    showlegend: true,
  }, words);
}

function refitText(found) {
  if (!found) return "";
  const names = [...state.out].map((place) => nameOf(view().points[place])).join("; ");
  const head = `Without ${names}: `;
  if (found.why) {
    const single = state.out.size === 1 ? view().points[[...state.out][0]].without : {};
    const parts = Object.entries(single).map(([name, value]) => {
      const [now, before] = changed(value, law().params[name]);
      return `${name} = ${now} (with it ${before})`;
    });
    const told = state.rival === null && parts.length ? ` ${parts.join(", ")}; interval not recomputed.` : "";
    return head + found.why + told;
  }
  const parts = Object.entries(found.params).map(([name, value]) => {
    const [now, before] = changed(value, law().params[name]);
    return `${name} = ${now} (all points ${before})`;
  });
  const far = view().ahead.at(-1);
  let ahead = "";
  if (far) {
    const [now, before] = changed(lawAt(law().form, found.params, far.x), lawAt(law().form, law().params, far.x));
    ahead = ` At ${nameOf(far)} it predicts ${now} instead of ${before} ${view().unit}.`;
  }
  return `${head}${parts.join(", ")}; interval not recomputed.${ahead}`;
}

// The plot in words, for those who do not see it.
function plotText(found) {
  const points = view().points;
  const values = Object.entries(law().params).map(([name, value]) => `${name} = ${plain(value, 4)}`);
  const first = points[0], last = points.at(-1);
  return (
    `Held-out loss against ${columnWords(state.axis ?? "N")} with the law ${law().formula ?? law().law}, ` +
    `${values.join(", ")}. ${view().of ? `${points.length} of ${view().of}` : points.length} points, from ${first.y.toFixed(3)} at ${nameOf(first)} ` +
    `to ${last.y.toFixed(3)} at ${nameOf(last)} ${view().unit}. ` +
    "The numbers are in the table of sizes and in the table of runs. " + refitText(found)
  );
}

const residual = (point, params) =>
  params ? point.y / lawAt(law().form, params, point.x) - 1
    : state.rival === null ? point.residual
    : point.y / lawAt(law().form, law().params, point.x) - 1;

function hover(point) {
  const runs = point.runs.map((place) => page.runs[place]), count = point.of ?? runs.length;
  const told = count === 1 ? (runs.length ? about(runs[0]) : nameOf(point))
    : `<b>${count} runs</b><br>${runs.slice(0, 8).map((run) => inPlot(`${run.label} ${run.id}`)).join("<br>")}`;
  return `${told}<br>point ${point.y.toFixed(4)}, ${percent(residual(point, null))} from the law`;
}

function markers(points, places, more) {
  return {
    type: "scatter", mode: "markers", places,
    x: points.map((point) => xOf(point.x)), y: points.map((point) => point.y),
    text: points.map(hover), hovertemplate: "%{text}<extra></extra>", ...more,
  };
}

const places = (wanted) => view().points.map((_, place) => place).filter(wanted);

// The law of one column with its band and what it says beyond the data.
function curveTraces(params) {
  const column = view().columns[0], xs = view().points.map((point) => point.x[column]);
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const most = view().band.length ? view().band.at(-1)[0] : high;
  const traces = [];
  if (state.rival === null && view().band.length) {
    const known = view().band.filter((row) => row[2] !== null && row[3] !== null);
    const look = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", x: known.map((row) => row[0]) };
    traces.push({ ...look, y: known.map((row) => row[2]), showlegend: false });
    traces.push({ ...look, y: known.map((row) => row[3]), fill: "tonexty", fillcolor: "rgba(0,114,178,0.16)", name: `${view().level} interval of the law` });
  }
  const line = (values, from, to, look) => {
    if (!law().form) {
      const rows = view().band.filter((row) => row[0] >= from * 0.999 && row[0] <= to * 1.001);
      return { type: "scatter", mode: "lines", hoverinfo: "skip", x: rows.map((r) => r[0]), y: rows.map((r) => r[1]), ...look };
    }
    const at = logSteps(from, to, 60);
    return { type: "scatter", mode: "lines", hoverinfo: "skip", x: at, y: at.map((x) => lawAt(law().form, values, { [column]: x })), ...look };
  };
  traces.push(line(law().params, low, high, { line: { color: COLOURS.law, width: 2 }, name: "the law" }));
  if (most > high * 1.001) {
    traces.push(line(law().params, high, most, { line: { color: COLOURS.ahead, width: 2, dash: "dash" }, name: "beyond the data" }));
  }
  if (params) {
    traces.push(line(params, low, most, { line: { color: "#000000", width: 2, dash: "dot" }, name: "without the points left out" }));
  }
  return [...traces, ...seedTraces(), ...pointTraces(), ...aheadTraces()];
}

// A law of several columns: one line a group.
function severalTraces(params) {
  const lines = view().lines[state.axis === "6ND" ? view().columns[0] : state.axis];
  const traces = lines.flatMap((one, place) => {
    const at = one.at.map((row) => Object.fromEntries(view().columns.map((column, k) => [column, row[k]])));
    const colour = shade(place, lines.length), group = `g${place}`;
    const kept = one.points.filter((p) => !state.out.has(p));
    const path = (y, dash) => ({
      type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: group,
      x: at.map(xOf), y, line: { color: colour, width: 1.5, dash },
    });
    return [
      path(one.value, "solid"),
      ...(params ? [path(at.map((x) => lawAt(law().form, params, x)), "dot")] : []),
      markers(kept.map((p) => view().points[p]), kept, {
        name: one.name, legendgroup: group, marker: { color: colour, symbol: symbol(place), size: 8, line: { color: "#fff", width: 1 } },
      }),
    ];
  });
  return [...traces, ...leftTraces()];
}

function pointTraces() {
  const kept = places((place) => !state.out.has(place));
  const look = { color: COLOURS.ink, size: 9, line: { color: "#fff", width: 1 } };
  return [markers(kept.map((p) => view().points[p]), kept, { name: "points of the fit", marker: look }), ...leftTraces()];
}

function leftTraces() {
  const out = places((place) => state.out.has(place));
  if (!out.length) return [];
  const look = { color: COLOURS.bad, size: 10, symbol: "x-open", line: { width: 2 } };
  return [markers(out.map((p) => view().points[p]), out, { name: "left out", marker: look })];
}

// The runs behind points that are means of several, and runs that are in no point.
function seedTraces() {
  const column = view().columns[0], y = view().y;
  const several = view().points.filter((point) => point.runs.length > 1).flatMap((point) => point.runs);
  const used = new Set(view().points.flatMap((point) => point.runs));
  const rest = page.runs.map((_, place) => place).filter((place) => !used.has(place) && page.runs[place].ok);
  const trace = (chosen, name, marker) => {
    const runs = chosen.map((place) => page.runs[place]).filter((run) => run[column] && run[y]);
    return runs.length ? [{
      type: "scatter", mode: "markers", name, marker, x: runs.map((run) => run[column]), y: runs.map((run) => run[y]),
      text: runs.map(about), hovertemplate: "%{text}<extra></extra>",
    }] : [];
  };
  return [
    ...trace(several, "single runs", { color: COLOURS.seed, size: 6, symbol: "circle-open" }),
    ...trace(rest, "not in the fit", { color: COLOURS.bad, size: 8, symbol: "cross-thin", line: { width: 2, color: COLOURS.bad } }),
  ];
}

function aheadTraces() {
  if (state.rival !== null || !view().ahead.length) return [];
  const rows = view().ahead;
  const gap = (row, end) => (row[end] === null ? 0 : Math.abs(row[end] - row.predicted));
  return [{
    type: "scatter", mode: "markers", name: "predicted for one run", x: rows.map((row) => xOf(row.x)), y: rows.map((row) => row.predicted),
    marker: { color: COLOURS.ahead, size: 9, symbol: "diamond-open", line: { width: 2 } },
    error_y: { type: "data", array: rows.map((row) => gap(row, "high")), arrayminus: rows.map((row) => gap(row, "low")), color: COLOURS.ahead, thickness: 1.5 },
    text: rows.map((row) => `${row.factor} times the largest: ${row.predicted.toFixed(4)} [${row.low?.toFixed(4) ?? "open"}, ${row.high?.toFixed(4) ?? "open"}]`),
    hovertemplate: "%{text}<extra></extra>",
  }];
}

function residualTraces(params) {
  const all = view().points;
  const trace = (values, name, look) => ({
    type: "scatter", mode: "markers", yaxis: "y2", showlegend: false, name, places: places(() => true),
    x: all.map((point) => xOf(point.x)), y: values, marker: look,
    hovertemplate: `%{y:.3f}% from the law (${name})<extra></extra>`,
  });
  const before = all.map((point) => 100 * residual(point, null));
  const traces = [trace(before, "all points", { color: COLOURS.law, size: 7 })];
  if (params) {
    traces.push(trace(all.map((point) => 100 * residual(point, params)), "without the points left out", { color: "#000", size: 8, symbol: "diamond-open" }));
  }
  return traces;
}
