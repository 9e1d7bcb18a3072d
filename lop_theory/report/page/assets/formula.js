"use strict";
/* A reader of formulas in x: numbers, pi, e, + - * / ** ^ and the functions of FUNCTIONS. Nothing is evaluated as code. */
const FORMULA = (() => {
  function erf(x) {  // series below 3, continued fraction above: 1e-13
    const t = Math.abs(x);
    if (t > 6) return Math.sign(x);
    if (t < 3) {
      let term = t, sum = t;
      for (let n = 1; n < 200 && Math.abs(term) > 1e-17 * sum; n++) { term *= -t * t / n; sum += term / (2 * n + 1); }
      return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
    }
    let f = 0;
    for (let n = 60; n > 0; n--) f = (n / 2) / (t + f);
    return Math.sign(x) * (1 - Math.exp(-t * t) / (Math.sqrt(Math.PI) * (t + f)));
  }
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const FUNCTIONS = {
    exp: Math.exp, log: Math.log, sqrt: Math.sqrt, sin: Math.sin, cos: Math.cos, tan: Math.tan, sinh: Math.sinh, cosh: Math.cosh,
    tanh: Math.tanh, atan: Math.atan, asinh: Math.asinh, erf, abs: Math.abs, max: Math.max, min: Math.min, sign: Math.sign,
    step: (x) => (x > 0 ? 1 : x < 0 ? 0 : 0.5), sigmoid, softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    relu: (x) => Math.max(x, 0),
  };
  function parse(text) {
    const tokens = text.match(/\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|[A-Za-z_]\w*|\*\*|[-+*/^(),]|\S/g) || [];
    let at = 0;
    const fail = (what) => { throw new Error(`${what} in “${text}”`); };
    const take = (token) => (tokens[at] === token ? (at++, true) : false);
    const expect = (token) => take(token) || fail(`“${token}” expected before “${tokens[at] ?? "the end"}”`);
    function sum() {
      let left = product();
      for (;;) {
        if (take("+")) { const a = left, b = product(); left = (x) => a(x) + b(x); }
        else if (take("-")) { const a = left, b = product(); left = (x) => a(x) - b(x); }
        else return left;
      }
    }
    function product() {
      let left = unary();
      for (;;) {
        if (take("*")) { const a = left, b = unary(); left = (x) => a(x) * b(x); }
        else if (take("/")) { const a = left, b = unary(); left = (x) => a(x) / b(x); }
        else return left;
      }
    }
    function unary() {
      if (take("-")) { const a = unary(); return (x) => -a(x); }
      if (take("+")) return unary();
      const base = atom();
      if (take("**") || take("^")) { const power = unary(); return (x) => Math.pow(base(x), power(x)); }
      return base;
    }
    function atom() {
      const token = tokens[at++];
      if (token === undefined) fail("something is missing at the end");
      if (token === "(") { const inner = sum(); expect(")"); return inner; }
      if (/^[\d.]/.test(token)) { const value = Number(token); return () => value; }
      if (token === "x") return (x) => x;
      if (token === "pi") return () => Math.PI;
      if (token === "e") return () => Math.E;
      if (!Object.hasOwn(FUNCTIONS, token)) fail(`unknown “${token}”; use x, pi, e and ${Object.keys(FUNCTIONS).join(" ")}`);
      expect("(");
      const args = [sum()];
      while (take(",")) args.push(sum());
      expect(")");
      const two = token === "max" || token === "min";
      if (two ? args.length < 2 : args.length !== 1) fail(`${token} takes ${two ? "at least two values" : "one value"}`);
      return (x) => FUNCTIONS[token](...args.map((f) => f(x)));
    }
    const found = sum();
    if (at < tokens.length) fail(`“${tokens[at]}” is not expected`);
    return found;
  }
  return { parse, erf };
})();
if (typeof module !== "undefined") module.exports = FORMULA;
