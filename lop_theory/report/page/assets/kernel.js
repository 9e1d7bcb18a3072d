"use strict";
/* Floating-point numbers of one activation phi(a x + b): lambda, kappa, K and the frozen probability. A picture of the theory; the certified numbers are Python's. */
const KERNEL = (() => {
  const NODES = [-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526];
  const WEIGHTS = [0.34785484513745385, 0.6521451548625461, 0.6521451548625461, 0.34785484513745385];
  const REACH = 11, PANELS = 4400, TERMS = 64;
  const density = (z) => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);

  /* Gauss-Legendre with four nodes on each panel of [-REACH, REACH]; 0 is a panel's end. */
  const POINTS = [];
  for (let k = 0; k < PANELS; k++) {
    const half = REACH / PANELS, centre = -REACH + (2 * k + 1) * half;
    NODES.forEach((node, i) => POINTS.push([centre + half * node, half * WEIGHTS[i] * density(centre + half * node)]));
  }

  function analyse(phi, scale, bias, epsilon) {
    const f = (z) => phi(scale * z + bias);
    const values = POINTS.map(([z]) => f(z));
    if (!values.every(Number.isFinite)) throw new Error("not finite on the line: choose another formula, scale or bias");
    let mean = 0, second = 0;
    POINTS.forEach(([, w], i) => { mean += w * values[i]; second += w * values[i] ** 2; });
    const deviation = Math.sqrt(second - mean * mean);
    if (!(deviation > 1e-9)) throw new Error("constant: it has no standardisation");
    const squares = coefficients(values.map((v) => (v - mean) / deviation)).map((a) => a * a);
    const strength = 1 - squares[1];
    return { mean, deviation, strength, squares, ...sharp(squares), frozen: frozen(f, deviation, epsilon), f };
  }

  /* a_k = E[phi he_k] with he_k orthonormal: he_{k+1} = (z he_k - sqrt(k) he_{k-1}) / sqrt(k + 1). */
  function coefficients(values) {
    const found = new Array(TERMS).fill(0);
    POINTS.forEach(([z, w], i) => {
      let before = 0, here = 1;
      for (let k = 0; k < TERMS; k++) {
        found[k] += w * values[i] * here;
        [before, here] = [here, (z * here - Math.sqrt(k) * before) / Math.sqrt(k + 1)];
      }
    });
    return found;
  }

  /* The tail 1 - sum a_k^2 sits at its first power: between 0 and the truth for |rho| < 1. */
  function kernel(squares, rho) {
    let sum = 0;
    for (let k = squares.length - 1; k >= 1; k--) sum = (sum + squares[k]) * rho;
    const tail = Math.max(0, 1 - squares.slice(1).reduce((a, b) => a + b, 0));
    return sum + tail * Math.pow(rho, squares.length);
  }

  function sharp(squares) {
    let kappa = Infinity, at = 0;
    for (let i = 1; i < 1000; i++) {
      const rho = i / 1000, k = kernel(squares, rho), ratio = (rho * rho - k * k) / (rho * rho * (1 - rho * rho));
      if (ratio < kappa) [kappa, at] = [ratio, rho];
    }
    return { kappa, at };
  }

  /* P(|standardised derivative| < epsilon), derivative by central differences. */
  function frozen(f, deviation, epsilon) {
    let mass = 0;
    const h = 1e-5;
    POINTS.forEach(([z, w]) => { if (Math.abs(f(z + h) - f(z - h)) / (2 * h * deviation) < epsilon) mass += w; });
    return mass;
  }
  return { analyse, kernel };
})();
if (typeof module !== "undefined") module.exports = KERNEL;
