"""Every number that the monitor shows: its title and its formula. H: samples × units on the probe, σ its singular
values."""

LAYER = {
    "dead": ("dead", "share of units with |h| < 1e-7 on more than 95 % of the samples"),
    "dormant": ("dormant, activation (ReDo)", "share of units with mean|h| ≤ 0.025 × the layer's mean of it"),
    "dormant_gradient": ("dormant, gradient (GraMa)", "share of units with mean|∂L/∂w_in| ≤ 0.01 × the layer's mean"),
    "saturated": ("saturated", "share of units with |∂L/∂h| < 1e-4 mean|h| on more than 99 % of the samples"),
    "duplicate": ("duplicate", "share of units with a cosine above 0.95 to another"),
    "trapped": ("trapped clones", "share of units that Theorem A.1 keeps equal to another"),
    "frozen": ("frozen, certified", "share of units that intervals certify: no gradient ever reaches them"),
    "effective_rank": ("effective rank", "exp(−Σ p log p), p = σ/Σσ"),
    "stable_rank": ("stable rank", "Σσ²/σ₁²"),
    "participation_ratio": ("participation ratio", "(Σσ̃²)²/Σσ̃⁴ of the centred activations"),
    "rank_limit": ("attainable maximum", "min(units, samples)"),
    "clone_distance": (
        "distance to the nearest clone manifold", "min over pairs ‖v_i − v_j‖/√(2 mean‖v‖²), v: a unit's weights",
    ),
    "clone_rate": ("rate of that distance", "log(now/then)/steps of the pair nearest then; negative: approaching"),
    "weight_norm": ("weight norm", "‖W‖_F of the incoming weights"),
    "update_norm": ("update norm", "‖ΔW‖_F of the last step"),
}  # fmt: skip

WHOLE = {
    "loss": ("loss on the probe", "mean loss"),
    "weight_norm": ("weight norm", "‖w‖ of all parameters"),
    "update_norm": ("update norm", "‖Δw‖ of the last step"),
    "gradient_norm": ("gradient norm", "‖G‖ on the probe"),
    "churn": ("churn", "‖f(x; w) − f(x; w')‖/‖f(x; w')‖ over the last step"),
    "ntk_rank": ("effective rank of the tangent kernel", "exp(−Σ p log p), p = λ/Σλ of K_ij = ⟨∇(r·f_i), ∇(r·f_j)⟩"),
    "ntk_limit": ("attainable maximum", "number of predictions"),
    "gain_bound": ("one-step gain bound", "‖G‖⁴/(2 S E‖g‖²), S the measured smoothness"),
    "gain_step": ("its step size", "‖G‖²/(S E‖g‖²)"),
    "smoothness": ("smoothness", "‖Hv‖, v from power steps of the Hessian from G"),
    "normal_lowest": ("lowest normal curvature", "of the Hessian on the clones' normal space; negative: a saddle"),
    "normal_highest": ("highest normal curvature", "greatest eigenvalue there"),
    "normal_residual": ("residual of the two", "an eigenvalue lies within it"),
}  # fmt: skip
