// The plotting library is unpacked here; without it the still figures stay, and one sentence says so.
async function unpack() {
  const packed = atob(byId("library").textContent.trim());
  const bytes = Uint8Array.from(packed, (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const node = document.createElement("script");
  node.textContent = await new Response(stream).text();
  document.head.append(node);
  if (!window.Plotly) throw new Error("the plotting library did not start");
}

async function start() {
  startTable();
  document.documentElement.classList.add("scripted");
  startPlanner();
  try {
    await unpack();
    document.documentElement.classList.add("live");
    if (page.views.length) startLaw();
    startCurves();
    startCosts();
    startPlanner.again?.();
  } catch (error) {
    document.documentElement.classList.remove("live");
    byId("no-plots").hidden = false;
    byId("no-plots").title = String(error);
  }
  document.documentElement.dataset.ready = "yes";
}

start();
