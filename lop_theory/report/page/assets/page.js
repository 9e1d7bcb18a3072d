"use strict";
const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);

/* ---- claims: filters and deep links ---- */
function filter() {
  const verdict = $("verdict").value, evidence = $("evidence").value, words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of document.querySelectorAll(".card")) {
    const text = card.textContent.toLowerCase();
    card.hidden = (verdict && card.dataset.verdict !== verdict) || (evidence && !card.dataset.evidence.split(" ").includes(evidence)) || !words.every((w) => text.includes(w));
    shown += !card.hidden;
  }
  $("count").textContent = `${shown} of ${document.querySelectorAll(".card").length} claims`;
}
function follow() {
  const card = location.hash && $(decodeURIComponent(location.hash.slice(1)));
  if (!card) return;
  if (card.hidden) { $("verdict").value = $("evidence").value = $("search").value = ""; filter(); }
  card.scrollIntoView();
  card.focus({ preventScroll: true });
}
["verdict", "evidence", "search"].forEach((id) => $(id).addEventListener("input", filter));
addEventListener("hashchange", follow);

/* ---- theme ---- */
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
});

/* ---- explorer ---- */
for (const name of Object.keys(DATA.activations)) $("activation").add(new Option(name, name));
function curve(points, [low, high], name) {
  const place = ([x, y]) => `${(30 + 250 * (x + 1) / 2).toFixed(1)},${(190 - 170 * (y - low) / (high - low || 1)).toFixed(1)}`;
  return `<polyline class="${name}" points="${points.map(place).join(" ")}"/>`;
}
function picture(title, curves, legend) {
  const ys = curves.flatMap(([points]) => points.map(([, y]) => y)), range = [Math.min(0, ...ys), Math.max(...ys)];
  const axis = `<line class="axis" x1="30" x2="280" y1="190" y2="190"/><text x="30" y="204">−1</text><text x="272" y="204">1</text><text x="2" y="24">${range[1].toPrecision(2)}</text><text x="2" y="192">${range[0].toPrecision(2)}</text>`;
  return `<figure><svg viewBox="0 0 300 210" role="img" aria-label="${title}">${axis}${curves.map(([points, name]) => curve(points, range, name)).join("")}</svg><figcaption>${title}: ${legend}</figcaption></figure>`;
}
function explore() {
  const name = $("activation").value, typed = $("formula").value.trim(), out = $("numbers");
  try {
    const scale = Number($("scale").value), bias = Number($("bias").value), epsilon = Number($("epsilon").value);
    if (![scale, bias, epsilon].every(Number.isFinite) || !(epsilon > 0)) throw new Error("scale and bias must be numbers, epsilon positive");
    const found = KERNEL.analyse(FORMULA.parse(typed || DATA.activations[name].formula), scale, bias, epsilon);
    const rhos = Array.from({ length: 201 }, (_, i) => i / 100 - 1), k = rhos.map((r) => KERNEL.kernel(found.squares, r));
    const gaps = rhos.map((r, i) => [r, r * r - k[i] ** 2]), bounds = rhos.map((r) => [r, found.strength * r * r * (1 - r * r)]);
    const zs = rhos.map((r) => [r, found.f(4 * r)]);
    out.innerHTML = `<dl class="numbers"><dt>λ</dt><dd id="out-lambda">${found.strength.toFixed(5)}</dd><dt>κ</dt><dd id="out-kappa">${found.kappa.toFixed(4)} near ρ = ${found.at.toFixed(3)}</dd><dt>P(|φ̄′| &lt; ε)</dt><dd id="out-frozen">${found.frozen.toFixed(4)}</dd><dt>E φ, sd φ</dt><dd>${found.mean.toFixed(4)}, ${found.deviation.toFixed(4)}</dd></dl>` +
      picture("φ(ax + b) on [−4, 4]", [[zs, "first"]], "the modulated activation") + picture("K(ρ)", [[rhos.map((r, i) => [r, k[i]]), "first"]], "the correlation kernel") + picture("Gap and bound", [[gaps, "first"], [bounds, "second"]], "ρ² − K² (solid) above λρ²(1 − ρ²) (dashed)");
    const exact = !typed && scale === 1 && bias === 0 && DATA.activations[name];
    out.insertAdjacentHTML("beforeend", exact ? `<p>Certified by balls: λ in [${exact.lambda.join(", ")}], κ in [${exact.kappa.join(", ")}].</p>` : "<p>Floating point; <code>python -m lop_theory.gap</code> certifies it.</p>");
  } catch (error) { out.innerHTML = `<p class="problem" role="alert"></p>`; out.firstChild.textContent = error.message; }
}
["activation", "formula", "scale", "bias", "epsilon"].forEach((id) => $(id).addEventListener("input", explore));

/* ---- networks ---- */
function diagnose() {
  const out = $("diagnosis");
  out.replaceChildren();
  const say = (text, kind = "p") => { const line = document.createElement(kind); line.textContent = text; out.append(line); };
  try {
    const found = NETWORK.diagnose(JSON.parse($("network").value)), list = (b) => (b.length ? b.map((m) => m.join(" ")).join("; ") : "none");
    say(`Clones of the forward pass: ${list(found.forward)}`);
    say(`Blocks with equal incoming and outgoing sums (RE∩CE): ${list(found.clones)}`);
    say(`Clones that SGD keeps: ${list(found.kept)}`);
    say(found.clones.length === 0 ? "No block of several units: there is no manifold to stay on." : found.failing.length ? `SGD may leave; first failing hypothesis, biregular support: ${found.failing[0]}` : "SGD stays: every hypothesis of the corrected theorem holds.", "strong");
  } catch (error) { say(error.message); out.firstChild.className = "problem"; out.firstChild.setAttribute("role", "alert"); }
}
$("diagnose").addEventListener("click", diagnose);
$("file").addEventListener("change", async () => { $("network").value = await $("file").files[0].text(); diagnose(); });
$("network").addEventListener("dragover", (event) => event.preventDefault());
$("network").addEventListener("drop", async (event) => { event.preventDefault(); $("network").value = await event.dataTransfer.files[0].text(); diagnose(); });

filter();
follow();
explore();
diagnose();
