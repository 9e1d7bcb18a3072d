"use strict";
/* Clones of a network given as JSON: the coarsest in- and out-equitable partition, in exact fractions, and the first hypothesis that fails. */
const NETWORK = (() => {
  const gcd = (a, b) => { while (b) [a, b] = [b, a % b]; return a < 0n ? -a : a; };
  function fraction(value) {
    const text = String(value).trim();
    const ratio = text.match(/^([-+]?\d+)\/(\d+)$/);
    if (ratio) return reduce(BigInt(ratio[1]), BigInt(ratio[2]));
    const decimal = text.match(/^([-+]?)(\d*)\.?(\d*)(?:[eE]([-+]?\d{1,3}))?$/);
    if (!decimal || !(decimal[2] + decimal[3])) throw new Error(`“${text}” is no number; write 0.25 or "1/4"`);
    const shift = Number(decimal[4] || 0) - decimal[3].length;
    const top = BigInt(decimal[1] + (decimal[2] + decimal[3] || "0"));
    return shift >= 0 ? reduce(top * 10n ** BigInt(shift), 1n) : reduce(top, 10n ** BigInt(-shift));
  }
  function reduce(p, q) {
    if (q === 0n) throw new Error("a denominator is 0");
    const d = gcd(p, q) || 1n;
    return [p / d, q / d];
  }
  const add = ([a, b], [c, d]) => reduce(a * d + c * b, b * d);
  const text = ([p, q]) => (q === 1n ? `${p}` : `${p}/${q}`);

  function read(data) {
    for (const key of ["inputs", "outputs", "nodes", "edges"]) if (!Array.isArray(data[key])) throw new Error(`“${key}” must be a list`);
    const ids = [...data.inputs, ...data.nodes.map((n) => n.id)].map(String), number = new Map(ids.map((id, i) => [id, i]));
    if (number.size !== ids.length) throw new Error("an id stands twice");
    const find = (id) => { if (!number.has(String(id))) throw new Error(`“${id}” is no node`); return number.get(String(id)); };
    const edges = data.edges.map(([u, v, w]) => ({ from: find(u), to: find(v), weight: fraction(w ?? 1) }));
    const kinds = ids.map(() => "input");
    data.nodes.forEach((n) => { kinds[find(n.id)] = `${JSON.stringify(n.activation ?? "identity")}|${text(fraction(n.bias ?? 0))}`; });
    const alone = new Set([...data.inputs, ...data.outputs].map(find));
    return { ids, edges, seed: kinds.map((kind, i) => (alone.has(i) ? `alone ${i}` : kind)) };
  }

  function sums(edges, block, own, other, count) {
    const found = new Map();
    for (const e of edges) {
      const key = `${e[own]} ${block[e[other]]}`;
      found.set(key, count ? (found.get(key) ?? 0) + 1 : add(found.get(key) ?? [0n, 1n], e.weight));
    }
    return found;
  }

  /* Split blocks by their sums until nothing changes. Sums that are 0 count as absent, so that zero weights do not matter. */
  function refine({ ids, edges, seed }, { incoming = true, outgoing = true, support = false } = {}) {
    let block = number(seed);
    for (;;) {
      const marks = ids.map((_, i) => [`${block[i]}`]);
      const write = (found, name, show) => { for (const [key, value] of found) { const [node, other] = key.split(" "); const shown = show(value); if (shown !== "0") marks[node].push(`${name}${other}:${shown}`); } };
      if (incoming) write(sums(edges, block, "to", "from", false), "in", text);
      if (outgoing) write(sums(edges, block, "from", "to", false), "out", text);
      if (support) { write(sums(edges, block, "to", "from", true), "#in", String); write(sums(edges, block, "from", "to", true), "#out", String); }
      const next = number(marks.map((m) => [m[0], ...m.slice(1).sort()].join(";")));
      if (Math.max(...next) === Math.max(...block)) return block;
      block = next;
    }
  }
  function number(labels) {
    const seen = new Map();
    return labels.map((l) => { if (!seen.has(l)) seen.set(l, seen.size); return seen.get(l); });
  }
  function blocks({ ids }, block) {
    const found = [];
    block.forEach((b, i) => (found[b] ??= []).push(ids[i]));
    return found.filter((members) => members.length > 1);
  }
  /* Whether every node of a block has as many edges from (to) every other block as its fellows. */
  function biregular(network, block) {
    const failing = [];
    for (const [own, other, name] of [["to", "from", "incoming"], ["from", "to", "outgoing"]]) {
      const counts = sums(network.edges, block, own, other, true), pairs = new Set([...counts.keys()].map((key) => `${block[key.split(" ")[0]]} ${key.split(" ")[1]}`));
      for (const pair of pairs) {
        const [mine, theirs] = pair.split(" ").map(Number);
        const members = network.ids.map((_, i) => i).filter((i) => block[i] === mine);
        const found = members.map((i) => counts.get(`${i} ${theirs}`) ?? 0);
        if (new Set(found).size > 1) failing.push(`${name} edge counts of the block ${members.map((i) => network.ids[i]).join(" ")}: ${found.join(", ")}`);
      }
    }
    return failing;
  }
  function diagnose(data) {
    const network = read(data), block = refine(network);
    return {
      clones: blocks(network, block), forward: blocks(network, refine(network, { outgoing: false })),
      kept: blocks(network, refine(network, { support: true })), failing: biregular(network, block),
    };
  }
  return { diagnose };
})();
if (typeof module !== "undefined") module.exports = NETWORK;
