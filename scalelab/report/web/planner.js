// What a budget buys: between the budgets that were computed when the page was written.
const SLIDER = 1000; // steps of the slider a factor of ten

function startPlanner() {
  const plan = page.planner;
  if (!plan) return;
  const logs = plan.rows.map((row) => Math.log10(row.flops));
  const [low, high] = [logs[0], logs.at(-1)];
  const slider = byId("budget"), box = byId("budget-number");
  slider.min = Math.ceil(low * SLIDER);
  slider.max = Math.floor(high * SLIDER);
  slider.value = Math.round(Math.log10(plan.most) * SLIDER);
  slider.oninput = () => tell(slider.value / SLIDER);
  box.onchange = () => {
    const wanted = Number(box.value);
    const inside = wanted > 0 ? Math.min(high, Math.max(low, Math.log10(wanted))) : slider.value / SLIDER;
    slider.value = Math.round(inside * SLIDER);
    tell(inside);
  };
  tell(slider.value / SLIDER);

  // Each of [value, low, high] between its neighbours, in logs.
  function at(name, log) {
    return [0, 1, 2].map((end) => {
      const values = plan.rows.map((row) => row[name][end]);
      const found = between(logs, values.map((v) => (v > 0 ? Math.log(v) : null)), log);
      return found === null ? null : Math.exp(found);
    });
  }

  function tell(log) {
    const budget = Math.pow(10, log), loss = at("loss", log), n = at("N", log), d = at("D", log);
    box.value = flops(budget);
    const beyond = budget > plan.most * 1.01;
    byId("plan-n").textContent = ranged(n, short);
    byId("plan-d").textContent = ranged(d, short);
    byId("plan-ratio").textContent = n[0] && d[0] ? plain(d[0] / n[0], 3) : "unknown";
    byId("plan-loss").textContent = loss[0] === null ? "unknown: no law of the loss" : `${ranged(loss, (v) => v.toFixed(3))} ${plan.unit}`;
    byId("plan-time").textContent = plan.speed ? duration(budget / plan.speed.flops_per_second) : "unknown";
    const words = beyond
      ? `Extrapolated: ${plain(budget / plan.most, 3)} times the most that a run of this study took.`
      : "Within the budgets of this study.";
    byId("plan-beyond").textContent = words;
    byId("plan-beyond").classList.toggle("flag", beyond);
    slider.setAttribute("aria-valuetext", `${flops(budget)} FLOPs`);
    if (!window.Plotly || startPlanner.due) return;
    startPlanner.due = requestAnimationFrame(() => {
      startPlanner.due = null;
      drawPlan(plan, at, slider.value / SLIDER);
    });
  }
  startPlanner.again = () => tell(slider.value / SLIDER);
}

function ranged([value, low, high], text) {
  if (value === null) return "unknown";
  if (low === null && high === null) return text(value);
  return `${text(value)} [${[low, high].map((end) => (end === null ? "open" : text(end))).join(", ")}]`;
}

function duration(seconds) {
  for (const [unit, size] of [["years", 31557600], ["days", 86400], ["hours", 3600], ["minutes", 60]]) {
    if (seconds >= size) return `${plain(seconds / size, 2)} ${unit}`;
  }
  return `${plain(seconds, 2)} seconds`;
}

function drawPlan(plan, at, log) {
  const loss = plan.rows.some((row) => row.loss[0] !== null);
  const name = loss ? "loss" : "N";
  const rows = plan.rows.filter((row) => row[name][0] !== null);
  const band = rows.filter((row) => row[name][1] !== null && row[name][2] !== null);
  const look = { type: "scatter", mode: "lines", hoverinfo: "skip", line: { width: 0 }, x: band.map((row) => row.flops) };
  const part = (beyond) => rows.filter((row, k) =>
    beyond ? row.beyond || rows[k + 1]?.beyond : !row.beyond);
  const line = (some, text, colour, dash) => ({
    type: "scatter", mode: "lines", name: text, hoverinfo: "skip", x: some.map((row) => row.flops), y: some.map((row) => row[name][0]),
    line: { color: colour, width: 2, dash, shape: "spline" },
  });
  const spots = plan.runs.filter((run) => run[0] && run[loss ? 2 : 1]);
  const [value] = at(name, log);
  const traces = [
    { ...look, y: band.map((row) => row[name][1]), showlegend: false },
    { ...look, y: band.map((row) => row[name][2]), fill: "tonexty", fillcolor: "rgba(0,114,178,0.16)", name: `${plan.level} interval ${plan.kind === "run" ? "of one run" : "of the law"}` },
    line(part(false), "predicted", COLOURS.law, "solid"),
    line(part(true), "beyond the runs", COLOURS.ahead, "dash"),
    { type: "scatter", mode: "markers", name: "runs", x: spots.map((run) => run[0]), y: spots.map((run) => run[loss ? 2 : 1]),
      marker: { color: COLOURS.seed, size: 6 }, hovertemplate: "N = %{text}<br>%{y:.4~g} at %{x:.3g} FLOPs<extra></extra>", text: spots.map((run) => short(run[1])) },
    { type: "scatter", mode: "markers", name: "the budget chosen", x: [Math.pow(10, log)], y: [value],
      marker: { color: COLOURS.ink, size: 13, symbol: "diamond", line: { color: "#fff", width: 1.5 } }, hoverinfo: "skip" },
  ];
  const what = loss ? `loss (${plan.unit})` : "parameters N";
  show("plan-plot", traces, {
    height: 380, xaxis: axis("training FLOPs", true, POWERS), yaxis: axis(what, true, { tickformat: loss ? ".3~g" : "~s" }), showlegend: true,
  }, `Predicted ${what} against the budget in FLOPs, with its interval; the numbers are in the table of budgets below.`);
}
